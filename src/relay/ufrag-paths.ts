/**
 * Which paths each ufrag has, so that it has no more than it may. One who holds one token, or replays one request from many
 * addresses, takes that many flows at most, and the session's own paths outlast his.
 *
 * The engine has the truth; this is what the control plane knows of it. Entries go when their session ends, when their
 * ufrag is looked at and the flow is gone, and by a slow sweep. Memory is allocated at start. Where it does not suffice,
 * the ufrag of some old entry may for once have one path too many.
 */
import type { Engine, Slot } from "../engine/engine.ts";
import { PATH_BYTES_V6, pathLength } from "../trunk/path.ts";
import type { Hash64 } from "./keyed-hash.ts";
import { PATHS_SWEEP_MOST, PATHS_SWEEP_STEPS } from "./limits.ts";

export interface UfragPathsOptions {
  readonly engine: Pick<Engine, "flow" | "end">;
  /** Paths, of all ufrags together. */
  readonly capacity: number;
  /** Paths of one ufrag. */
  readonly most: number;
  /** A path that has been idle for no longer counts as in use, ms. */
  readonly inUseMs: number;
  readonly onEvicted: () => void;
}

/** A session: the ufrag, its hash, and the transceiver that it is of. */
export interface UfragOwner {
  readonly ufrag: string;
  readonly hash: Hash64;
  readonly slot: Slot;
}

/** No entry: they count from 1. */
const NONE = 0;

export class UfragPaths {
  readonly #options: UfragPathsOptions;
  /** By hash: the first entry of a chain. The entries of one ufrag are in it from the newest to the oldest. */
  readonly #heads: Int32Array;
  readonly #headMask: number;
  readonly #next: Int32Array;
  readonly #hashes: Uint32Array;
  /** The first byte of a path is its family; 0 marks a free entry. */
  readonly #paths: Buffer;
  /** A chain of its own. */
  #free = NONE;
  #cursor = 0;

  constructor(options: UfragPathsOptions) {
    this.#options = options;
    const { capacity } = options;
    this.#headMask = 2 ** Math.ceil(Math.log2(capacity)) - 1;
    this.#heads = new Int32Array(this.#headMask + 1);
    this.#next = new Int32Array(capacity + 1);
    this.#hashes = new Uint32Array(2 * (capacity + 1));
    this.#paths = Buffer.alloc((capacity + 1) * PATH_BYTES_V6);
    for (let entry = capacity; entry > NONE; entry--) this.#release(entry);
  }

