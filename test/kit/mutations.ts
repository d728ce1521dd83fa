/** Owns seeded randomness for tests: the same seed gives the same mutations, so that a failure can be repeated. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 to below `limit` (mulberry32). */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * limit);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

const EDGE_VALUES = [0, 1, 3, 4, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffc, 0xffff];

/** A copy of `bytes` with one to three things wrong with it. */
export function mutated(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  let result: Buffer = Buffer.from(bytes);
  for (let times = 1 + random.below(3); times > 0; times -= 1) result = mutatedOnce(random, result, others);
  return result;
}

function mutatedOnce(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  const at = random.below(bytes.length + 1);
  switch (random.below(6)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([bytes, Buffer.alloc(1 + random.below(8), random.below(256))]);
    case 2: {
      const other = random.pick(others);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length + 1))]);
    }
    case 3:
      if (at + 2 <= bytes.length) bytes.writeUInt16BE(random.pick(EDGE_VALUES), at);
      return bytes;
    case 4:
      if (at < bytes.length) bytes[at] = random.below(256);
      return bytes;
    default:
      if (at < bytes.length) bytes[at]! ^= 1 << random.below(8);
      return bytes;
  }
}

/** The STUN length field says what there is, so that a reader gets past it. */
export function withStunLength(bytes: Buffer): Buffer {
  if (bytes.length < 20) return bytes;
  const whole = bytes.subarray(0, bytes.length - (bytes.length % 4));
  whole.writeUInt16BE((whole.length - 20) & 0xffff, 2);
  return whole;
}
