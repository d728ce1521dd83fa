/** Owns time in a test: nothing passes but what `advance` lets pass, and timers fire on the way. */
import type { Clock } from "../../src/transceiver/audio/ticker.ts";

interface Repeat {
  readonly everyMs: number;
  readonly tick: () => void;
  dueMs: number;
}

export class SimulatedClock implements Clock {
  readonly #repeats = new Set<Repeat>();
  #nowMs = 1_000_000;

  nowMs(): number {
    return this.#nowMs;
  }

  every(everyMs: number, tick: () => void): () => void {
    const repeat = { everyMs, tick, dueMs: this.#nowMs + everyMs };
    this.#repeats.add(repeat);
    return () => this.#repeats.delete(repeat);
  }

  /** Timers that run. */
  get timers(): number {
    return this.#repeats.size;
  }

  advance(ms: number): void {
    const end = this.#nowMs + ms;
    while (true) {
      const [next] = [...this.#repeats].sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined || next.dueMs > end) break;
      this.#nowMs = next.dueMs;
      next.dueMs += next.everyMs;
      next.tick();
    }
    this.#nowMs = end;
  }

  /** The process does nothing for so long: what was due in the meantime fires once, at the end. */
  stall(ms: number): void {
    this.#nowMs += ms;
    for (const repeat of this.#repeats) {
      if (repeat.dueMs > this.#nowMs) continue;
      repeat.dueMs = this.#nowMs + repeat.everyMs;
      repeat.tick();
    }
  }
}
