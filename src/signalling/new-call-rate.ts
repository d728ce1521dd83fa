/** How many calls may begin: so many a second, and as many at once. Pure but for the clock that it is given. */

export class NewCallRate {
  readonly perSecond: number;
  readonly #now: () => number;
  #left: number;
  #countedMs: number;

  /** `perSecond` may be Infinity. */
  constructor(perSecond: number, now: () => number = Date.now) {
    this.perSecond = perSecond;
    this.#now = now;
    this.#left = perSecond;
    this.#countedMs = now();
  }

  /** Whether one more may begin; it is then counted. */
  take(): boolean {
    if (this.perSecond === Number.POSITIVE_INFINITY) return true;
    const nowMs = this.#now();
    // A clock that was set back gives nothing, and takes nothing.
    const sinceMs = Math.max(0, nowMs - this.#countedMs);
    this.#left = Math.min(this.perSecond, this.#left + (sinceMs / 1000) * this.perSecond);
    this.#countedMs = nowMs;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
