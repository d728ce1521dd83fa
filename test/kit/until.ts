/** Owns waiting in tests: always for a condition, never for a time. */
import { setTimeout as sleep } from "node:timers/promises";

/** A condition that has not come true by then will not: everything that is waited for here takes milliseconds. */
const DEADLINE_MS = 10_000;

/** Waits until `condition` holds. Fails with what `describe` then says. */
export async function until(condition: () => boolean, describe: () => string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${DEADLINE_MS} ms in vain: ${describe()}`);
    await sleep(1);
  }
}
