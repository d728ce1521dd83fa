/**
 * The one way to make a log: JSON lines on stderr, so that stdout is free for what a command answers. Writes are
 * synchronous, because the last line before an exit is the one that matters.
 */

import { destination, type Logger, pino, stdTimeFunctions } from "pino";
import type { ChildName } from "./messages.ts";

export function createLogger(level: string, process: "front" | ChildName): Logger {
  return pino(
    {
      level,
      base: { process, pid: globalThis.process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ dest: 2, sync: true }),
  );
}
