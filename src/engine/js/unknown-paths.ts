/**
 * Which unknown paths the control plane is told of, so that it can ask their owner: each at most twice a second, and only
 * so many at a time. Whatever transceivers send, it is bounded here. Pure: the time is an argument.
 */

/** As in native/core/constants.h, with the reasons. */
export const UNKNOWN_PATHS_PER_TICK = 2_048;
const TICK_MS = 256;

export class UnknownPaths {
  #tick = 0;
  #told = new Set<string>();
  #toldBefore = new Set<string>();

  /** Whether the control plane is to hear of the path with this key now. */
  take(key: string, nowMs: number): boolean {
    const tick = Math.floor(nowMs / TICK_MS);
    if (tick !== this.#tick) {
      this.#toldBefore = tick === this.#tick + 1 ? this.#told : new Set();
      this.#told = new Set();
      this.#tick = tick;
    }
    if (this.#told.size >= UNKNOWN_PATHS_PER_TICK || this.#told.has(key) || this.#toldBefore.has(key)) return false;
    this.#told.add(key);
    return true;
  }
}
