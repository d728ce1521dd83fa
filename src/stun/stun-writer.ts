/** Writes STUN messages (RFC 8489) and the attribute values that ICE needs. Pure: the transaction id comes from outside. */
import ipaddr from "ipaddr.js";
import { FINGERPRINT_BYTES, fingerprint, MESSAGE_INTEGRITY_BYTES, messageIntegrity } from "./stun-integrity.ts";
import {
  STUN_ATTRIBUTE,
  STUN_HEADER_BYTES,
  STUN_MAGIC_COOKIE,
  STUN_METHOD_BINDING,
  type StunClass,
  xorWithCookie,
} from "./stun-reader.ts";

export interface StunFields {
  /** 12 bits; Binding if absent. */
  readonly method?: number;
  readonly class: StunClass;
  /** 12 bytes. */
  readonly transactionId: Buffer;
  /** In this order; MESSAGE-INTEGRITY and FINGERPRINT follow of themselves. */
  readonly attributes: readonly (readonly [type: number, value: Buffer])[];
  /** Adds MESSAGE-INTEGRITY. */
  readonly password?: string | Buffer | undefined;
  /** Adds FINGERPRINT, which ICE requires; true if absent. */
  readonly fingerprint?: boolean;
}

/** The message as one datagram. */
export function writeStun(fields: StunFields): Buffer {
  const { method = STUN_METHOD_BINDING, fingerprint: withFingerprint = true, password } = fields;
  let length = STUN_HEADER_BYTES;
  for (const [, value] of fields.attributes) length += 4 + padded(value.length);
  if (password !== undefined) length += MESSAGE_INTEGRITY_BYTES;
  if (withFingerprint) length += FINGERPRINT_BYTES;

  // Zeroed: padding is sent as zeros (RFC 8489, section 14).
  const bytes = Buffer.alloc(length);
  const classBits = ((fields.class & 1) << 4) | ((fields.class & 2) << 7);
  bytes.writeUInt16BE(((method & 0xf80) << 2) | ((method & 0x70) << 1) | (method & 0x0f) | classBits, 0);
  bytes.writeUInt16BE(length - STUN_HEADER_BYTES, 2);
  bytes.writeUInt32BE(STUN_MAGIC_COOKIE, 4);
  bytes.set(fields.transactionId, 8);
  let at = STUN_HEADER_BYTES;
  for (const [type, value] of fields.attributes) at = put(bytes, at, type, value);
  if (password !== undefined) {
    at = put(bytes, at, STUN_ATTRIBUTE.messageIntegrity, messageIntegrity(bytes, at, password));
  }
  if (withFingerprint) put(bytes, at, STUN_ATTRIBUTE.fingerprint, u32(fingerprint(bytes, at)));
  return bytes;
}

/** The value of an XOR-MAPPED-ADDRESS. `host` is a literal address; v4-mapped IPv6 becomes IPv4. */
export function xorAddress(host: string, port: number, transactionId: Buffer): Buffer {
  const address = xorWithCookie(Uint8Array.from(ipaddr.process(host).toByteArray()), transactionId);
  const value = Buffer.alloc(4 + address.length);
  value[1] = address.length === 4 ? 1 : 2;
  value.writeUInt16BE(port ^ (STUN_MAGIC_COOKIE >>> 16), 2);
  value.set(address, 4);
  return value;
}

/** The value of PRIORITY. */
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

/** The value of ICE-CONTROLLED or ICE-CONTROLLING: the tie-breaker. */
export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value, 0);
  return bytes;
}

/** The value of ERROR-CODE, for codes from 300 to 699. */
export function errorCode(code: number, reason: string): Buffer {
  const text = Buffer.from(reason, "utf8");
  const bytes = Buffer.alloc(4 + text.length);
  bytes[2] = Math.floor(code / 100);
  bytes[3] = code % 100;
  bytes.set(text, 4);
  return bytes;
}

/** Writes one attribute and returns where the next one starts. */
function put(bytes: Buffer, at: number, type: number, value: Buffer): number {
  bytes.writeUInt16BE(type, at);
  bytes.writeUInt16BE(value.length, at + 2);
  bytes.set(value, at + 4);
  return at + 4 + padded(value.length);
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
