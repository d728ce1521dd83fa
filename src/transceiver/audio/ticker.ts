/**
 * The one timer that paces the audio of all calls of a process. It runs only while somebody has something to send, and
 * says what time it is: who is served computes from that what is due, so nothing drifts however late it comes.
 */
import { PACE_TICK_MS } from "../limits.ts";

export interface Clock {
  /** Monotonic. */
  nowMs(): number;
  /** Calls `tick` again and again until the function that it returned is called. */
  every(ms: number, tick: () => void): () => void;
}

export interface Ticked {
  /** Never throws. False if nothing is left to do: it is then not called again until it is added again. */
  tick(nowMs: number): boolean;
}

const systemClock: Clock = {
  nowMs: () => performance.now(),
  every(ms, tick) {
    const timer = setInterval(tick, ms);
    return () => clearInterval(timer);
  },
};

export class Ticker {
  readonly #clock: Clock;
  readonly #ticked = new Set<Ticked>();
  #stop: (() => void) | undefined;

  constructor(clock = systemClock) {
    this.#clock = clock;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  add(ticked: Ticked): void {
    this.#ticked.add(ticked);
    this.#stop ??= this.#clock.every(PACE_TICK_MS, () => this.#tick());
  }

  remove(ticked: Ticked): void {
    this.#ticked.delete(ticked);
    if (this.#ticked.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  #tick(): void {
    const nowMs = this.nowMs();
    for (const ticked of this.#ticked) if (!ticked.tick(nowMs)) this.remove(ticked);
  }
}
