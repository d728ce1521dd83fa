/** Owns waiting for what other processes do: asks again and again, and says what it last got if that never suffices. */
import { setTimeout as sleep } from "node:timers/promises";

const ASK_EVERY_MS = 50;

/** What `ask` gives once `enough` holds of it. Errors of `ask` count as not yet. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T>,
  enough: (value: T) => boolean,
  withinMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  let last: unknown;
  do {
    try {
      const value = await ask();
      if (enough(value)) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    await sleep(ASK_EVERY_MS);
  } while (performance.now() < deadline);
  const said = last instanceof Error ? last.message : JSON.stringify(last);
  throw new Error(`${what}: not within ${withinMs} ms; last: ${said}`);
}
