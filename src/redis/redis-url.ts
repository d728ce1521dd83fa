/**
 * Where Redis is, as people write it, in one line:
 *
 *   redis://[user:password@]host[:port][/db]                             one server
 *   redis-sentinel://[user:password@]host[:port],host[:port]/name[/db]   the master that Sentinels call `name`
 *   redis-cluster://[user:password@]host[:port],host[:port]              a Redis Cluster
 *
 * `rediss` in place of `redis` is TLS. Pure; it never repeats a password.
 */
export interface RedisPlace {
  readonly host: string;
  readonly port: number;
}

export interface RedisUrl {
  readonly kind: "standalone" | "sentinel" | "cluster";
  readonly places: readonly RedisPlace[];
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly tls: boolean;
  readonly db: number;
  /** Of the master that Sentinels watch. */
  readonly master: string | undefined;
}

const FORM = /^(rediss?)(-sentinel|-cluster)?:\/\/(?:([^@/]*)@)?([^@/]+)(?:\/(.*))?$/;
const PLACE = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9._-]+))(?::(\d{1,5}))?$/;
const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26379;
const MOST_DB = 65_535;

/** Undefined if it is none of the forms above. */
export function parseRedisUrl(text: string): RedisUrl | undefined {
  const match = FORM.exec(text.trim());
  if (match === null) return undefined;
  const [, scheme, suffix = "", login, hosts = "", rest = ""] = match;
  const kind = suffix === "-sentinel" ? "sentinel" : suffix === "-cluster" ? "cluster" : "standalone";
  const defaultPort = kind === "sentinel" ? DEFAULT_SENTINEL_PORT : DEFAULT_PORT;
  const places = hosts.split(",").map((host) => parsePlace(host, defaultPort));
  if (places.includes(undefined) || (kind === "standalone" && places.length !== 1)) return undefined;
  const credentials = parseLogin(login);
  const steps = rest === "" ? [] : rest.split("/");
  const master = kind === "sentinel" ? steps.shift() : undefined;
  const db = steps.length === 0 ? 0 : /^\d{1,5}$/.test(steps[0]!) ? Number(steps[0]) : Number.NaN;
  if (credentials === undefined || steps.length > 1 || !(db <= MOST_DB)) return undefined;
  if (kind === "sentinel" && !master) return undefined;
  if (kind === "cluster" && rest !== "") return undefined;
  return { kind, places: places as RedisPlace[], ...credentials, tls: scheme === "rediss", db, master };
}

/** For people: without what is secret. */
export function redisText({ kind, places, master }: RedisUrl): string {
  const hosts = places.map(({ host, port }) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`));
  return `${kind} ${hosts.join(",")}${master === undefined ? "" : ` (${master})`}`;
}

/** HOST, HOST:PORT or [ADDRESS]:PORT. */
export function parsePlace(text: string, defaultPort: number): RedisPlace | undefined {
  const match = PLACE.exec(text);
  const port = Number(match?.[3] ?? defaultPort);
  return match === null || port < 1 || port > 65_535 ? undefined : { host: match[1] ?? match[2]!, port };
}

/** Undefined if it cannot be decoded. */
function parseLogin(
  login: string | undefined,
): { username: string | undefined; password: string | undefined } | undefined {
  if (login === undefined) return { username: undefined, password: undefined };
  const colon = login.indexOf(":");
  try {
    const [username, password] = [login.slice(0, Math.max(0, colon)), login.slice(colon + 1)].map(decodeURIComponent);
    return { username: username === "" ? undefined : username, password };
  } catch {
    return undefined;
  }
}
