/**
 * The 24 bytes of a token as the 32 ice-chars of an ICE ufrag (RFC 8839, section 5.4) and back. Strict: 24 bytes are
 * exactly 32 base64 characters without padding, so each token has one spelling. Node's own decoder would give it many,
 * because it accepts `-`, `_`, `=` and white space.
 */

export const TOKEN_BYTES = 24;
export const TOKEN_CHARS = 32;

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The value of each character code below 128, or -1. */
const VALUES = new Int8Array(128).fill(-1);
for (let value = 0; value < ALPHABET.length; value++) VALUES[ALPHABET.charCodeAt(value)] = value;

/** Fills the first 24 bytes of `out`. False, with `out` in no defined state, unless `text` is exactly 32 ice-chars. */
export function decodeIceChars(text: string, out: Buffer): boolean {
  if (text.length !== TOKEN_CHARS) return false;
  let at = 0;
  for (let i = 0; i < TOKEN_CHARS; i += 4) {
    // A character with no value makes the group negative: its -1 keeps its sign through shift and or.
    const group = (value(text, i) << 18) | (value(text, i + 1) << 12) | (value(text, i + 2) << 6) | value(text, i + 3);
    if (group < 0) return false;
    out[at++] = group >>> 16;
    out[at++] = group >>> 8;
    out[at++] = group;
  }
  return true;
}

/** The 32 ice-chars of the 24 bytes from `at` on. */
export function encodeIceChars(bytes: Buffer, at = 0): string {
  return bytes.toString("base64", at, at + TOKEN_BYTES);
}

function value(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < 128 ? VALUES[code]! : -1;
}
