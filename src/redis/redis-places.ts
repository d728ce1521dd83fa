/**
 * Where the server is that the relay has to talk to: the one of the URL, the master that Sentinels name, or the node of a Redis Cluster
 * that has our keys. All of those are in one slot, so one node has them; who does not have them says who does.
 */
import type { Redis } from "ioredis";
import { parsePlace, type RedisPlace, type RedisUrl } from "./redis-url.ts";

/** Nodes that a Redis Cluster has named, which are tried after those of the URL. */
const MOST_LEARNT = 16;
const MOVED = /^MOVED \d+ (\S+)$/;

export interface Places {
  /** The next to try. Rejects where nobody says. */
  find(): Promise<RedisPlace>;
  /** An error of a command. True if it says that another server is the right one: `find` knows more then. */
  isElsewhere(message: string): boolean;
  /** Whether a server that says this of itself (INFO) is the right one. */
  isRight(info: unknown): boolean;
}

/** `client` makes one for a place that somebody has named, which tries once. */
export function placesOf(url: RedisUrl, client: (place: RedisPlace) => Redis): Places {
  const { kind, places, master } = url;
  if (kind === "cluster") return new ClusterPlaces(places);
  if (kind === "sentinel") return new SentinelPlaces(places, master!, client);
  return { find: async () => places[0]!, isElsewhere: () => false, isRight: () => true };
}

class ClusterPlaces implements Places {
  readonly #seeds: readonly RedisPlace[];
  #learnt: readonly RedisPlace[] = [];
  #named: RedisPlace | undefined;
  #last: RedisPlace;
  #turn = 0;

  constructor(seeds: readonly RedisPlace[]) {
    this.#seeds = seeds;
    this.#last = seeds[0]!;
  }

  /** The one that was named last, once; then each in turn, which name it again. */
  async find(): Promise<RedisPlace> {
    const all = [...this.#seeds, ...this.#learnt];
    this.#last = this.#named ?? all[this.#turn++ % all.length]!;
    this.#named = undefined;
    return this.#last;
  }

  isElsewhere(message: string): boolean {
    const where = MOVED.exec(message)?.[1];
    if (where === undefined) return false;
    // Without a host it is the one that says so, at another port. An IPv6 address comes without brackets.
    const colon = where.lastIndexOf(":");
    const [host, port] = [where.slice(0, colon) || this.#last.host, where.slice(colon + 1)];
    const place = parsePlace(`${host.includes(":") ? `[${host}]` : host}:${port}`, 0);
    if (place === undefined) return false;
    this.#named = place;
    const others = this.#learnt.filter((one) => one.host !== place.host || one.port !== place.port);
    this.#learnt = [place, ...others].slice(0, MOST_LEARNT);
    return true;
  }

  isRight(): boolean {
    return true;
  }
}

class SentinelPlaces implements Places {
  readonly #sentinels: readonly RedisPlace[];
  readonly #master: string;
  readonly #client: (place: RedisPlace) => Redis;

  constructor(sentinels: readonly RedisPlace[], master: string, client: (place: RedisPlace) => Redis) {
    this.#sentinels = sentinels;
    this.#master = master;
    this.#client = client;
  }

  async find(): Promise<RedisPlace> {
    let why = "";
    for (const sentinel of this.#sentinels) {
      const client = this.#client(sentinel);
      client.on("error", (error: Error) => {
        why = error.message;
      });
      try {
        await client.connect();
        const answer = await client.call("SENTINEL", "get-master-addr-by-name", this.#master);
        const [host, port] = Array.isArray(answer) ? answer : [];
        const place = parsePlace(String(host).includes(":") ? `[${host}]:${port}` : `${host}:${port}`, 0);
        if (place !== undefined) return place;
        why = `no place of ${this.#master} in its answer`;
      } catch (error) {
        why ||= (error as Error).message;
      } finally {
        client.disconnect();
      }
    }
    throw new Error(`no Sentinel names the master: ${why}`);
  }

  /** A replica refuses writes: the Sentinels have made another the master. */
  isElsewhere(message: string): boolean {
    return message.startsWith("READONLY");
  }

  /** A Sentinel may name the old one for a while. Who may not ask for INFO has to take its word. */
  isRight(info: unknown): boolean {
    const role = (info as { role?: unknown }).role;
    return role === undefined || role === "master";
  }
}
