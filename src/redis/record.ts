/**
 * What relays and transceivers leave in Redis for each other: small binary records, each with a MAC over its place and all
 * that it says. Redis is believed in nothing: a record that was made up, altered, or put in another's place does not
 * open, and one that is old is of no use. Pure: bytes in, bytes out, the time is an argument.
 *
 *   version u8 (1) | kind u8 | key id u8 | time u64, ms since 1970 | body | MAC, 16 bytes
 *
 * MAC = the first 16 bytes of HMAC-SHA256 over: cluster u16 | length of the place u8 | the place | everything before the MAC.
 * The place of a flow is its path bytes, that of a heartbeat its transceiver id. All integers are big-endian.
 */
import { timingSafeEqual } from "node:crypto";
import type { DerivedKeys, KeyRing } from "../keys/key-ring.ts";
import { hmac } from "../stun/hmac.ts";
import { decodeIceChars, encodeIceChars, TOKEN_BYTES } from "../token/ice-chars.ts";

export const RECORD_KIND = { flow: 1, flowEnd: 2, heartbeat: 3 } as const;
export type RecordKind = (typeof RECORD_KIND)[keyof typeof RECORD_KIND];

const VERSION = 1;
const HEAD_BYTES = 11;
const MAC_BYTES = 16;
/** The largest body is a flow's with two ufrags; what is longer than this was not written by us. */
const MOST_BODY_BYTES = 13 + 2 * TOKEN_BYTES;
export const MOST_RECORD_BYTES = HEAD_BYTES + MOST_BODY_BYTES + MAC_BYTES;

/** What is said of a flow, or of its end. */
export interface FlowRecord {
  readonly transceiver: number;
  readonly epoch: bigint;
  /** One or two, newest first. Of a flow's end: the one that has ended. */
  readonly ufrags: readonly string[];
}

/** What a transceiver says of itself. */
export interface HeartbeatRecord {
  readonly epoch: bigint;
  /** Of its trunk. */
  readonly address: Buffer;
  readonly port: number;
  readonly draining: boolean;
}

export interface OpenedRecord {
  readonly kind: RecordKind;
  /** When it was written, ms since 1970. */
  readonly timeMs: number;
  /** A view. */
  readonly body: Buffer;
}

export type RecordReject = "malformed" | "key" | "mac" | "stale";

/** Cluster, length of the place, place, and what was written there. */
const signed = Buffer.alloc(3 + 255 + HEAD_BYTES + MOST_BODY_BYTES);
/** A whole HMAC, of which the beginning is the MAC. */
const digest = Buffer.alloc(32);
const mac = digest.subarray(0, MAC_BYTES);
const given = Buffer.alloc(MAC_BYTES);

/** Fills `mac`: of the first `end` bytes, at this place. */
function computeMac(keys: DerivedKeys, cluster: number, at: Buffer, bytes: Buffer, end: number): void {
  signed.writeUInt16BE(cluster, 0);
  signed[2] = at.length;
  at.copy(signed, 3);
  const start = 3 + at.length;
  bytes.copy(signed, start, 0, end);
  digest.write(hmac("sha256", keys.redisRecord, "binary", signed.subarray(0, start + end)), "latin1");
}

export function sealRecord(
  keys: DerivedKeys,
  cluster: number,
  at: Buffer,
  record: { readonly kind: RecordKind; readonly timeMs: number; readonly body: Buffer },
): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES + record.body.length + MAC_BYTES);
  bytes[0] = VERSION;
  bytes[1] = record.kind;
  bytes[2] = keys.id;
  bytes.writeBigUInt64BE(BigInt(record.timeMs), 3);
  record.body.copy(bytes, HEAD_BYTES);
  const end = bytes.length - MAC_BYTES;
  computeMac(keys, cluster, at, bytes, end);
  mac.copy(bytes, end);
  return bytes;
}

/** `mostAgeMs` old at most, and as far in the future as clocks of one fleet may differ. */
export function openRecord(
  ring: KeyRing,
  cluster: number,
  at: Buffer,
  bytes: Buffer,
  time: { readonly nowMs: number; readonly mostAgeMs: number; readonly mostSkewMs: number },
): OpenedRecord | RecordReject {
  const end = bytes.length - MAC_BYTES;
  if (end < HEAD_BYTES || bytes.length > MOST_RECORD_BYTES || bytes[0] !== VERSION) return "malformed";
  const kind = bytes[1]!;
  if (kind < RECORD_KIND.flow || kind > RECORD_KIND.heartbeat) return "malformed";
  const keys = ring.get(bytes[2]!);
  if (keys === undefined) return "key";
  computeMac(keys, cluster, at, bytes, end);
  bytes.copy(given, 0, end);
  if (!timingSafeEqual(mac, given)) return "mac";
  const timeMs = bytes.readUInt32BE(3) * 2 ** 32 + bytes.readUInt32BE(7);
  if (time.nowMs - timeMs > time.mostAgeMs || timeMs - time.nowMs > time.mostSkewMs) return "stale";
  return { kind: kind as RecordKind, timeMs, body: bytes.subarray(HEAD_BYTES, end) };
}

export function flowBody({ transceiver, epoch, ufrags }: FlowRecord): Buffer {
  const body = Buffer.alloc(13 + ufrags.length * TOKEN_BYTES);
  body.writeUInt32BE(transceiver, 0);
  body.writeBigUInt64BE(epoch, 4);
  body[12] = ufrags.length;
  ufrags.forEach((ufrag, i) => {
    decodeIceChars(ufrag, token);
    token.copy(body, 13 + i * TOKEN_BYTES);
  });
  return body;
}

export function readFlowBody(body: Buffer): FlowRecord | undefined {
  const count = body[12] ?? 0;
  if (count < 1 || count > 2 || body.length !== 13 + count * TOKEN_BYTES) return undefined;
  const ufrags = [encodeIceChars(body, 13)];
  if (count === 2) ufrags.push(encodeIceChars(body, 13 + TOKEN_BYTES));
  return { transceiver: body.readUInt32BE(0), epoch: body.readBigUInt64BE(4), ufrags };
}

export function heartbeatBody({ epoch, address, port, draining }: HeartbeatRecord): Buffer {
  const body = Buffer.alloc(11 + address.length);
  body.writeBigUInt64BE(epoch, 0);
  body.writeUInt16BE(port, 8);
  body[10] = draining ? 1 : 0;
  address.copy(body, 11);
  return body;
}

export function readHeartbeatBody(body: Buffer): HeartbeatRecord | undefined {
  if (body.length !== 11 + 4 && body.length !== 11 + 16) return undefined;
  const port = body.readUInt16BE(8);
  if (port === 0 || body[10]! > 1) return undefined;
  return { epoch: body.readBigUInt64BE(0), address: body.subarray(11), port, draining: body[10] === 1 };
}

const token = Buffer.alloc(TOKEN_BYTES);
