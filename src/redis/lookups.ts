/**
 * Looks single paths up in Redis whose first datagrams the workers hold, soon after a relay's start. Every path that a worker
 * asks about is settled here, one way or the other: its flow is there, nobody knows it, Redis did not answer in time, the
 * budget is used up, or the time for holding is over. So what strangers can make it do is bounded: by the budget, by the
 * places for paths, and in the end by time. What Redis says is judged by the same code as all of its records.
 */
import type { Engine, HoldVerdict } from "../engine/engine.ts";
import { pathKey } from "../trunk/path.ts";
import { HELD_MOST_MS, LOOKUPS_AT_ONCE, LOOKUPS_STEP, MOST_LOOKUPS, PRELOAD_KEYS, STRETCH_MS } from "./limits.ts";
import { MOST_RECORD_BYTES } from "./record.ts";
import type { RedisLink } from "./redis-link.ts";
import { Stretches } from "./stretches.ts";
import { FLOW_KEY } from "./write-behind.ts";

export interface LookupsOptions {
  readonly link: Pick<RedisLink, "key" | "values">;
  readonly engine: Pick<Engine, "hold" | "settle">;
  /** Whether an answer would be of use now: Redis is there, and so are transceivers. */
  readonly mayAsk: () => boolean;
  /** Judges a record. Whether the path may have a flow now or in a moment. */
  readonly take: (path: Buffer, record: Buffer) => boolean;
  /** ms of a clock that never goes back */
  readonly now: () => number;
}

interface Asked {
  readonly path: Buffer;
  /** Who holds the path's datagrams. */
  worker: number;
  readonly sinceMs: number;
  /** Set where the worker's queue had no room for it. */
  verdict: HoldVerdict | undefined;
}

export class Lookups {
  readonly counts = { asked: 0, found: 0 };
  readonly #options: LookupsOptions;
  /** What is not settled yet, by path. */
  readonly #asked = new Map<string, Asked>();
  /** Of these, what Redis has not been asked about yet, in order. */
  #next: Asked[] = [];
  readonly #stretches = new Stretches(STRETCH_MS);
  #untilMs = Number.NEGATIVE_INFINITY;
  #budget = LOOKUPS_AT_ONCE;
  #asking: Promise<void> | undefined;

  constructor(options: LookupsOptions) {
    this.#options = options;
  }

  /** From now on the workers hold what they cannot place, for so long. */
  open(forMs: number): void {
    this.#untilMs = this.#options.now() + forMs;
    this.#options.engine.hold(HELD_MOST_MS);
  }

  /** What is held and has no flow is dropped. Safe to call twice. */
  close(): void {
    if (!this.isOpen) return;
    this.#untilMs = Number.NEGATIVE_INFINITY;
    this.#options.engine.hold(0);
    this.#asked.clear();
    this.#next = [];
  }

  get isOpen(): boolean {
    return this.#untilMs !== Number.NEGATIVE_INFINITY;
  }

  /** A worker holds datagrams of this path. */
  ask(path: Buffer, worker: number): void {
    if (!this.isOpen) return; // and so the worker has let go of them
    const key = pathKey(path);
    const known = this.#asked.get(key);
    if (known !== undefined) {
      known.worker = worker;
      return;
    }
    if (this.#asked.size >= MOST_LOOKUPS) {
      // There is no place to try again from: if the worker's queue is full too, the end of holding settles it.
      this.#options.engine.settle(worker, path, "budget");
      return;
    }
    const asked: Asked = { path: Buffer.from(path), worker, sinceMs: this.#options.now(), verdict: undefined };
    this.#asked.set(key, asked);
    if (this.#budget === 0) {
      this.#settle(asked, "budget");
      return;
    }
    this.#budget--;
    this.#next.push(asked);
    this.go();
  }

  /** A flow has come into the table from Redis, whatever asked for it. */
  restored(path: Buffer): void {
    if (this.#asked.size === 0) return;
    const asked = this.#asked.get(pathKey(path));
    if (asked === undefined) return;
    this.counts.found++;
    this.#settle(asked, "unknown");
  }

  /** To be called every 100 ms. */
  tick(): void {
    const nowMs = this.#options.now();
    if (nowMs >= this.#untilMs) this.close();
    if (!this.isOpen) return;
    this.#budget = Math.min(LOOKUPS_AT_ONCE, this.#budget + LOOKUPS_STEP);
    for (const asked of this.#asked.values()) {
      if (asked.verdict !== undefined) this.#settle(asked, asked.verdict);
      else if (nowMs - asked.sinceMs > HELD_MOST_MS) this.#settle(asked, "failed");
    }
    this.go();
  }

  /** Asks what is to be asked, if that is of use now. One round trip at a time: what comes meanwhile goes together into the next. */
  go(): void {
    if (this.#next.length === 0 || !this.#options.mayAsk()) return;
    this.#asking ??= this.#askAll().finally(() => {
      this.#asking = undefined;
    });
  }

  /** Resolves when nothing is asked any more. */
  async stop(): Promise<void> {
    this.close();
    await this.#asking;
  }

  async #askAll(): Promise<void> {
    // What the workers tell in one go is asked in one go.
    await new Promise(setImmediate);
    while (this.#next.length > 0 && this.#options.mayAsk()) {
      const batch = this.#next.splice(0, PRELOAD_KEYS).filter((asked) => this.#isOpenFor(asked));
      if (batch.length === 0) continue;
      this.counts.asked += batch.length;
      try {
        const records = await this.#read(batch);
        this.#stretches.begin();
        for (const [i, asked] of batch.entries()) {
          this.#answered(asked, records[i]!);
          if (this.#stretches.isOver()) await this.#stretches.pause();
        }
      } catch {
        // Which error it was does not matter here: the link logs what is wrong with Redis.
        for (const asked of batch) this.#settle(asked, "failed");
      }
    }
  }

  #read(batch: readonly Asked[]): Promise<readonly Buffer[]> {
    const { link } = this.#options;
    const keys = batch.map(({ path }) => link.key(FLOW_KEY + path.toString("hex")));
    // One byte more than any of ours, to see that it is too long.
    return link.values(keys, MOST_RECORD_BYTES + 1);
  }

  #answered(asked: Asked, record: Buffer): void {
    if (!this.#isOpenFor(asked)) return;
    if (record.length > 0 && this.#options.take(asked.path, record)) return; // restored() settles it, or time does
    this.#settle(asked, "unknown");
  }

  /** Whether it has not been settled meanwhile. */
  #isOpenFor(asked: Asked): boolean {
    return this.#asked.get(pathKey(asked.path)) === asked && asked.verdict === undefined;
  }

  #settle(asked: Asked, verdict: HoldVerdict): void {
    if (this.#options.engine.settle(asked.worker, asked.path, verdict)) this.#asked.delete(pathKey(asked.path));
    else asked.verdict = verdict;
  }
}
