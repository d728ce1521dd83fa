/**
 * Rate limits for more keys than could be counted: a fixed number of buckets, allocated at start, whoever asks. Pure: the
 * time is an argument.
 *
 * A bucket is one number, the time at which it will be full again: taking from it moves that time on by the interval of the
 * rate, and it is empty when that time is a whole burst away. (This is GCRA, the generic cell rate algorithm.)
 *
 * A key may use any bucket of its set of four. A full bucket remembers nothing about its last user, so it can be given to
 * another without loss. Where all four are in use by others, the key shares the fullest: too many keys at a time make
 * the limits stricter, never looser.
 */
import type { Hash64 } from "./keyed-hash.ts";

export interface RateLimit {
  readonly perSecond: number;
  /** What a full bucket holds. */
  readonly burst: number;
}

export const WAYS = 4;

export class RateBuckets {
  readonly #intervalMs: number;
  readonly #emptyMs: number;
  readonly #setMask: number;
  readonly #users: Uint32Array;
  readonly #fullAtMs: Float64Array;

  /** `count` is a power of two, at least 4. */
  constructor(limit: RateLimit, count: number) {
    this.#intervalMs = 1_000 / limit.perSecond;
    // Half an interval more than the burst: rounding must not cost the last of it.
    this.#emptyMs = (limit.burst + 0.5) * this.#intervalMs;
    this.#setMask = count / WAYS - 1;
    this.#users = new Uint32Array(count);
    this.#fullAtMs = new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
  }

  /** The bucket of this key, until another is asked for. */
  find(key: Hash64, nowMs: number): number {
    const first = (key.low & this.#setMask) * WAYS;
    let fullest = first;
    for (let bucket = first; bucket < first + WAYS; bucket++) {
      if (this.#users[bucket] === key.high) return bucket;
      if (this.#fullAtMs[bucket]! < this.#fullAtMs[fullest]!) fullest = bucket;
    }
    if (this.#fullAtMs[fullest]! <= nowMs) this.#users[fullest] = key.high;
    return fullest;
  }

  /** Whether there is one to take. */
  has(bucket: number, nowMs: number): boolean {
    return this.#afterTaking(bucket, nowMs) - nowMs <= this.#emptyMs;
  }

  /** Whether less than this part of a full bucket is left. */
  isBelow(part: number, bucket: number, nowMs: number): boolean {
    return this.#fullAtMs[bucket]! - nowMs > this.#emptyMs * (1 - part);
  }

  /** Takes one, which the caller knows to be there. */
  take(bucket: number, nowMs: number): void {
    this.#fullAtMs[bucket] = this.#afterTaking(bucket, nowMs);
  }

  /** Takes one of this key's, if there is one. */
  tryTake(key: Hash64, nowMs: number): boolean {
    const bucket = this.find(key, nowMs);
    if (!this.has(bucket, nowMs)) return false;
    this.take(bucket, nowMs);
    return true;
  }

  #afterTaking(bucket: number, nowMs: number): number {
    return Math.max(this.#fullAtMs[bucket]!, nowMs) + this.#intervalMs;
  }
}
