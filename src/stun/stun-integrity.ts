/**
 * Whether a STUN message is whole and was made by somebody who knows the password: MESSAGE-INTEGRITY (RFC 8489, section
 * 14.5) and FINGERPRINT (section 14.7). A valid message may still be a replay, or come from a false source address.
 */
import { timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";
import { hmac } from "./hmac.ts";
import { findStunAttribute, STUN_ATTRIBUTE, STUN_HEADER_BYTES, type StunMessage } from "./stun-reader.ts";

/** The attribute header and HMAC-SHA1. */
export const MESSAGE_INTEGRITY_BYTES = 4 + 20;
/** The attribute header and CRC-32. */
export const FINGERPRINT_BYTES = 4 + 4;
/** "STUN": tells the checksum from one that the application's own protocol may carry at the same place. */
const FINGERPRINT_XOR = 0x5354554e;

const header = Buffer.alloc(STUN_HEADER_BYTES);

/** Whether the message has a MESSAGE-INTEGRITY made with this password (short-term) or key (long-term). */
export function verifyMessageIntegrity(message: StunMessage, password: string | Buffer): boolean {
  const found = findStunAttribute(message, STUN_ATTRIBUTE.messageIntegrity);
  if (found === undefined || found.length !== MESSAGE_INTEGRITY_BYTES - 4) return false;
  const expected = messageIntegrity(message.bytes, found.offset - 4, password);
  return timingSafeEqual(expected, message.bytes.subarray(found.offset, found.offset + found.length));
}

/**
 * The HMAC-SHA1 of a message whose MESSAGE-INTEGRITY attribute starts at `end`. It covers the bytes before that, with a
 * length field that counts up to the end of MESSAGE-INTEGRITY, whatever follows it.
 */
export function messageIntegrity(bytes: Buffer, end: number, password: string | Buffer): Buffer {
  bytes.copy(header, 0, 0, STUN_HEADER_BYTES);
  header.writeUInt16BE(end + MESSAGE_INTEGRITY_BYTES - STUN_HEADER_BYTES, 2);
  return Buffer.from(hmac("sha1", password, "binary", header, bytes.subarray(STUN_HEADER_BYTES, end)), "latin1");
}

/** Whether the message ends with its only FINGERPRINT, and that is right. */
export function verifyFingerprint(message: StunMessage): boolean {
  const found = findStunAttribute(message, STUN_ATTRIBUTE.fingerprint);
  if (found === undefined || found.length !== 4 || found.offset + 4 !== message.bytes.length) return false;
  return message.bytes.readUInt32BE(found.offset) === fingerprint(message.bytes, found.offset - 4);
}

/** The value of a FINGERPRINT attribute that starts at `end`; the length field must already count it. */
export function fingerprint(bytes: Buffer, end: number): number {
  return (crc32(bytes.subarray(0, end)) ^ FINGERPRINT_XOR) >>> 0;
}
