/**
 * The kinds of value that configuration has: each takes what a flag, a variable or a YAML file can hold (mostly
 * strings) and gives the typed value. A failed check's message is what was expected, for the error that is made of it;
 * the schema's description is the same text, for the documentation.
 */
import { z } from "zod";
import { parseRedisUrl } from "../redis/redis-url.ts";
import { networkOf } from "../relay/directory-sources.ts";
import { type AddressPort, isOneHost, parseAddress, parseAddressPort } from "./address-port.ts";

/** A value that `parse` understands; it returns undefined for what it does not. */
function parsed<T>(expected: string, parse: (raw: unknown) => T | undefined): z.ZodType<T> {
  const schema = z.unknown().transform((raw, context) => {
    const value = parse(raw);
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: expected });
    return z.NEVER;
  });
  return schema.describe(expected);
}

/** Described as what is inside. */
export function optional<T>(schema: z.ZodType<T>): z.ZodType<T | undefined> {
  return schema.optional().describe(schema.description ?? "");
}

/** Comma lists and lists of comma lists become one list of trimmed items. Anything else stays as it is. */
export function splitList(raw: unknown): unknown {
  const items = Array.isArray(raw) ? raw : typeof raw === "string" ? [raw] : undefined;
  return (
    items?.flatMap((item) => (typeof item === "string" ? item.split(",").map((part) => part.trim()) : [item])) ?? raw
  );
}

export function listOf<T>(expected: string, item: z.ZodType<T>): z.ZodType<readonly T[]> {
  const error = () => expected;
  const schema = z.preprocess(splitList, z.array(item, { error }).min(1, { error }));
  return schema.describe(`a list; each item ${item.description}`);
}

/** `off`, which becomes an empty list, or a list. */
export function listOrOff<T>(expected: string, item: z.ZodType<T>): z.ZodType<readonly T[]> {
  const schema = z.preprocess((raw) => (raw === "off" ? [] : splitList(raw)), z.array(item, { error: () => expected }));
  return schema.describe(`off, or a list; each item ${item.description}`);
}

function toInteger(raw: unknown): number | undefined {
  const value = typeof raw === "string" && /^\d{1,15}$/.test(raw.trim()) ? Number(raw) : raw;
  return typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
}

export function integer(min: number, max: number): z.ZodType<number> {
  return parsed(`a whole number from ${min} to ${max}`, (raw) => {
    const value = toInteger(raw);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  });
}

/** `off` becomes Infinity. */
export function integerOrOff(min: number, max: number): z.ZodType<number> {
  return parsed(`off, or a whole number from ${min} to ${max}`, (raw) => {
    if (raw === "off") return Number.POSITIVE_INFINITY;
    const value = toInteger(raw);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  });
}

const BYTE_UNITS: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** Bytes as a number, or with a unit: `512KiB`, `4MiB`. */
export function bytes(min: number, max: number): z.ZodType<number> {
  return parsed(`bytes from ${min} to ${max}, or with a unit as in 512KiB or 4MiB`, (raw) => {
    const match = typeof raw === "string" ? /^(\d{1,15}) ?(|KiB|MiB|GiB)$/.exec(raw.trim()) : null;
    const value = match === null ? toInteger(raw) : Number(match[1]) * (BYTE_UNITS[match[2] ?? ""] ?? 1);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  });
}

const NOTATION = "with a literal address, IPv6 in brackets ([::1]:8080)";

/** A local place to bind. Port 0 lets the kernel choose. */
export const localPlace: z.ZodType<AddressPort> = parsed(`HOST:PORT ${NOTATION}`, (raw) =>
  typeof raw === "string" ? parseAddressPort(raw) : undefined,
);

/** A place that somebody else sends to: one host, and a real port. */
export const remotePlace: z.ZodType<AddressPort> = parsed(
  `HOST:PORT ${NOTATION}, one host and a port from 1 to 65535`,
  (raw) => {
    const place = typeof raw === "string" ? parseAddressPort(raw) : undefined;
    return place !== undefined && place.port > 0 && isOneHost(place.address) ? place : undefined;
  },
);

/** A literal address of one host. */
export const hostAddress: z.ZodType<string> = parsed("a literal IPv4 or IPv6 address of one host", (raw) => {
  const address = typeof raw === "string" ? parseAddress(raw) : undefined;
  return address !== undefined && isOneHost(address) ? address : undefined;
});

export const fileName: z.ZodType<string> = parsed("the name of a file", (raw) =>
  typeof raw === "string" && raw.trim() !== "" ? raw : undefined,
);

export const text: z.ZodType<string> = parsed("a text", (raw) =>
  typeof raw === "string" && raw.trim() !== "" ? raw : undefined,
);

/** RFC 7064 and RFC 7065. */
export const iceServerUrl: z.ZodType<string> = parsed(
  "a STUN or TURN URL such as stun:stun.example.org or turn:turn.example.org:3478?transport=udp",
  (raw) =>
    typeof raw === "string" && /^(stuns?|turns?):[A-Za-z0-9.:[\]-]+(\?transport=(udp|tcp))?$/.test(raw)
      ? raw
      : undefined,
);