  /** The engine has admitted this path. If it is one more than the ufrag may have, another goes. */
  add(owner: UfragOwner, path: Buffer): void {
    let count = 1;
    for (let entry = this.#first(owner.hash); entry !== NONE; entry = this.#following(entry)) {
      if (this.#pathOf(entry).equals(path)) return;
      count++;
    }
    if (count > this.#options.most) this.#evict(owner);
    this.#insert(owner.hash, path);
  }

  /** The ufrag's session has left this path. */
  remove(hash: Hash64, path: Buffer): void {
    let entry = this.#first(hash);
    while (entry !== NONE && !this.#pathOf(entry).equals(path)) entry = this.#following(entry);
    if (entry !== NONE) this.#remove(entry);
  }

  /** Whether the ufrag's transceiver has an assured flow on one of its paths. */
  hasAssured(owner: UfragOwner): boolean {
    for (let entry = this.#first(owner.hash); entry !== NONE; entry = this.#following(entry)) {
      const flow = this.#options.engine.flow(this.#pathOf(entry));
      if (flow?.state === "assured" && flow.owner === owner.slot) return true;
    }
    return false;
  }

  /** Looks at the next entries and forgets those whose flow is gone. To be called every EXPIRE_MS. */
  sweep(): void {
    const { capacity } = this.#options;
    const step = Math.min(Math.ceil(capacity / PATHS_SWEEP_STEPS), PATHS_SWEEP_MOST);
    for (let i = 0; i < step; i++) {
      const entry = this.#advance();
      if (this.#isUsed(entry) && this.#options.engine.flow(this.#pathOf(entry)) === undefined) this.#remove(entry);
    }
  }

  /** Forgets the paths whose flow is gone. If there are none, one of the others loses its flow. */
  #evict(owner: UfragOwner): void {
    const { engine, inUseMs, onEvicted } = this.#options;
    let forgotten = 0;
    let worst = NONE;
    let worstScore = -1;
    let following = NONE;
    for (let entry = this.#first(owner.hash); entry !== NONE; entry = following) {
      following = this.#following(entry);
      const flow = engine.flow(this.#pathOf(entry));
      if (flow === undefined || (flow.owner !== owner.slot && flow.pending !== owner.slot)) {
        this.#remove(entry);
        forgotten++;
        continue;
      }
      // Unanswered paths go first, the oldest of them foremost; then the one that has been idle for longest. What is idle no
      // longer than a session in use may be counts as equal, and of these the newest goes: whoever floods
      // this ufrag with paths wears out his own.
      const isAnswered = flow.state === "assured" && flow.owner === owner.slot;
      const score = isAnswered ? Math.max(flow.idleMs, inUseMs) : UNANSWERED + flow.idleMs;
      if (score > worstScore || (score === worstScore && !isAnswered)) {
        worst = entry;
        worstScore = score;
      }
    }
    if (forgotten > 0) return;
    if (engine.end(this.#pathOf(worst), owner.slot, owner.ufrag)) onEvicted();
    this.#remove(worst);
  }

  #insert(hash: Hash64, path: Buffer): void {
    if (this.#free === NONE) this.#makeRoom();
    const entry = this.#free;
    this.#free = this.#next[entry]!;
    path.copy(this.#paths, entry * PATH_BYTES_V6);
    this.#hashes[2 * entry] = hash.low;
    this.#hashes[2 * entry + 1] = hash.high;
    const head = hash.low & this.#headMask;
    this.#next[entry] = this.#heads[head]!;
    this.#heads[head] = entry;
  }

  /** Every entry is in use: most are of flows that have gone since the last sweep. If not, one is forgotten. */
  #makeRoom(): void {
    this.sweep();
    while (this.#free === NONE) {
      const entry = this.#advance();
      if (this.#isUsed(entry)) this.#remove(entry);
    }
  }

  #remove(entry: number): void {
    const head = this.#hashes[2 * entry]! & this.#headMask;
    if (this.#heads[head] === entry) {
      this.#heads[head] = this.#next[entry]!;
    } else {
      let before = this.#heads[head]!;
      while (this.#next[before] !== entry) before = this.#next[before]!;
      this.#next[before] = this.#next[entry]!;
    }
    this.#release(entry);
  }

  #release(entry: number): void {
    this.#paths[entry * PATH_BYTES_V6] = 0;
    this.#next[entry] = this.#free;
    this.#free = entry;
  }

  /** The newest entry of this ufrag. */
  #first(hash: Hash64): number {
    return this.#match(this.#heads[hash.low & this.#headMask]!, hash.low, hash.high);
  }

  /** The next older one of the same ufrag. */
  #following(entry: number): number {
    return this.#match(this.#next[entry]!, this.#hashes[2 * entry]!, this.#hashes[2 * entry + 1]!);
  }

  #match(entry: number, low: number, high: number): number {
    let at = entry;
    while (at !== NONE && (this.#hashes[2 * at] !== low || this.#hashes[2 * at + 1] !== high)) at = this.#next[at]!;
    return at;
  }

  #advance(): number {
    this.#cursor = (this.#cursor % this.#options.capacity) + 1;
    return this.#cursor;
  }

  #isUsed(entry: number): boolean {
    return this.#paths[entry * PATH_BYTES_V6] !== 0;
  }

  /** A view, valid as long as the entry is. */
  #pathOf(entry: number): Buffer {
    const start = entry * PATH_BYTES_V6;
    return this.#paths.subarray(start, start + pathLength(this.#paths[start]!));
  }
}

/** More than any idle time, so that unanswered paths come before answered ones. */
const UNANSWERED = 2 ** 40;
