/**
 * Hashes what clients choose, under a key that nobody knows: whoever picks ufrags or addresses cannot pick which of them
 * meet in a table. Never for anything that leaves this process.
 */
import { randomBytes } from "node:crypto";
import { siphash24 } from "../trunk/siphash.ts";

export interface Hash64 {
  /** u32 each */
  readonly low: number;
  readonly high: number;
}

const KEY_BYTES = 16;
/** The ufrag of a token has 32 characters; what is longer is hashed by its beginning. */
const TEXT_BYTES = 32;

export class KeyedHash {
  readonly #key = randomBytes(KEY_BYTES);
  readonly #text = Buffer.alloc(TEXT_BYTES);
  readonly #out = Buffer.alloc(8);

  ofBytes(bytes: Buffer, start: number, end: number): Hash64 {
    siphash24(this.#key, bytes, start, end, this.#out, 0);
    return { low: this.#out.readUInt32LE(0), high: this.#out.readUInt32LE(4) };
  }

  ofUfrag(ufrag: string): Hash64 {
    return this.ofBytes(this.#text, 0, this.#text.write(ufrag, "latin1"));
  }
}