export function oneOf<const T extends string>(...choices: readonly T[]): z.ZodType<T> {
  return parsed(`one of ${choices.join(", ")}`, (raw) => choices.find((choice) => choice === raw));
}

/** `*`, or an origin as browsers send it: `https://example.org`, `http://localhost:3000`. */
export const origin: z.ZodType<string> = parsed("* or an origin such as https://example.org, without a path", (raw) => {
  if (raw === "*") return raw;
  if (typeof raw !== "string" || !URL.canParse(raw)) return undefined;
  const url = new URL(raw);
  return url.protocol.startsWith("http") && url.origin === raw.replace(/\/$/, "") ? url.origin : undefined;
});

/** Of a service that is spoken to over a WebSocket. */
export const websocketUrl: z.ZodType<string> = parsed("a ws: or wss: URL without a fragment", (raw) => {
  if (typeof raw !== "string" || !URL.canParse(raw)) return undefined;
  const url = new URL(raw);
  return /^wss?:$/.test(url.protocol) && url.hash === "" ? url.href : undefined;
});

/** RFC 9110, section 5.5, without what only some programs take. */
const HEADER_TEXT = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/;
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): *(.*)$/;

/** The value of an HTTP header. */
export const headerText: z.ZodType<string> = parsed("printable ASCII characters", (raw) =>
  typeof raw === "string" && HEADER_TEXT.test(raw) ? raw : undefined,
);

/** Headers by name, from lines as in HTTP. */
export const headerList: z.ZodType<Readonly<Record<string, string>>> = parsed("a list of NAME: VALUE", (raw = []) => {
  if (!Array.isArray(raw)) return undefined;
  const headers: Record<string, string> = {};
  for (const line of raw) {
    const [, name, value] = (typeof line === "string" && HEADER_LINE.exec(line)) || [];
    if (name === undefined || value === undefined || !HEADER_TEXT.test(value)) return undefined;
    headers[name] = value;
  }
  return headers;
});

/** `0,2` or `0-3`, or `off` for none. Whether this process may use those CPUs is checked elsewhere. */
export const cpuList: z.ZodType<readonly number[]> = parsed("CPU numbers such as 0,2 or 0-3, or off", (raw) => {
  if (raw === "off") return [];
  const items = splitList(typeof raw === "number" ? [raw] : raw);
  if (!Array.isArray(items) || items.length === 0) return undefined;
  const cpus = items.map(cpuRange);
  return cpus.includes(undefined) ? undefined : [...new Set(cpus.flatMap((range) => range ?? []))];
});

const MAX_CPU = 1023;

function cpuRange(item: unknown): number[] | undefined {
  const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(String(item));
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return last < first || last > MAX_CPU ? undefined : Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Where Redis is. It may hold a password, so what is wrong with it is never repeated. */
export const redisUrl: z.ZodType<string> = parsed(
  "redis://HOST:PORT, redis-sentinel://HOST:PORT,HOST:PORT/NAME or redis-cluster://HOST:PORT,HOST:PORT, or the same with rediss",
  (raw) => (typeof raw === "string" && parseRedisUrl(raw) !== undefined ? raw.trim() : undefined),
);

/** Braces would take the place of ours, which say what of a Redis Cluster belongs together. */
export const keyPrefix: z.ZodType<string> = parsed("up to 64 letters, digits and characters of :._-", (raw) =>
  typeof raw === "string" && /^[a-zA-Z0-9:._-]{0,64}$/.test(raw) ? raw : undefined,
);

/** A network in CIDR notation, or one address. */
export const network: z.ZodType<string> = parsed("a network such as 10.0.0.0/8", (raw) =>
  typeof raw === "string" && networkOf(raw) !== undefined ? raw.trim() : undefined,
);

/** The name of a host with `{id}` in it, and a port. */
export const nameTemplate: z.ZodType<{ readonly host: string; readonly port: number }> = parsed(
  "NAME:PORT with {id} in the name",
  (raw) => {
    const [, host, digits] = (typeof raw === "string" && /^([a-zA-Z0-9.{}_-]+):(\d{1,5})$/.exec(raw.trim())) || [];
    const port = Number(digits);
    const isTemplate = host !== undefined && /^[a-zA-Z0-9._-]*\{id\}[a-zA-Z0-9._-]*$/.test(host);
    return isTemplate && port >= 1 && port <= 65_535 ? { host, port } : undefined;
  },
);

const MOST_IDS = 4096;

export const idRange: z.ZodType<{ readonly firstId: number; readonly lastId: number }> = parsed(
  `a range of ids such as 1-9, ${MOST_IDS} at most`,
  (raw) => {
    const match = typeof raw === "string" ? /^(\d{1,10})-(\d{1,10})$/.exec(raw.trim()) : null;
    const [firstId, lastId] = [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0)];
    const isRange = firstId >= 1 && lastId >= firstId && lastId < firstId + MOST_IDS && lastId <= 0xffff_ffff;
    return isRange ? { firstId, lastId } : undefined;
  },
);
