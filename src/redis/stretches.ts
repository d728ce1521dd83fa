/** Cuts long work of the event loop into stretches, so that what waits meanwhile has its turn in between. */
import { setImmediate as turn } from "node:timers/promises";

export class Stretches {
  readonly #mostMs: number;
  #startedMs = performance.now();

  constructor(mostMs: number) {
    this.#mostMs = mostMs;
  }

  /** Work begins again, after a wait for something else. */
  begin(): void {
    this.#startedMs = performance.now();
  }

  /** Whether the stretch has been long enough, and `pause` is to be awaited. */
  isOver(): boolean {
    return performance.now() - this.#startedMs >= this.#mostMs;
  }

  /** Until everybody else has had a turn. */
  async pause(): Promise<void> {
    await turn();
    this.begin();
  }
}
