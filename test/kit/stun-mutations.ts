/**
 * Owns seeded STUN messages that are almost right: taken apart into attributes, which are dropped, doubled, swapped,
 * renamed, made longer or shorter than they say, and put together again. Most get past the length check, so that a
 * reader has to look at the rest. Written straight into the caller's buffer, because millions are made.
 */
import { readStun, STUN_ATTRIBUTE, STUN_HEADER_BYTES, STUN_MAGIC_COOKIE } from "../../src/stun/stun-reader.ts";
import { mutated, type Random, withStunLength } from "./mutations.ts";

interface Attribute {
  readonly type: number;
  readonly value: Buffer;
  /** Of the value, as its header says. */
  readonly says: number;
}

const TYPES = [...Object.values(STUN_ATTRIBUTE), 0x0014, 0x0015, 0xc057, 0x7fff];
const MESSAGE_TYPES = [0x0001, 0x0001, 0x0011, 0x0101, 0x0111, 0x0003, 0x0200, 0x2001, 0x3fff, 0x4001, 0x8001];
const MOST_ATTRIBUTES = 12;
/** Below this a datagram of a worker's always is; a mutation may add to a seed. */
const LARGEST_SEED = 1_500;

export class StunMutations {
  readonly #random: Random;
  readonly #seeds: readonly Buffer[];
  readonly #takenApart: readonly (readonly Attribute[])[];
  readonly #usernames: readonly Buffer[];

  /** `usernames` are those that a request may carry; they are changed, too. */
  constructor(random: Random, seeds: readonly Buffer[], usernames: readonly Buffer[]) {
    this.#random = random;
    this.#seeds = seeds.filter(({ length }) => length > 0 && length <= LARGEST_SEED);
    this.#takenApart = this.#seeds.map(attributesOf).filter((attributes) => attributes.length > 0);
    this.#usernames = usernames;
  }

  /** Writes one datagram from `start` on and returns where it ends: at most 32 KiB later. */
  write(out: Buffer, start: number): number {
    const random = this.#random;
    if (random.chance(15)) {
      const bytes = mutated(random, random.pick(this.#seeds), this.#seeds);
      return start + (random.chance(70) ? withStunLength(bytes) : bytes).copy(out, start);
    }
    const attributes = [...random.pick(this.#takenApart)];
    if (random.chance(50)) this.#placeUsername(attributes);
    for (let times = random.below(4); times > 0; times -= 1) this.#changeAttributes(attributes);
    return this.#spoil(out, start, this.#writeMessage(out, start, attributes));
  }

  /** In place of the first USERNAME if there is one, or anywhere. */
  #placeUsername(attributes: Attribute[]): void {
    const random = this.#random;
    let value: Buffer = random.pick(this.#usernames);
    if (random.chance(50)) {
      value = Buffer.from(value);
      for (let times = 1 + random.below(2); times > 0; times -= 1) {
        const at = random.below(value.length);
        if (random.chance(50)) value[at] = random.pick(ODD_CHARACTERS);
        else value[at]! ^= 1 << random.below(8);
      }
      if (random.chance(10)) value = value.subarray(random.below(value.length));
    }
    const username = { type: STUN_ATTRIBUTE.username, value, says: value.length };
    const at = attributes.findIndex(({ type }) => type === STUN_ATTRIBUTE.username);
    if (at >= 0 && random.chance(70)) attributes[at] = username;
    else attributes.splice(random.below(attributes.length + 1), 0, username);
  }

  #changeAttributes(attributes: Attribute[]): void {
    const random = this.#random;
    if (attributes.length === 0) return;
    const at = random.below(attributes.length);
    const old = attributes[at]!;
    switch (random.below(8)) {
      case 0:
        attributes.splice(at, 1);
        return;
      case 1:
        if (attributes.length < MOST_ATTRIBUTES) attributes.splice(random.below(attributes.length + 1), 0, old);
        return;
      case 2: {
        const other = random.below(attributes.length);
        attributes[at] = attributes[other]!;
        attributes[other] = old;
        return;
      }
      case 3:
        attributes[at] = { ...old, type: random.chance(90) ? random.pick(TYPES) : random.below(0x1_0000) };
        return;
      case 4: {
        // By a little: the padding may hide it, or the next attribute starts elsewhere.
        const says = Math.max(0, old.says - 5 + random.below(11));
        attributes[at] = { ...old, says };
        return;
      }
      case 5:
        attributes[at] = { ...old, says: random.pick(EDGE_LENGTHS) };
        return;
      case 6: {
        const value = old.value.subarray(0, random.below(old.value.length + 1));
        attributes[at] = { ...old, value, says: value.length };
        return;
      }
      default:
        if (attributes.length < MOST_ATTRIBUTES) {
          attributes.splice(at, 0, random.pick(random.pick(this.#takenApart)));
        }
    }
  }

  #writeMessage(out: Buffer, start: number, attributes: readonly Attribute[]): number {
    const random = this.#random;
    let at = start + STUN_HEADER_BYTES;
    const padding = random.chance(10) ? random.below(256) : 0;
    for (const { type, value, says } of attributes) {
      out[at] = type >>> 8;
      out[at + 1] = type;
      out[at + 2] = says >>> 8;
      out[at + 3] = says;
      at += 4 + value.copy(out, at + 4);
      for (; ((at - start) & 3) !== 0; at += 1) out[at] = padding;
    }
    const length = at - start - STUN_HEADER_BYTES;
    out.writeUInt16BE(random.chance(60) ? 0x0001 : random.pick(MESSAGE_TYPES), start);
    out.writeUInt16BE(length, start + 2);
    out.writeUInt32BE(STUN_MAGIC_COOKIE, start + 4);
    out.fill(random.below(256), start + 8, start + STUN_HEADER_BYTES);
    return at;
  }

  /** One in six of the finished messages: cut, prolonged, or with bits turned. */
  #spoil(out: Buffer, start: number, end: number): number {
    const random = this.#random;
    let spoilt = end;
    switch (random.below(18)) {
      case 0:
        spoilt = start + random.below(end - start + 1);
        break;
      case 1:
        spoilt = end + 1 + random.below(8);
        out.fill(random.below(256), end, spoilt);
        break;
      case 2:
        for (let times = 1 + random.below(3); times > 0; times -= 1) {
          out[start + random.below(end - start)]! ^= 1 << random.below(8);
        }
    }
    // The length that is there, whether or not it is one that a message can have.
    const length = spoilt - start - STUN_HEADER_BYTES;
    if (length >= 0 && random.chance(50)) out.writeUInt16BE(length, start + 2);
    return spoilt;
  }
}

/** Colons move the ufrag's end; the others are next to the ice-chars, or are taken for them by lax base64 decoders. */
const ODD_CHARACTERS = [..."::::AZaz09+/-_=,. @[`{\0\n", "\x80", "\xff", "\xc1"].map((char) => char.charCodeAt(0));
const EDGE_LENGTHS = [0, 1, 2, 3, 4, 5, 0x7f, 0xff, 0x100, 0x7ffc, 0x8000, 0xfffb, 0xfffc, 0xfffd, 0xffff];

function attributesOf(datagram: Buffer): readonly Attribute[] {
  const message = readStun(datagram);
  return (message?.attributes ?? []).map(({ type, offset, length }) => ({
    type,
    value: datagram.subarray(offset, offset + length),
    says: length,
  }));
}
