/**
 * Logging of what a stranger can cause: at most a few lines of one kind in each window, then silence, then how many were
 * left out. What happens per call and cannot be repeated at will goes to the logger directly.
 */
import type { Logger } from "pino";
import { LOG_LINES_PER_WINDOW, LOG_WINDOW_MS } from "./limits.ts";

interface Window {
  startedMs: number;
  lines: number;
  suppressed: number;
}

export class BoundedLog {
  readonly #logger: Logger;
  readonly #now: () => number;
  /** By message: messages are constants, so this stays small. */
  readonly #windows = new Map<string, Window>();

  constructor(logger: Logger, now: () => number = Date.now) {
    this.#logger = logger;
    this.#now = now;
  }

  /** `message` says what kind of line this is and must be a constant; what varies belongs into `fields`. */
  warn(fields: object, message: string): void {
    const now = this.#now();
    let window = this.#windows.get(message);
    if (window === undefined || now - window.startedMs >= LOG_WINDOW_MS) {
      const suppressed = window?.suppressed ?? 0;
      window = { startedMs: now, lines: 0, suppressed: 0 };
      this.#windows.set(message, window);
      if (suppressed > 0) this.#logger.warn({ suppressed }, `lines left out: ${message}`);
    }
    if (window.lines >= LOG_LINES_PER_WINDOW) {
      window.suppressed++;
      return;
    }
    window.lines++;
    this.#logger.warn(fields, message);
  }
}
