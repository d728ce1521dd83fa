/**
 * The owner remembers: when downlink comes for a path that this relay does not know, it asks the transceiver that sent it,
 * and believes an assert that it has asked for, if the token in it is that very transceiver's. So flows come back without
 * Redis and without a STUN check. Memory and work are bounded, whatever transceivers send.
 */
import type { ControlCounterName } from "../engine/counters.ts";
import type { Engine, Slot } from "../engine/engine.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { openToken, tokenExpired } from "../token/token.ts";
import { pathIngress, pathKey } from "../trunk/path.ts";
import type { KeyedHash } from "./keyed-hash.ts";
import { ASK_BUDGET, ASKED_FOR_MS, ASKED_PATHS } from "./limits.ts";
import { RateBuckets, WAYS } from "./rate-buckets.ts";
import type { UfragPaths } from "./ufrag-paths.ts";

export interface RecallOptions {
  readonly engine: Pick<Engine, "flow" | "restore" | "ingresses">;
  readonly cluster: number;
  readonly keys: () => KeyRing;
  readonly isTrunkEnd: (path: Buffer) => boolean;
  /** The slot of the live transceiver with this id whose epoch ends in these 16 bits. */
  readonly findTransceiver: (id: number, epochLow16: number) => Slot | undefined;
  /** Sends an unknown path frame. False if there is no such transceiver any more. */
  readonly ask: (slot: Slot, path: Buffer) => boolean;
  readonly count: (name: ControlCounterName) => void;
  readonly hash: KeyedHash;
  readonly paths: Pick<UfragPaths, "add">;
  /** ms since 1970 */
  readonly now: () => number;
  /** ms of a clock that never goes back */
  readonly monotonicMs: () => number;
}

type UnknownDrop = Extract<ControlCounterName, `unknown_drop_${string}`>;
type AssertDrop = Extract<ControlCounterName, `assert_drop_${string}`>;

export class Recall {
  readonly #options: RecallOptions;
  readonly #budget = new RateBuckets(ASK_BUDGET, WAYS);
  readonly #asked = new AskedPaths();

  constructor(options: RecallOptions) {
    this.#options = options;
  }

  /** The transceiver of this slot has sent something for a path that has no flow. */
  unknown(path: Buffer, slot: Slot | undefined): void {
    const { count } = this.#options;
    count("unknown_received");
    count(this.#ask(path, slot) ?? "unknown_asked");
  }

  /** The transceiver of this slot says that a path is its session's. */
  asserted(path: Buffer, slot: Slot | undefined, ufrag: string): void {
    const { count } = this.#options;
    count("assert_received");
    count(this.#judge(path, slot, ufrag) ?? "assert_restored");
  }

  #ask(path: Buffer, slot: Slot | undefined): UnknownDrop | undefined {
    const { engine, ask, monotonicMs } = this.#options;
    if (slot === undefined) return "unknown_drop_transceiver";
    if (!engine.ingresses.some(({ id }) => id === pathIngress(path))) return "unknown_drop_ingress";
    if (engine.flow(path) !== undefined) return "unknown_drop_known";
    const nowMs = monotonicMs();
    if (!this.#budget.has(ALL, nowMs) || !this.#asked.add(pathKey(path), slot, nowMs)) return "unknown_drop_budget";
    if (!ask(slot, path)) return "unknown_drop_transceiver";
    this.#budget.take(ALL, nowMs);
    return undefined;
  }

  #judge(path: Buffer, slot: Slot | undefined, ufrag: string): AssertDrop | undefined {
    const { engine, cluster, keys, isTrunkEnd, findTransceiver, hash, paths, now, monotonicMs } = this.#options;
    if (slot === undefined || !this.#asked.has(pathKey(path), slot, monotonicMs())) return "assert_drop_unasked";
    if (isTrunkEnd(path)) return "assert_drop_source";
    const opened = openToken(ufrag, keys());
    if (!opened.ok) return "assert_drop_token";
    const { token } = opened;
    if (tokenExpired(token, now())) return "assert_drop_expired";
    if (token.cluster !== cluster) return "assert_drop_cluster";
    if (findTransceiver(token.transceiver, token.epoch) !== slot) return "assert_drop_sender";
    const result = engine.restore(path, slot, [ufrag]);
    if (result === "table-full") return "assert_drop_table_full";
    if (result === "kept") return "assert_drop_owned";
    paths.add({ ufrag, hash: hash.ofUfrag(ufrag), slot }, path);
    return undefined;
  }
}

/** The budget's only bucket. */
const ALL = 0;

/** Whom was asked about what, in the present span of time and in the one before. */
class AskedPaths {
  #span = 0;
  #now = new Map<string, Slot>();
  #before = new Map<string, Slot>();

  /** False if there is no room. */
  add(key: string, slot: Slot, nowMs: number): boolean {
    this.#turn(nowMs);
    if (this.#now.size >= ASKED_PATHS && !this.#now.has(key)) return false;
    this.#now.set(key, slot);
    return true;
  }

  has(key: string, slot: Slot, nowMs: number): boolean {
    this.#turn(nowMs);
    return this.#now.get(key) === slot || this.#before.get(key) === slot;
  }

  #turn(nowMs: number): void {
    const span = Math.floor(nowMs / ASKED_FOR_MS);
    if (span === this.#span) return;
    this.#before = span === this.#span + 1 ? this.#now : new Map();
    this.#now = new Map();
    this.#span = span;
  }
}
