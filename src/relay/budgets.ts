/**
 * How many new paths the control plane lets through: for each token before it has computed integrity, for each source
 * prefix and in total after it. Owns who pays what, and fairness between prefixes; never asks whether a request is good.
 * Pure: the time is an argument, and a fixed amount of memory serves any number of tokens and prefixes.
 */
import { PATH_BYTES_V4 } from "../trunk/path.ts";
import type { Hash64, KeyedHash } from "./keyed-hash.ts";
import { RateBuckets, type RateLimit, WAYS } from "./rate-buckets.ts";

export interface BudgetLimits {
  /** For each token, before integrity. */
  readonly token: RateLimit;
  /** For each token with an assured path, when one of the other budgets refuses it. */
  readonly assuredToken: RateLimit;
  /** For each source prefix, after integrity. */
  readonly prefix: RateLimit;
  readonly total: RateLimit & {
    /** Part of the burst that is kept for prefixes that have not had their share. */
    readonly reserve: number;
    /** Time for which shares are counted, ms. */
    readonly shareMs: number;
    /** Part of the rate that is shared out among the prefixes that ask; what is left refills the reserve. */
    readonly shared: number;
  };
  /** Powers of two. */
  readonly tokenBuckets: number;
  readonly prefixBuckets: number;
}

export class Budgets {
  readonly #limits: BudgetLimits;
  readonly #hash: KeyedHash;
  readonly #tokens: RateBuckets;
  readonly #assuredTokens: RateBuckets;
  readonly #prefixes: RateBuckets;
  readonly #total: RateBuckets;
  readonly #shares: Shares;

  constructor(limits: BudgetLimits, hash: KeyedHash) {
    this.#limits = limits;
    this.#hash = hash;
    this.#tokens = new RateBuckets(limits.token, limits.tokenBuckets);
    this.#assuredTokens = new RateBuckets(limits.assuredToken, limits.tokenBuckets);
    this.#prefixes = new RateBuckets(limits.prefix, limits.prefixBuckets);
    this.#total = new RateBuckets(limits.total, WAYS);
    this.#shares = new Shares(limits.total.shareMs, limits.prefixBuckets);
  }

  /** Before integrity. */
  takeToken(ufrag: Hash64, nowMs: number): boolean {
    return this.#tokens.tryTake(ufrag, nowMs);
  }

  /** For a token that may have an assured path, when another budget has refused it. */
  takeAssuredToken(ufrag: Hash64, nowMs: number): boolean {
    return this.#assuredTokens.tryTake(ufrag, nowMs);
  }

  /** After integrity: which budget refused the source of this path, or undefined if both had room and have been charged. */
  takeSource(path: Buffer, nowMs: number): "prefix" | "total" | undefined {
    const prefix = this.#prefixes.find(prefixOf(path, this.#hash), nowMs);
    const taken = this.#shares.asked(prefix, nowMs);
    if (!this.#prefixes.has(prefix, nowMs)) return "prefix";
    if (!this.#total.has(TOTAL, nowMs)) return "total";
    const { reserve, shared, shareMs, perSecond } = this.#limits.total;
    if (this.#total.isBelow(reserve, TOTAL, nowMs)) {
      const share = (shared * perSecond * shareMs) / 1_000 / this.#shares.asking;
      if (taken >= Math.max(1, share)) return "total";
    }
    this.#prefixes.take(prefix, nowMs);
    this.#total.take(TOTAL, nowMs);
    this.#shares.took(prefix);
    return undefined;
  }
}

/** The total's only bucket. */
const TOTAL = 0;
const ADDRESS_START = 5;
const PREFIX_BYTES_V4 = 3;
const PREFIX_BYTES_V6 = 8;

/** /24 or /64: what one customer or one carrier NAT is sure to have, so that changing addresses in it wins nothing. */
function prefixOf(path: Buffer, hash: KeyedHash): Hash64 {
  const bytes = path.length === PATH_BYTES_V4 ? PREFIX_BYTES_V4 : PREFIX_BYTES_V6;
  return hash.ofBytes(path, ADDRESS_START, ADDRESS_START + bytes);
}

/** Who has asked, and how much each has had, in the present span of time. */
class Shares {
  readonly #spanMs: number;
  /** By prefix bucket: the span in which it last asked, and what it took in that. */
  readonly #askedIn: Float64Array;
  readonly #taken: Uint32Array;
  #span = 0;
  #askingNow = 0;
  #askingBefore = 0;

  constructor(spanMs: number, buckets: number) {
    this.#spanMs = spanMs;
    this.#askedIn = new Float64Array(buckets).fill(-1);
    this.#taken = new Uint32Array(buckets);
  }

  /** Prefixes that share the total: of this span, or of the one before, which is whole. */
  get asking(): number {
    return Math.max(this.#askingNow, this.#askingBefore);
  }

  /** Notes that a prefix asks. Returns what it has had in this span. */
  asked(bucket: number, nowMs: number): number {
    const span = Math.floor(nowMs / this.#spanMs);
    if (span !== this.#span) {
      this.#askingBefore = span === this.#span + 1 ? this.#askingNow : 0;
      this.#askingNow = 0;
      this.#span = span;
    }
    if (this.#askedIn[bucket] !== span) {
      this.#askedIn[bucket] = span;
      this.#taken[bucket] = 0;
      this.#askingNow++;
    }
    return this.#taken[bucket]!;
  }

  took(bucket: number): void {
    this.#taken[bucket]!++;
  }
}
