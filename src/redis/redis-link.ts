/**
 * The one connection to Redis, by ioredis. Connecting never blocks a start, commands time out, nothing is queued while Redis
 * is away, and no error of it goes further than the promise of the command that it belongs to. What is in Redis is the
 * business of others; here is only whether it can be asked.
 */
import { type ChainableCommander, Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { EarshotError } from "../earshot-error.ts";
import { type Connecting, GuardedConnector } from "./guarded-connector.ts";
import { COMMAND_TIMEOUT_MS, CONNECT_TIMEOUT_MS, LOG_AGAIN_MS, LOG_EVERY_MS, RECONNECT_MOST_MS } from "./limits.ts";
import { placesOf } from "./redis-places.ts";
import { parseRedisUrl, type RedisPlace, type RedisUrl, redisText } from "./redis-url.ts";

export interface RedisLinkOptions {
  readonly url: string;
  /** Before every key. */
  readonly prefix: string;
  readonly cluster: number;
  readonly logger: Logger;
}

const NOTHING = Buffer.alloc(0);
/** What the client says when COMMAND_TIMEOUT_MS is over. */
const TIMED_OUT = "Command timed out";

export class RedisLink {
  readonly #client: Redis;
  readonly #logger: Logger;
  readonly #where: string;
  readonly #keyStart: string;
  #isReady = false;
  #said: "there" | "away" | undefined;
  #loggedMs = Number.NEGATIVE_INFINITY;
  #closed = false;

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
    this.#client = makeClient(parsed, () => this.#closed);
    this.#client.on("ready", () => this.#found());
    this.#client.on("close", () => this.#lost("the connection is closed"));
    this.#client.on("error", (error: Error) => {
      this.#lost(error.message);
      // Most errors are the end of it; after the others, as of SELECT, it must not go on as if nothing were wrong.
      this.#client.stream?.destroy();
    });
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

  /**
   * The values of whole keys, in their order, each up to so many bytes; empty where there is none, or one of another type. Rejects
   * if Redis has not answered for all of them.
   */
  async values(keys: readonly string[], most: number): Promise<readonly Buffer[]> {
    return this.#run(async () => {
      const pipeline = this.#client.pipeline();
      for (const key of keys) pipeline.getrangeBuffer(key, 0, most - 1);
      return ((await pipeline.exec()) ?? []).map(([error, value]) => {
        // Its type is another: an error of this key alone.
        if (error !== null && error.name !== "ReplyError") throw error;
        return Buffer.isBuffer(value) ? value : NOTHING;
      });
    });
  }

  /**
   * The same in one command, which is several times as fast; but the values come whole, so that long ones are an answer that
   * is cut off.
   */
  async wholeValues(keys: readonly string[]): Promise<readonly Buffer[]> {
    const values = await this.#run(() => this.#client.mgetBuffer(...keys));
    return values.map((value) => (Buffer.isBuffer(value) ? value : NOTHING));
  }

  /** The fields of a hash, each with its value. */
  async fields(key: string): Promise<ReadonlyMap<string, Buffer>> {
    const all = await this.#run(() => this.#client.hgetallBuffer(key));
    return new Map(Object.entries(all));
  }

  /** Whole keys whose name begins so, some at a time; one may come more than once. */
  async *keysOf(nameStart: string, count: number): AsyncGenerator<readonly string[]> {
    const pattern = `${globText(this.key(nameStart))}*`;
    let cursor = "0";
    do {
      const [next, keys] = await this.#run(() => this.#client.scan(cursor, "MATCH", pattern, "COUNT", count));
      cursor = next;
      yield keys;
    } while (cursor !== "0");
  }

  /** The id of the newest entry of a stream, or one before all entries. */
  async streamEnd(key: string): Promise<string> {
    const [last] = await this.#run(() => this.#client.xrevrange(key, "+", "-", "COUNT", 1));
    return last?.[0] ?? "0-0";
  }

  /** Entries of a stream after this id, oldest first: id, and the value of its one field. */
  async streamAfter(key: string, id: string, count: number): Promise<readonly { id: string; value: Buffer }[]> {
    const entries = await this.#run(() => this.#client.xrangeBuffer(key, `(${id}`, "+", "COUNT", count));
    return entries.map(([entry, fields]) => ({
      id: entry.toString("latin1"),
      value: Buffer.isBuffer(fields[1]) ? fields[1] : NOTHING,
    }));
  }

  async #run<Answer>(command: () => Promise<Answer>): Promise<Answer> {
    if (!this.#isReady) throw new EarshotError("REDIS_AWAY", `redis at ${this.#where} is not there`);
    try {
      return await command();
    } catch (error) {
      // The client would keep the command for an answer that may never come, and the next ones behind it.
      if ((error as Error).message === TIMED_OUT) this.#client.stream?.destroy(new Error("it does not answer"));
      throw error;
    }
  }

  #found(): void {
    this.#isReady = true;
    if (this.#said === "there") return;
    this.#said = "there";
    this.#logger.info({ redis: this.#where }, "redis is there");
  }

  /** Whoever lets us in and throws us out again, many times over, gets no line for each. */
  #lost(why: string): void {
    this.#isReady = false;
    const now = performance.now();
    const pauseMs = this.#said === "away" ? LOG_EVERY_MS : LOG_AGAIN_MS;
    if (this.#closed || now - this.#loggedMs < pauseMs) return;
    this.#loggedMs = now;
    this.#said = "away";
    this.#logger.warn({ redis: this.#where, why }, "redis is away; calls go on without it");
  }
}

/** Keys have a prefix that an operator chose. */
function globText(text: string): string {
  return text.replace(/[\\*?[\]]/g, "\\$&");
}

/** A client that knows where to go, and what it may be told. */
function makeClient(url: RedisUrl, isClosed: () => boolean): Redis {
  const { username, password, tls, db } = url;
  const sentinelOf = (place: RedisPlace): Redis => {
    const find = async (): Promise<RedisPlace> => place;
    return guardedClient(
      { find, tls, isRight: () => true, isClosed },
      { ...COMMON, enableReadyCheck: false, retryStrategy: null },
    );
  };
  const places = placesOf(url, sentinelOf);
  return guardedClient(
    { find: () => places.find(), tls, isRight: (info) => places.isRight(info), isClosed },
    {
      ...COMMON,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      db,
      retryStrategy: (times) => Math.min(RECONNECT_MOST_MS, 50 * 2 ** Math.min(times, 10)),
      reconnectOnError: ({ message }) => places.isElsewhere(message),
    },
  );
}

const COMMON = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT_MS,
  connectTimeout: CONNECT_TIMEOUT_MS,
  // What the guard reads is the older of the two.
  protocol: 2,
  disableClientInfo: true,
} as const satisfies RedisOptions;

function guardedClient(connecting: Omit<Connecting, "awaited">, options: RedisOptions): Redis {
  const awaited = (): number => client.commandQueue.length;
  class Connector extends GuardedConnector {
    constructor() {
      super({ ...connecting, awaited });
    }
  }
  // Of TLS the client wants only to know whether there is a handshake to wait for.
  const tls = connecting.tls ? { tls: {} } : {};
  const client = new Redis({ ...options, ...tls, Connector, replyMapping: "legacy" });
  return client;
}
