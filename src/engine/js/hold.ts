/**
 * What the JS engine holds: the first datagrams of paths that it does not know, soon after a start, until the control plane
 * has settled each path. Bounded in every way, as in native/core/hold.h. Pure: the time is an argument.
 */
import { pathKey } from "../../trunk/path.ts";

// As in native/core/constants.h, with the reasons.
export const HELD_CHUNKS = 16_384;
export const HELD_CHUNK_BYTES = 240;
export const HELD_PER_PATH = 16;
export const HOLD_ASKS = 2_048;
export const HOLD_ASKS_MS = 256;
export const HOLD_AGAIN_MS = 500;
/** Paths that are held at a time, and as many settled ones that are remembered. */
export const HELD_PATHS = 4_096;

interface HeldDatagram {
  readonly datagram: Buffer;
  /** Later it is of no use. */
  readonly untilMs: number;
}

interface HeldPath {
  readonly path: Buffer;
  readonly datagrams: HeldDatagram[];
}

type Each = (path: Buffer, datagram: Buffer, untilMs: number) => void;

export class Hold {
  readonly #held = new Map<string, HeldPath>();
  /** When each was settled, the longest ago first. */
  readonly #settled = new Map<string, number>();
  /** What the native engine would need for what is held. */
  #chunks = 0;
  #asks = 0;
  #asksSinceMs = Number.NEGATIVE_INFINITY;

  /** `ask` is called where the path is new, and says whether there was room to ask about it. */
  put(
    path: Buffer,
    datagram: Buffer,
    nowMs: number,
    untilMs: number,
    ask: () => boolean,
  ): "held" | "full" | "settled-lately" {
    const key = pathKey(path);
    const settledMs = this.#settled.get(key);
    if (settledMs !== undefined && nowMs - settledMs < HOLD_AGAIN_MS) return "settled-lately";
    const chunks = chunksOf(datagram);
    if (this.#chunks + chunks > HELD_CHUNKS) return "full";
    let held = this.#held.get(key);
    if (held === undefined) {
      if (this.#held.size === HELD_PATHS || !this.#mayAsk(nowMs) || !ask()) return "full";
      this.#asks += 1;
      held = { path, datagrams: [] };
      this.#held.set(key, held);
    }
    if (held.datagrams.length === HELD_PER_PATH) return "full";
    held.datagrams.push({ datagram, untilMs });
    this.#chunks += chunks;
    return "held";
  }

  /** Gives what is held of this path to `each`, oldest first, and forgets it. */
  settle(path: Buffer, nowMs: number, each: Each): void {
    const key = pathKey(path);
    const held = this.#held.get(key);
    if (held === undefined) return;
    this.#held.delete(key);
    this.#settled.delete(key);
    this.#settled.set(key, nowMs);
    if (this.#settled.size > HELD_PATHS) this.#settled.delete(this.#settled.keys().next().value!);
    for (const { datagram, untilMs } of held.datagrams) {
      this.#chunks -= chunksOf(datagram);
      each(held.path, datagram, untilMs);
    }
  }

  /** The same of all paths; none of them counts as settled lately. */
  settleAll(each: Each): void {
    for (const { path } of [...this.#held.values()]) this.settle(path, 0, each);
    this.#settled.clear();
  }

  #mayAsk(nowMs: number): boolean {
    if (nowMs - this.#asksSinceMs >= HOLD_ASKS_MS) {
      this.#asksSinceMs = nowMs;
      this.#asks = 0;
    }
    return this.#asks < HOLD_ASKS;
  }
}

const chunksOf = (datagram: Buffer): number => Math.ceil(datagram.length / HELD_CHUNK_BYTES);
