import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { BoundedLog } from "../../src/transceiver/bounded-log.ts";
import { LOG_LINES_PER_WINDOW, LOG_WINDOW_MS } from "../../src/transceiver/limits.ts";

test("lines of one kind are bounded for each window, and what was left out is said", () => {
  const lines: { msg: string; suppressed?: number }[] = [];
  let now = 0;
  const log = new BoundedLog(pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }), () => now);
  for (let i = 0; i < 1_000; i++) log.warn({ i }, "hostile");
  log.warn({}, "other");
  assert.equal(lines.length, LOG_LINES_PER_WINDOW + 1);
  now += LOG_WINDOW_MS;
  log.warn({}, "hostile");
  const [suppressed, line] = lines.slice(-2);
  assert.equal(suppressed?.suppressed, 1_000 - LOG_LINES_PER_WINDOW);
  assert.equal(line?.msg, "hostile");
});
