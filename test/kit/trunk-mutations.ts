/**
 * Owns seeded trunk datagrams that are almost right: every field of header and frames as it should be most of the time,
 * and sealed after that, so that a reader has to look behind the tag. Written straight into the caller's buffer,
 * because millions are made.
 */
import type { DerivedKeys } from "../../src/keys/key-ring.ts";
import { DIRECTION, type Direction, TRUNK_HEADER_BYTES, TRUNK_TAG_BYTES } from "../../src/trunk/datagram.ts";
import { FRAME_KIND, PADDING } from "../../src/trunk/frame.ts";
import { siphash24 } from "../../src/trunk/siphash.ts";
import type { Random } from "./mutations.ts";

export interface TrunkIdentity {
  readonly cluster: number;
  readonly targetId: number;
  readonly targetEpoch: number;
  readonly senders: readonly { readonly id: number; readonly epoch: bigint }[];
  /** Of the reader. */
  readonly keys: readonly DerivedKeys[];
  /** Not of the reader, with ids that are or are not. */
  readonly strangers: readonly DerivedKeys[];
}

const VERSION = 0x10;
const UP_KINDS = [FRAME_KIND.data, FRAME_KIND.data, FRAME_KIND.unknownPath, FRAME_KIND.ping, PADDING];
const DOWN_KINDS = [
  FRAME_KIND.data,
  FRAME_KIND.data,
  FRAME_KIND.promote,
  FRAME_KIND.flowEnd,
  FRAME_KIND.assert,
  FRAME_KIND.pong,
  FRAME_KIND.drain,
  PADDING,
];
const PAYLOAD_OF: Readonly<Record<number, number>> = { 2: 32, 3: 32, 4: 0, 5: 32, 6: 8, 7: 9, 8: 0 };
const WITHOUT_PATH: readonly number[] = [PADDING, FRAME_KIND.ping, FRAME_KIND.pong, FRAME_KIND.drain];
const LARGEST_PAYLOAD = 160;
const EDGE_LENGTHS = [0, 1, 7, 8, 9, 10, 31, 32, 33, 0xff, 0x100, 0x7fff, 0x8000, 0xffff];

export class TrunkMutations {
  readonly #random: Random;
  readonly #identity: TrunkIdentity;
  #sequence: number;

  constructor(random: Random, identity: TrunkIdentity) {
    this.#random = random;
    // From nothing, or as if the sender had been there for long.
    this.#sequence = random.pick([0, 0, 5_000, 0xffff_f000]);
    this.#identity = identity;
  }

  /** Writes one datagram from `start` on and returns where it ends: at most 32 KiB later. */
  write(out: Buffer, start: number, direction: Direction): number {
    const random = this.#random;
    const keys = random.chance(93) ? random.pick(this.#identity.keys) : random.pick(this.#identity.strangers);
    this.#writeHeader(out, start, direction, keys.id);
    let at = start + TRUNK_HEADER_BYTES;
    // Without frames it is too short; with a few bytes it is too, or ends in an unreadable frame.
    for (let frames = random.chance(97) ? 1 + random.below(5) : 0; frames > 0; frames -= 1) {
      at = this.#writeFrame(out, at, direction);
    }
    if (random.chance(4)) at = Math.max(start + TRUNK_HEADER_BYTES, at - random.below(40));
    if (random.chance(3)) this.#turnBits(out, start, at);
    const tagDirection = random.chance(97) ? direction : 1 - direction;
    siphash24(tagDirection === DIRECTION.up ? keys.trunkUp : keys.trunkDown, out, start, at, out, at);
    at += TRUNK_TAG_BYTES;
    if (random.chance(4)) this.#turnBits(out, start, at);
    if (random.chance(2)) at = start + random.below(at - start + 1);
    return at;
  }

  #writeHeader(out: Buffer, start: number, direction: Direction, keyId: number): void {
    const random = this.#random;
    const { cluster, targetId, targetEpoch, senders } = this.#identity;
    const sender = random.pick(senders);
    const wrong = () => random.chance(1);
    out[start] = wrong() ? random.below(256) : VERSION | (wrong() ? 1 - direction : direction);
    out[start + 1] = wrong() ? random.below(256) : keyId;
    out.writeUInt16BE(wrong() ? cluster ^ (1 << random.below(16)) : cluster, start + 2);
    out.writeUInt32BE(wrong() ? random.below(10) : sender.id, start + 4);
    out.writeUInt32BE(wrong() ? random.below(10) : targetId, start + 8);
    out.writeUInt32BE(wrong() ? 0 : targetEpoch, start + 12);
    out.writeBigUInt64BE(wrong() ? sender.epoch + BigInt(random.below(3) - 1) : sender.epoch, start + 16);
    this.#writeSequence(out, start + 24);
  }

  #writeSequence(out: Buffer, at: number): void {
    const random = this.#random;
    if (random.below(2_000) === 0) {
      // Far ahead: nothing else is accepted from this sender until the reader forgets.
      out.writeUInt32BE(random.below(0x1_0000_0000), at);
      out.writeUInt32BE(random.below(0x1_0000_0000), at + 4);
      return;
    }
    if (random.chance(1)) this.#sequence += random.below(3_000);
    this.#sequence += 1;
    const behind = random.chance(20) ? random.below(1_100) : 0;
    const sequence = random.below(500) === 0 ? 0 : Math.max(0, this.#sequence - behind);
    out.writeUInt32BE(Math.floor(sequence / 0x1_0000_0000), at);
    out.writeUInt32BE(sequence >>> 0, at + 4);
  }

  #writeFrame(out: Buffer, start: number, direction: Direction): number {
    const random = this.#random;
    const wrong = () => random.chance(2);
    const kind = wrong() ? random.below(12) : random.pick(direction === DIRECTION.up ? UP_KINDS : DOWN_KINDS);
    const withPath = WITHOUT_PATH.includes(kind) === wrong();
    const family = withPath ? random.pick([4, 6]) : 0;
    const length = wrong()
      ? random.pick([0, 1, 8, 9, 31, 33])
      : (PAYLOAD_OF[kind] ?? 1 + random.below(LARGEST_PAYLOAD));
    const path = family === 0 ? 0 : family === 4 ? 8 : 20;
    out.writeUInt16BE(wrong() ? random.pick(EDGE_LENGTHS) : length, start);
    out[start + 2] = random.below(400) === 0 ? random.below(256) : kind;
    out[start + 3] = random.below(200) === 0 ? random.below(256) : family;
    const end = start + 4 + path + length;
    out.fill(random.below(256), start + 4, end);
    if (path > 0) out.writeUInt32BE(random.below(0x1_0000_0000), start + 4);
    return end;
  }

  #turnBits(out: Buffer, start: number, end: number): void {
    for (let times = 1 + this.#random.below(3); times > 0; times -= 1) {
      out[start + this.#random.below(end - start)]! ^= 1 << this.#random.below(8);
    }
  }
}
