/**
 * What other relays know, in the order in which it is asked for: everything that is there at the start, then the changes; both again
 * after each loss of Redis. It judges nothing of what it gets. It never holds the event loop for long, and asks Redis for no
 * more than a bounded amount at a time and at a bounded rate, whatever the answers are.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import {
  FOLLOW_BEHIND_MS,
  FOLLOW_ENTRIES,
  FOLLOW_MS,
  PRELOAD_KEYS,
  PRELOAD_MOST_MS,
  READY_LOOK_MS,
  STRETCH_MS,
  TRANSCEIVERS_WITHIN_MS,
} from "./limits.ts";
import { MOST_RECORD_BYTES } from "./record.ts";
import type { RedisLink } from "./redis-link.ts";
import { Stretches } from "./stretches.ts";
import { CHANGES_KEY, FLOW_KEY, unpackChanges } from "./write-behind.ts";

export interface Preload {
  readonly tookMs: number;
  readonly flows: number;
}

export interface FlowFeedOptions {
  readonly link: RedisLink;
  /** Whether any transceiver has answered yet. */
  readonly hasTransceivers: () => boolean;
  /** From now on Redis and a transceiver are there. */
  readonly onReady: () => void;
  /** Whether this entry of the change stream was written here. */
  readonly isOwn: (id: string) => boolean;
  /** A record, which anybody may have put there. */
  readonly take: (path: Buffer, record: Buffer) => void;
  /** How many of those have come into the table so far. */
  readonly restored: () => number;
  readonly logger: Logger;
}

export class FlowFeed {
  /** The last one. */
  preload: Preload | undefined;
  /** Whether all that was in Redis at some time has been read, and all changes since. */
  hasCaughtUp = false;
  readonly #options: FlowFeedOptions;
  readonly #stretches = new Stretches(STRETCH_MS);
  /** The last preload failed: perhaps a value is too long for an answer, or this user may not ask for many at once. */
  #isCareful = false;
  #following: Promise<void> | undefined;
  #stopped = false;

  constructor(options: FlowFeedOptions) {
    this.#options = options;
  }

  start(): void {
    this.#following = this.#follow();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { link, logger, hasTransceivers, onReady } = this.#options;
    const startedMs = performance.now();
    let pauseMs = READY_LOOK_MS;
    while (!this.#stopped) {
      if (performance.now() - startedMs > TRANSCEIVERS_WITHIN_MS) pauseMs = FOLLOW_MS;
      try {
        // Records of transceivers that have not answered yet would only wait.
        if (link.isReady && (hasTransceivers() || performance.now() - startedMs > TRANSCEIVERS_WITHIN_MS)) {
          pauseMs = FOLLOW_MS;
          onReady();
          // From before the preload, so that nothing falls between the two.
          const from = await link.streamEnd(link.key(CHANGES_KEY));
          await this.#preload();
          await this.#followFrom(from);
        }
      } catch (error) {
        // Redis has gone, or does not do what it is asked. What the table has, it keeps.
        if (link.isReady) logger.debug({ err: error }, "redis failed while flows were read");
      }
      await sleep(pauseMs);
    }
  }

  async #preload(): Promise<void> {
    const { link, take, restored, logger } = this.#options;
    const startedMs = performance.now();
    const before = restored();
    const nameAt = link.key(FLOW_KEY).length;
    for await (const { keys, values } of ahead(this.#pages())) {
      this.#stretches.begin();
      for (const [i, value] of values.entries()) {
        if (value.length === 0) continue;
        take(Buffer.from(keys[i]!.slice(nameAt), "hex"), value);
        if (this.#stretches.isOver()) await this.#stretches.pause();
      }
      if (this.#stopped) return;
      if (performance.now() - startedMs > PRELOAD_MOST_MS) break;
    }
    this.#isCareful = false;
    this.preload = { tookMs: performance.now() - startedMs, flows: restored() - before };
    if (this.preload.flows > 0) logger.info(this.preload, "flows loaded from redis");
  }

  /** All flows' keys with their values. */
  async *#pages(): AsyncGenerator<{ readonly keys: readonly string[]; readonly values: readonly Buffer[] }> {
    const { link } = this.#options;
    for await (const keys of ahead(link.keysOf(FLOW_KEY, PRELOAD_KEYS))) {
      for (let at = 0; at < keys.length; at += PRELOAD_KEYS) {
        const some = keys.slice(at, at + PRELOAD_KEYS);
        yield { keys: some, values: await this.#valuesOf(some) };
      }
    }
  }

  async #valuesOf(keys: readonly string[]): Promise<readonly Buffer[]> {
    const { link } = this.#options;
    // One byte more than any of ours, to see that it is too long.
    if (this.#isCareful) return link.values(keys, MOST_RECORD_BYTES + 1);
    try {
      return await link.wholeValues(keys);
    } catch (error) {
      this.#isCareful = true;
      throw error;
    }
  }

  async #followFrom(from: string): Promise<void> {
    const { link, isOwn, take } = this.#options;
    const key = link.key(CHANGES_KEY);
    let last = from;
    while (!this.#stopped) {
      const entries = await link.streamAfter(key, last, FOLLOW_ENTRIES);
      this.#stretches.begin();
      for (const { id, value } of entries) {
        last = id;
        if (isOwn(id)) continue;
        for (const { path, record } of unpackChanges(value)) {
          take(path, record);
          if (this.#stretches.isOver()) await this.#stretches.pause();
        }
      }
      this.hasCaughtUp ||= entries.length < FOLLOW_ENTRIES;
      await sleep(entries.length < FOLLOW_ENTRIES ? FOLLOW_MS : FOLLOW_BEHIND_MS);
    }
  }
}

/** The same; what comes next is on its way while the caller has this one. */
async function* ahead<T>(source: AsyncGenerator<T>): AsyncGenerator<T> {
  let coming = source.next();
  try {
    for (;;) {
      const { done, value } = await coming;
      if (done) return;
      coming = source.next();
      // Whoever asks for it gets the error; perhaps nobody does.
      coming.catch(() => {});
      yield value;
    }
  } finally {
    source.return(undefined).catch(() => {});
  }
}
