/**
 * Accepts each sequence once: a window behind the highest seen, as in RFC 4303, section 3.4.3. Sequences are 64 bits,
 * taken as two halves: their difference is exact in a double wherever it matters, so this needs no BigInt.
 */

/** How many sequences, the highest among them, the window remembers. A power of 2. */
export const REPLAY_WINDOW = 1_024;

export class ReplayWindow {
  #high = 0;
  #low = 0;
  /** One bit for each sequence of the window, at its remainder. */
  readonly #seen = new Uint32Array(REPLAY_WINDOW / 32);

  /** True the first time, and not for what the window has left behind. 0 is no sequence. */
  accept(high: number, low: number): boolean {
    const ahead = (high - this.#high) * 0x1_0000_0000 + (low - this.#low);
    if (ahead > 0) {
      this.#forget(ahead);
      this.#high = high;
      this.#low = low;
    } else if (ahead <= -REPLAY_WINDOW || (high === 0 && low === 0)) {
      return false;
    }
    const index = (low & (REPLAY_WINDOW - 1)) >>> 5;
    const bit = 1 << (low & 31);
    if ((this.#seen[index]! & bit) !== 0) return false;
    this.#seen[index]! |= bit;
    return true;
  }

  /** Makes room for the `ahead` sequences after the highest. */
  #forget(ahead: number): void {
    if (ahead >= REPLAY_WINDOW) {
      this.#seen.fill(0);
      return;
    }
    for (let step = 1; step <= ahead; step++) {
      const low = (this.#low + step) & (REPLAY_WINDOW - 1);
      this.#seen[low >>> 5]! &= ~(1 << (low & 31));
    }
  }
}
