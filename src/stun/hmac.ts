/**
 * HMAC (RFC 2104) of short messages, from two one-shot hashes. createHmac of node:crypto makes an object for each call, and
 * takes twice as long for the hundred bytes of a STUN message; a flood of requests costs little else.
 */
import { hash } from "node:crypto";

/** Of a block of either hash. */
const BLOCK_BYTES = 64;
const DIGEST_BYTES = { sha1: 20, sha256: 32 } as const;
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

/** The padded key and the message. Grows to the longest so far, which a datagram bounds. */
let inner = Buffer.alloc(BLOCK_BYTES + 2_048);
/** The padded key and the digest of the former. */
const outer = {
  sha1: Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES.sha1),
  sha256: Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES.sha256),
};

/** The whole HMAC of these parts, one after the other. A key of text is its UTF-8. */
export function hmac(
  algorithm: keyof typeof DIGEST_BYTES,
  key: string | Buffer,
  encoding: "binary" | "base64",
  ...parts: readonly Buffer[]
): string {
  let end = BLOCK_BYTES;
  for (const part of parts) end += part.length;
  if (inner.length < end) inner = Buffer.alloc(end);
  const around = outer[algorithm];
  const keyBytes = blockKey(algorithm, key);
  pad(inner, keyBytes, INNER_PAD);
  pad(around, keyBytes, OUTER_PAD);
  let at = BLOCK_BYTES;
  for (const part of parts) at += part.copy(inner, at);
  // A digest as a string, because making a Buffer of it costs more than the hash.
  around.write(hash(algorithm, inner.subarray(0, end), "binary"), BLOCK_BYTES, "latin1");
  return hash(algorithm, around, encoding);
}

function blockKey(algorithm: keyof typeof DIGEST_BYTES, key: string | Buffer): Buffer {
  const bytes = typeof key === "string" ? Buffer.from(key) : key;
  return bytes.length <= BLOCK_BYTES ? bytes : hash(algorithm, bytes, "buffer");
}

function pad(block: Buffer, key: Buffer, byte: number): void {
  for (let i = 0; i < key.length; i++) block[i] = key[i]! ^ byte;
  for (let i = key.length; i < BLOCK_BYTES; i++) block[i] = byte;
}
