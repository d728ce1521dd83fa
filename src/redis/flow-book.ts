/**
 * Which flows this relay keeps in Redis, and when each is written: soon after its transceiver has answered, and again while
 * it is alive. The worker makes a flow assured by itself, so the book looks: once 200 ms after admission, and then by a slow
 * sweep, so many at a time. The engine has the truth; the book only adds the ufrags, of which the engine has hashes. Pure but
 * for the engine: the time is an argument. Memory is bounded by the flow table's capacity.
 */
import type { Engine, Slot } from "../engine/engine.ts";
import { pathKey, pathOfKey } from "../trunk/path.ts";
import { FIRST_LOOK_MS, MOST_FRESH, REFRESH_MS, SWEEP_STEP } from "./limits.ts";

/** last-seen moves in steps of a second or so: what is later by more than that has been seen since. */
const SEEN_STEP_MS = 2_000;

export interface BookEntry {
  slot: Slot;
  /** Newest first, two at most. */
  ufrags: readonly string[];
  /** When it was last written by this relay; never, if 0. */
  writtenMs: number;
  /** When another relay's record was last put into the table, which makes the flow look as if it had been seen then. */
  restoredMs: number;
}

export interface FlowBookOptions {
  readonly engine: Pick<Engine, "flow">;
  readonly capacity: number;
  /** A flow is to be written, `seenMs` ago it was alive. False if that has to wait. */
  readonly write: (path: Buffer, entry: BookEntry, seenMs: number) => boolean;
}

export class FlowBook {
  readonly #options: FlowBookOptions;
  readonly #entries = new Map<string, BookEntry>();
  #fresh: { readonly key: string; readonly dueMs: number }[] = [];
  #cursor: MapIterator<[string, BookEntry]> | undefined;

  constructor(options: FlowBookOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The control plane has made room for this session, or its transceiver says that it owns the path. */
  admitted(path: Buffer, slot: Slot, ufrag: string, nowMs: number): void {
    const key = pathKey(path);
    const known = this.#entries.get(key);
    if (known?.slot === slot && known.ufrags[0] === ufrag) return;
    if (known === undefined && this.#entries.size >= this.#options.capacity) return;
    const ufrags = known?.slot === slot ? [ufrag, known.ufrags[0]!] : [ufrag];
    // A session that is pending here is not the owner: the look will tell, and until then the owner's entry stays.
    if (known !== undefined && known.slot !== slot && this.#isOwner(path, known)) return;
    this.#entries.set(key, { slot, ufrags, writtenMs: 0, restoredMs: 0 });
    if (this.#fresh.length < MOST_FRESH) this.#fresh.push({ key, dueMs: nowMs + FIRST_LOOK_MS });
  }

  /** The pending session has become the owner. */
  promoted(path: Buffer, slot: Slot, ufrag: string, nowMs: number): void {
    const known = this.#entries.get(pathKey(path));
    if (known !== undefined && known.slot !== slot) this.#entries.delete(pathKey(path));
    this.admitted(path, slot, ufrag, nowMs);
  }

  /** The ufrag's session has left this path. Whether the flow's record is to go: it was the flow's last. */
  ended(path: Buffer, slot: Slot, ufrag: string): boolean {
    const key = pathKey(path);
    const known = this.#entries.get(key);
    if (known?.slot !== slot || !known.ufrags.includes(ufrag)) return false;
    known.ufrags = known.ufrags.filter((one) => one !== ufrag);
    if (known.ufrags.length > 0) return false;
    this.#entries.delete(key);
    return true;
  }

  /** Another relay's record of this flow is in the table. */
  restored(path: Buffer, slot: Slot, ufrags: readonly string[], nowMs: number): void {
    const key = pathKey(path);
    const known = this.#entries.get(key);
    if (known === undefined && this.#entries.size >= this.#options.capacity) return;
    const writtenMs = known?.writtenMs ?? 0;
    this.#entries.set(key, { slot, ufrags, writtenMs, restoredMs: nowMs });
  }

  /** Looks at flows that are due. To be called every 100 ms. */
  tick(nowMs: number): void {
    const due = this.#fresh.findIndex(({ dueMs }) => dueMs > nowMs);
    const fresh = this.#fresh.splice(0, due < 0 ? this.#fresh.length : due);
    for (const { key } of fresh) this.#look(key, nowMs);
    for (let i = Math.min(SWEEP_STEP, this.#entries.size); i > 0; i--) {
      this.#cursor ??= this.#entries.entries();
      const next = this.#cursor.next();
      if (next.done) this.#cursor = undefined;
      else this.#look(next.value[0], nowMs);
    }
  }

  #look(key: string, nowMs: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    const path = pathOfKey(key);
    const flow = this.#options.engine.flow(path);
    if (flow === undefined || (flow.owner !== entry.slot && flow.pending !== entry.slot)) {
      this.#entries.delete(key);
      return;
    }
    if (flow.state !== "assured" || flow.owner !== entry.slot || nowMs - entry.writtenMs < REFRESH_MS) return;
    const seenMs = nowMs - flow.idleMs;
    // Alive at another relay, and only known here: that one writes it.
    if (entry.restoredMs !== 0 && seenMs <= entry.restoredMs + SEEN_STEP_MS) return;
    if (this.#options.write(path, entry, seenMs)) entry.writtenMs = nowMs;
  }

  #isOwner(path: Buffer, entry: BookEntry): boolean {
    return this.#options.engine.flow(path)?.owner === entry.slot;
  }
}
