/**
 * What is to be written to Redis, behind the packets' back: a bounded queue in which the newest word about a flow replaces
 * an older one, sent in bounded batches, one at a time. Nobody waits for it; what fails is counted and sent again, what does not
 * fit is counted and forgotten, because the sweep of the flow book finds it again.
 */
import { BATCH_RECORDS, FLOW_TTL_S, MOST_QUEUED, STREAM_ENTRIES, STREAM_TTL_S } from "./limits.ts";
import type { RedisLink } from "./redis-link.ts";

export interface Change {
  /** Path bytes. */
  readonly path: Buffer;
  readonly record: Buffer;
  /** The flow has ended: its record goes, and the others are told. */
  readonly ended: boolean;
}

export interface WriteCounts {
  written: number;
  failed: number;
  dropped: number;
}

export const FLOW_KEY = "flow:";
export const CHANGES_KEY = "changes";

export class WriteBehind {
  readonly counts: WriteCounts = { written: 0, failed: 0, dropped: 0 };
  readonly #link: RedisLink;
  /** By path, in the order in which they are sent. */
  readonly #queue = new Map<string, Change>();
  /** Ids of stream entries, oldest first. */
  readonly #own = new Set<string>();
  #sending = false;

  constructor(link: RedisLink) {
    this.#link = link;
  }

  /** Whether this entry of the change stream was written here. */
  isOwn(id: string): boolean {
    return this.#own.has(id);
  }

  get length(): number {
    return this.#queue.size;
  }

  /** False if there is no room. */
  add(change: Change): boolean {
    const key = change.path.toString("hex");
    if (this.#queue.size >= MOST_QUEUED && !this.#queue.has(key)) {
      this.counts.dropped++;
      return false;
    }
    this.#queue.set(key, change);
    return true;
  }

  /** Sends what waits, if Redis is there and nothing is on its way. To be called a few times a second. */
  async send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#queue.size > 0 && this.#link.isReady) {
        const batch = this.#take();
        if (await this.#sendBatch(batch)) continue;
        // Redis may have moved in this moment. If it takes nothing at all, the next call is soon enough.
        this.#putBack(batch);
        return;
      }
    } finally {
      this.#sending = false;
    }
  }

  #forgetOldest(): void {
    for (const oldest of this.#own) {
      this.#own.delete(oldest);
      return;
    }
  }

  #take(): readonly (readonly [string, Change])[] {
    const batch: (readonly [string, Change])[] = [];
    for (const entry of this.#queue) {
      batch.push(entry);
      this.#queue.delete(entry[0]);
      if (batch.length === BATCH_RECORDS) break;
    }
    return batch;
  }

  /** Where there is room, and nothing newer. */
  #putBack(batch: readonly (readonly [string, Change])[]): void {
    for (const [name, change] of batch) {
      if (this.#queue.size >= MOST_QUEUED) return;
      if (!this.#queue.has(name)) this.#queue.set(name, change);
    }
  }

  /** Whether Redis has taken it. */
  async #sendBatch(batch: readonly (readonly [string, Change])[]): Promise<boolean> {
    const link = this.#link;
    const changesKey = link.key(CHANGES_KEY);
    try {
      const answers = await link.together((pipeline) => {
        for (const [name, { record, ended }] of batch) {
          const key = link.key(FLOW_KEY + name);
          if (ended) pipeline.del(key);
          else pipeline.set(key, record, "EX", FLOW_TTL_S);
        }
        pipeline.xadd(
          changesKey,
          "MAXLEN",
          "~",
          STREAM_ENTRIES,
          "*",
          "c",
          packChanges(batch.map(([, change]) => change)),
        );
        pipeline.expire(changesKey, STREAM_TTL_S);
      });
      this.counts.written += batch.length;
      this.#own.add(String(answers[batch.length]));
      if (this.#own.size > STREAM_ENTRIES) this.#forgetOldest();
      return true;
    } catch {
      // Which error it was does not matter here: the link logs what is wrong with Redis.
      this.counts.failed += batch.length;
      return false;
    }
  }
}

/** Length u8 and bytes of each path and record, one after the other. */
export function packChanges(changes: readonly Change[]): Buffer {
  return Buffer.concat(
    changes.flatMap(({ path, record }) => [Buffer.of(path.length), path, Buffer.of(record.length), record]),
  );
}

/** Each of them. Ends where the bytes are not of this form. `path` and `record` are views. */
export function* unpackChanges(bytes: Buffer): Generator<Pick<Change, "path" | "record">> {
  for (let at = 0; at < bytes.length; ) {
    const pathEnd = at + 1 + bytes[at]!;
    if (pathEnd >= bytes.length) return;
    const end = pathEnd + 1 + bytes[pathEnd]!;
    if (end > bytes.length) return;
    yield { path: bytes.subarray(at + 1, pathEnd), record: bytes.subarray(pathEnd + 1, end) };
    at = end;
  }
}
