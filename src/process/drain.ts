/** Waiting for what is on to end, for so long and no longer. Says in the log what it waits for, and what came of it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";

/** Short enough that nobody waits for a process that has nothing left to do. */
const LOOK_MS = 250;

export interface DrainOptions {
  /** What has not ended, for people: `3 calls`; undefined if there is nothing. Rejects if it cannot be known: then nothing is waited for. */
  readonly left: () => Promise<string | undefined>;
  readonly seconds: number;
  readonly logger: Logger;
}

export async function waitUntilDrained({ left, seconds, logger }: DrainOptions): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  let said = false;
  for (;;) {
    const what = await left().catch(() => undefined);
    if (what === undefined) break;
    if (performance.now() >= deadline) {
      logger.warn({ left: what }, "stopping, because their time is up");
      return;
    }
    if (!said) logger.info({ left: what, seconds }, "draining; a second signal stops at once");
    said = true;
    await sleep(LOOK_MS);
  }
  if (said) logger.info("drained");
}
