/**
 * The one connection to Redis, by ioredis. Connecting never blocks a start, commands time out, nothing is queued while Redis
 * is away, and no error of it goes further than the promise of the command that it belongs to. What is in Redis is the
 * business of others; here is only whether it can be asked.
 */
import { type ChainableCommander, Cluster, Redis } from "ioredis";
import type { Logger } from "pino";
import { EarshotError } from "../earshot-error.ts";
import { COMMAND_TIMEOUT_MS, CONNECT_TIMEOUT_MS, LOG_EVERY_MS, MOST_REPLY_BYTES, RECONNECT_MOST_MS } from "./limits.ts";
import { parseRedisUrl, type RedisUrl, redisText } from "./redis-url.ts";

export interface RedisLinkOptions {
  readonly url: string;
  /** Before every key. */
  readonly prefix: string;
  readonly cluster: number;
  readonly logger: Logger;
}

const NOTHING = Buffer.alloc(0);

export class RedisLink {
  readonly #client: Redis | Cluster;
  readonly #logger: Logger;
  readonly #where: string;
  readonly #keyStart: string;
  #isReady = false;
  #loggedMs = Number.NEGATIVE_INFINITY;
  #closed = false;
  /** Bytes that have come since the last command ended. */
  #unanswered = 0;

  /** Throws an `EarshotError` REDIS_URL. */
  constructor({ url, prefix, cluster, logger }: RedisLinkOptions) {
    const parsed = parseRedisUrl(url);
    if (parsed === undefined) {
      throw new EarshotError("REDIS_URL", "expected redis://HOST:PORT or another form that docs/recovery.md lists");
    }
    this.#logger = logger;
    this.#where = redisText(parsed);
    // The braces keep all keys of one cluster of ours in one slot of a Redis Cluster, so that they can be asked for together.
    this.#keyStart = `${prefix}{${cluster}}:`;
    this.#client = makeClient(parsed);
    if (this.#client instanceof Cluster) this.#client.on("+node", (node: Redis) => this.#watch(node));
    else this.#watch(this.#client);
    this.#client.on("ready", () => {
      this.#isReady = true;
      logger.info({ redis: this.#where }, "redis is there");
    });
    this.#client.on("close", () => this.#lost("the connection is closed"));
    this.#client.on("error", (error: Error) => this.#lost(error.message));
  }

  /** Begins to connect, and goes on trying. */
  open(): void {
    // Its failure comes as an event too.
    this.#client.connect().catch(() => {});
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#isReady = false;
    this.#client.disconnect();
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** A whole key. */
  key(name: string): string {
    return this.#keyStart + name;
  }

  /** All commands of it together, in one round trip: their answers. Rejects if any of them fails. */
  async together(fill: (pipeline: ChainableCommander) => void): Promise<readonly unknown[]> {
    return this.#run(async () => {
      const pipeline = this.#client.pipeline();
      fill(pipeline);
      return ((await pipeline.exec()) ?? []).map(([error, answer]) => {
        if (error !== null) throw error;
        return answer;
      });
    });
  }

  /** The values of whole keys, in their order, each up to so many bytes; empty where there is none, or one of another type. */
  async values(keys: readonly string[], most: number): Promise<readonly Buffer[]> {
    return this.#run(async () => {
      const pipeline = this.#client.pipeline();
      for (const key of keys) pipeline.getrangeBuffer(key, 0, most - 1);
      return ((await pipeline.exec()) ?? []).map(([, value]) => (Buffer.isBuffer(value) ? value : NOTHING));
    });
  }

  /**
   * The same in one command, which is several times as fast; but the values come whole, so that long ones are an answer that
   * is cut off.
   */
  async wholeValues(keys: readonly string[]): Promise<readonly Buffer[]> {
    const values = await this.#run(() => this.#client.mgetBuffer(...keys));
    return values.map((value) => value ?? NOTHING);
  }

  /** The fields of a hash, each with its value. */
  async fields(key: string): Promise<ReadonlyMap<string, Buffer>> {
    const all = await this.#run(() => this.#client.hgetallBuffer(key));
    return new Map(Object.entries(all));
  }

  /** Whole keys whose name begins so, some at a time; one may come more than once. */
  async *keysOf(nameStart: string, count: number): AsyncGenerator<readonly string[]> {
    const pattern = `${globText(this.key(nameStart))}*`;
    const nodes = this.#client instanceof Cluster ? this.#client.nodes("master") : [this.#client];
    for (const node of nodes) {
      let cursor = "0";
      do {
        const [next, keys] = await this.#run(() => node.scan(cursor, "MATCH", pattern, "COUNT", count));
        cursor = next;
        yield keys;
      } while (cursor !== "0");
    }
  }

  /** The id of the newest entry of a stream, or one before all entries. */
  async streamEnd(key: string): Promise<string> {
    const [last] = await this.#run(() => this.#client.xrevrange(key, "+", "-", "COUNT", 1));
    return last?.[0] ?? "0-0";
  }

  /** Entries of a stream after this id, oldest first: id, and the value of its one field. */
  async streamAfter(key: string, id: string, count: number): Promise<readonly { id: string; value: Buffer }[]> {
    const entries = await this.#run(() => this.#client.xrangeBuffer(key, `(${id}`, "+", "COUNT", count));
    return entries.map(([entry, fields]) => ({ id: entry.toString("latin1"), value: fields[1] ?? NOTHING }));
  }

  async #run<Answer>(command: () => Promise<Answer>): Promise<Answer> {
    if (!this.#isReady) throw new EarshotError("REDIS_AWAY", `redis at ${this.#where} is not there`);
    try {
      return await command();
    } finally {
      this.#unanswered = 0;
    }
  }

  /** A reply has no end of its own that we could trust: who fills Redis could fill this process. */
  #watch(node: Redis): void {
    node.on("connect", () => {
      this.#unanswered = 0;
      node.stream.on("data", (bytes: Buffer) => {
        this.#unanswered += bytes.length;
        if (this.#unanswered <= MOST_REPLY_BYTES) return;
        this.#unanswered = 0;
        this.#lost(`an answer is longer than ${MOST_REPLY_BYTES} bytes`);
        node.disconnect(true);
      });
    });
  }

  #lost(why: string): void {
    const was = this.#isReady;
    this.#isReady = false;
    const now = performance.now();
    if (this.#closed || (!was && now - this.#loggedMs < LOG_EVERY_MS)) return;
    this.#loggedMs = now;
    this.#logger.warn({ redis: this.#where, why }, "redis is away; calls go on without it");
  }
}

/** Keys have a prefix that an operator chose. */
function globText(text: string): string {
  return text.replace(/[\\*?[\]]/g, "\\$&");
}

function makeClient(url: RedisUrl): Redis | Cluster {
  const { places, username, password, tls, db } = url;
  const retry = (times: number) => Math.min(RECONNECT_MOST_MS, 50 * 2 ** Math.min(times, 10));
  const common = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
    db,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: retry,
  };
  const [first] = places;
  switch (url.kind) {
    case "standalone":
      return new Redis({ ...common, host: first!.host, port: first!.port });
    case "sentinel":
      return new Redis({
        ...common,
        sentinels: [...places],
        name: url.master!,
        enableTLSForSentinelMode: tls,
        ...(tls ? { sentinelTLS: {} } : {}),
        sentinelRetryStrategy: retry,
        sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
      });
    case "cluster":
      return new Cluster([...places], {
        lazyConnect: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: retry,
        redisOptions: common,
      });
  }
}
