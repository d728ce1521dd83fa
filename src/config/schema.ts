/**
 * Every setting, declared once: what it is called, where it can come from, its type, unit, default, off-value and help.
 * Flags, environment names, `--help`, docs/config.md and the checks all follow from this list. It reads nothing itself.
 */
import { z } from "zod";
import { AUDIO_FORMATS } from "../transceiver/backends/backend.ts";
import { MAX_QUEUED_AUDIO_MS } from "../transceiver/limits.ts";
import {
  bytes,
  cpuList,
  fileName,
  headerList,
  headerText,
  hostAddress,
  iceServerUrl,
  idRange,
  integer,
  integerOrOff,
  keyPrefix,
  listOf,
  listOrOff,
  localPlace,
  nameTemplate,
  network,
  oneOf,
  optional,
  origin,
  redisUrl,
  remotePlace,
  text,
  websocketUrl,
} from "./values.ts";

export const COMMANDS = ["start", "relay", "transceiver"] as const;
export type Command = (typeof COMMANDS)[number];

/** What of this machine a default depends on. */
export interface Machine {
  /** CPUs that this process may use at once. */
  readonly parallelism: number;
}

export interface Default {
  /** What help and documentation say. The same on every machine. */
  readonly text: string;
  /** A value as a flag would give it; undefined leaves the setting unset. */
  value(machine: Machine): string | number | undefined;
}

export interface Field<C extends Command = Command, S extends z.ZodType = z.ZodType> {
  readonly group: "Network" | "Relay" | "Recovery" | "Transceiver" | "Backend" | "HTTP" | "Process";
  readonly commands: readonly C[];
  /** What stands for the value in help: `HOST:PORT`. */
  readonly placeholder: string;
  readonly unit?: string;
  readonly list?: boolean;
  /** Lists of objects have no flag and no environment name. */
  readonly fileOnly?: boolean;
  /** Of the objects in such a list. */
  readonly itemKeys?: string;
  /** Has no flag, because other users of the machine can read those, and is shown in no message. */
  readonly secret?: boolean;
  readonly default: Default | Readonly<Partial<Record<C, Default>>>;
  readonly off?: string;
  readonly help: string;
  /** A valid value, shown where an invalid one came. */
  readonly example: string;
  readonly schema: S;
}

const field = <const C extends Command, S extends z.ZodType>(definition: Field<C, S>): Field<C, S> => definition;
const fixed = (value: string | number, text = String(value)): Default => ({ text, value: () => value });
const unset = (text: string): Default => ({ text, value: () => undefined });

export const LEAST_RECEIVE_BUFFER = 65_536;
export const MOST_RECEIVE_BUFFER = 1_073_741_824;
/** What a voice packet takes of a receive buffer while it waits: measured, and the same up to about 130 bytes. */
export const QUEUED_PACKET_BYTES = 832;
/** Follows lanePackets and gapMs (conflicts.ts). The least that is valid stands in until then. */
const unsetBuffer: Default = {
  text: `lanePackets x gapMs x ${QUEUED_PACKET_BYTES} bytes, which is 4,160,000`,
  value: () => LEAST_RECEIVE_BUFFER,
};

const everywhere = ["start", "relay", "transceiver"] as const;
const withRelay = ["start", "relay"] as const;
const withTransceiver = ["start", "transceiver"] as const;

const directoryEntry = z.strictObject(
  { id: integer(1, 4294967295), address: hostAddress, port: integer(1, 65535) },
  { error: (issue) => (issue.code === "unrecognized_keys" ? undefined : "an object with id, address and port") },
);

const ICE_SERVERS = "a list of objects with url, and username and credential for TURN";
const iceServer = z.strictObject(
  { url: iceServerUrl, username: text.optional(), credential: text.optional() },
  { error: (issue) => (issue.code === "unrecognized_keys" ? undefined : "an object with url") },
);

export const FIELDS = {
  listen: field({
    group: "Network",
    commands: withRelay,
    placeholder: "HOST:PORT",
    list: true,
    default: fixed("0.0.0.0:3478,[::]:3478"),
    help: "UDP addresses that clients send to. A wildcard becomes one ingress for each address of this host; port 0 lets the kernel choose",
    example: "0.0.0.0:3478",
    schema: listOf("a list of HOST:PORT", localPlace),
  }),
  advertise: field({
    group: "Network",
    commands: withTransceiver,
    placeholder: "HOST:PORT",
    list: true,
    default: {
      start: unset("the addresses that the relay listens on, without loopback and link-local ones if there are others"),
      transceiver: unset("this host's own addresses with port 3478"),
    },
    help: "UDP addresses that clients are told to send to. Name the public address here if this host is behind NAT",
    example: "203.0.113.7:3478",
    schema: optional(listOf("a list of HOST:PORT", remotePlace)),
  }),
  trunk: field({
    group: "Network",
    commands: everywhere,
    placeholder: "HOST:PORT",
    default: { start: fixed("127.0.0.1:0"), relay: fixed("127.0.0.1:0"), transceiver: fixed("127.0.0.1:7000") },
    help: "local UDP address of the trunk, the private link between relay and transceiver; port 0 lets the kernel choose. A relay uses this port + 1 for its first worker and so on",
    example: "10.0.0.5:7000",
    schema: localPlace,
  }),
  engine: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "ENGINE",
    default: fixed("native"),
    help: "what forwards datagrams: native (C++ worker threads) or js (one Node.js loop)",
    example: "native",
    schema: oneOf("native", "js"),
  }),
  workers: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    unit: "threads",
    default: { text: "allowed CPUs - 1, at least 1", value: ({ parallelism }) => Math.max(1, parallelism - 1) },
    help: "worker threads of the native engine; the js engine has one",
    example: "2",
    schema: integer(1, 255),
  }),
  lanes: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    unit: "sets of sockets",
    default: { text: "allowed CPUs, at least the number of workers", value: ({ parallelism }) => parallelism },
    help: "sets of sockets that the workers share: fixed while the relay runs, so the most workers that it can be given. Each has a trunk port",
    example: "4",
    schema: integer(1, 255),
  }),
  gatherUs: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    unit: "us",
    default: fixed(50),
    off: "0",
    help: "how long a worker of the native engine with more than 50,000 packets/s waits before it reads again, so that packets share trunk datagrams",
    example: "50",
    schema: integer(0, 1000),
  }),
  cpus: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "LIST",
    default: fixed("off"),
    off: "off",
    help: "pin each worker to one of these CPUs, one CPU for each worker; a CPU that this process may not use is warned of, and its worker not pinned",
    example: "1,2",
    schema: cpuList,
  }),
  flowCapacity: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    unit: "flows",
    default: fixed(65536),
    help: "most flows at a time; their memory is taken at start",
    example: "65536",
    schema: integer(64, 16777214),
  }),
  newFlows: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    unit: "per second",
    default: fixed(20000),
    help: "most new flows, from everywhere; what is above waits for its next check. Below half of it each source prefix has its share",
    example: "20000",
    schema: integer(1, 1000000),
  }),
  newFlowsPerPrefix: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    unit: "per second",
    default: fixed(1000),
    help: "most new flows from one source prefix (/24, /64), four times as many at once. Raise it for a load test or for clients behind one large NAT",
    example: "1000",
    schema: integer(1, 1000000),
  }),
  lanePackets: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    unit: "packets/s",
    default: fixed(20000),
    help: "most packets that a lane is expected to get; with gapMs it sizes the receive buffers",
    example: "20000",
    schema: integer(100, 2000000),
  }),
  gapMs: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    unit: "ms",
    default: fixed(250),
    help: "longest time without a worker that the receive buffers are to bridge, such as while a process takes over from another",
    example: "250",
    schema: integer(1, 10000),
  }),
  receiveBuffer: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "BYTES",
    unit: "bytes for each socket",
    default: unsetBuffer,
    help: "receive buffer asked of the kernel, which doubles it for its own bookkeeping",
    example: "4MiB",
    schema: bytes(LEAST_RECEIVE_BUFFER, MOST_RECEIVE_BUFFER),
  }),
  ingressId: field({
    group: "Relay",
    commands: withRelay,
    placeholder: "N",
    default: fixed(1),
    help: "id of the first ingress; the others follow. Unique among all relays of a cluster",
    example: "1",
    schema: integer(1, 65535),
  }),
  directory: field({
    group: "Relay",
    commands: ["relay"],
    placeholder: "[{id, address, port}]",
    list: true,
    fileOnly: true,
    itemKeys: "id, address and port",
    default: unset("none"),
    help: "the transceivers of the cluster: id and trunk address of each",
    example: "{ id: 1, address: 10.0.0.5, port: 7000 }",
    schema: z
      .array(directoryEntry, { error: () => "a list of objects with id, address and port" })
      .default([])
      .describe("a list of objects with id, address and port"),
  }),
  directoryNetworks: field({
    group: "Relay",
    commands: ["relay"],
    placeholder: "LIST",
    list: true,
    default: fixed(
      "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,fc00::/7,::1/128",
      "private and loopback networks",
    ),
    help: "networks that transceivers may be in; whatever names one outside of them is not believed",
    example: "10.0.0.0/8",
    schema: listOf("a list of networks such as 10.0.0.0/8", network),
  }),
  directoryDns: field({
    group: "Relay",
    commands: ["relay"],
    placeholder: "NAME:PORT",
    default: unset("none"),
    help: "transceivers by name, such as the pods of a StatefulSet, with {id} for the transceiver id; resolved again every 5 s",
    example: "transceiver-{id}.media:7000",
    schema: optional(nameTemplate),
  }),
  directoryDnsIds: field({
    group: "Relay",
    commands: ["relay"],
    placeholder: "FIRST-LAST",
    default: fixed("1-9"),
    help: "ids that directoryDns is asked for",
    example: "1-9",
    schema: idRange,
  }),
  redis: field({
    group: "Recovery",
    commands: everywhere,
    placeholder: "URL",
    default: unset("none: relays do without"),
    help: "where relays keep their flows for each other, and transceivers say that they are there: redis://[user:password@]host:port[/db], redis-sentinel://host:port,host:port/name or redis-cluster://host:port,host:port; rediss for TLS",
    example: "redis://10.0.0.9:6379",
    secret: true,
    schema: optional(redisUrl),
  }),
  redisHoldMs: field({
    group: "Recovery",
    commands: withRelay,
    placeholder: "MS",
    unit: "ms",
    default: fixed(10_000),
    off: "0",
    help: "for so long after its start, at most, a relay holds the first datagrams of paths that it does not know while it looks them up in Redis; 0 = never",
    example: "10000",
    schema: integer(0, 60_000),
  }),
  redisPrefix: field({
    group: "Recovery",
    commands: everywhere,
    placeholder: "TEXT",
    default: fixed("earshot:"),
    help: "what the keys in Redis begin with; the same for a whole fleet",
    example: "earshot:",
    schema: keyPrefix,
  }),
  id: field({
    group: "Transceiver",
    commands: withTransceiver,
    placeholder: "N",
    default: fixed(1),
    help: "transceiver id, unique in the cluster",
    example: "1",
    schema: integer(1, 4294967295),
  }),
  processes: field({
    group: "Transceiver",
    commands: withTransceiver,
    placeholder: "N",
    unit: "processes",
    default: fixed(1),
    help: "transceiver processes behind one HTTP address. Their ids follow --id, and their trunk ports the one of --trunk, unless that is 0",
    example: "4",
    schema: integer(1, 64),
  }),
  maxCalls: field({
    group: "Transceiver",
    commands: withTransceiver,
    placeholder: "N",
    unit: "calls",
    default: fixed(1000),
    help: "most calls at a time, in each process; further ones are answered with 503",
    example: "1000",
    schema: integer(1, 100000),
  }),
  maxNewCallsPerSecond: field({
    group: "Transceiver",
    commands: withTransceiver,
    placeholder: "N",
    unit: "calls per second",
    default: fixed(100),
    off: "off",
    help: "most calls that begin in a second, in all processes together; further ones are answered with 503. Answering takes a transceiver more than anything else that a call asks of it",
    example: "100",
    schema: integerOrOff(1, 100000),
  }),
  maxIdleSeconds: field({
    group: "Transceiver",
    commands: withTransceiver,
    placeholder: "N",
    unit: "seconds",
    default: fixed(600),
    off: "off",
    help: "end a call in which neither media nor messages have come or gone for so long. A muted browser still sends media",
    example: "600",
    schema: integerOrOff(1, 1209600),
  }),
  maxCallSeconds: field({
    group: "Transceiver",
    commands: withTransceiver,
    placeholder: "N",
    unit: "seconds",
    default: fixed(7200),
    help: "longest call; a token expires after that time",
    example: "7200",
    schema: integer(1, 1209600),
  }),
  backend: field({
    group: "Backend",
    commands: withTransceiver,
    placeholder: "KIND",
    default: fixed("echo"),
    help: "what calls are connected to: echo (sends everything back), websocket (a service that speaks the Realtime API's events) or module (a file of yours)",
    example: "websocket",
    schema: oneOf("echo", "websocket", "module"),
  }),
  backendUrl: field({
    group: "Backend",
    commands: withTransceiver,
    placeholder: "URL",
    default: unset("none: required for the websocket backend"),
    help: "the service of the websocket backend; each call opens a connection of its own",
    example: "wss://voice.example.org/v1/realtime?model=small",
    schema: optional(websocketUrl),
  }),
  backendAudio: field({
    group: "Backend",
    commands: withTransceiver,
    placeholder: "FORMAT",
    default: fixed("pcm16-24000"),
    help: "how audio goes to and from the service of the websocket backend: samples at 24 or 48 kHz, or the call's packets (Opus) as they are. A module says itself what it wants",
    example: "pcm16-24000",
    schema: oneOf(...AUDIO_FORMATS),
  }),
  backendSession: field({
    group: "Backend",
    commands: withTransceiver,
    placeholder: "FILE",
    default: unset("none"),
    help: "JSON file with the session that the service is asked for when a call begins: instructions, voice, tools; the audio formats are added",
    example: "session.json",
    schema: optional(fileName),
  }),
  backendKey: field({
    group: "Backend",
    commands: withTransceiver,
    placeholder: "KEY",
    secret: true,
    default: unset("none"),
    help: "key for the service, sent as Authorization: Bearer",
    example: "sk-...",
    schema: optional(headerText),
  }),
  backendHeaders: field({
    group: "Backend",
    commands: withTransceiver,
    placeholder: "[NAME: VALUE]",
    list: true,
    fileOnly: true,
    secret: true,
    default: unset("none"),
    help: "further headers for the service",
    example: '"X-Team: voice"',
    schema: headerList,
  }),
  backendModule: field({
    group: "Backend",
    commands: withTransceiver,
    placeholder: "FILE",
    default: unset("none: required for the module backend"),
    help: "JavaScript module of the module backend; its default export is a backend (docs/backends.md)",
    example: "./my-backend.mjs",
    schema: optional(fileName),
  }),
  maxQueuedAudioSeconds: field({
    group: "Backend",
    commands: withTransceiver,
    placeholder: "N",
    unit: "seconds",
    default: fixed(MAX_QUEUED_AUDIO_MS / 1000),
    help: "most audio that a backend may have queued in one call to be played; what is above is dropped. A second of it takes 48 KB at 24 kHz",
    example: "60",
    schema: integer(1, 3600),
  }),
  http: field({
    group: "HTTP",
    commands: everywhere,
    placeholder: "HOST:PORT",
    default: fixed("127.0.0.1:8080"),
    help: "TCP address of page, signalling, metrics and health; port 0 lets the kernel choose",
    example: "127.0.0.1:8080",
    schema: localPlace,
  }),
  authTokens: field({
    group: "HTTP",
    commands: withTransceiver,
    placeholder: "FILE",
    default: unset("none: everybody who reaches the HTTP address may make calls"),
    help: "file with bearer tokens of those who may make calls, one on each line. Read again when it changes",
    example: "tokens.txt",
    schema: optional(fileName),
  }),
  jwtKeys: field({
    group: "HTTP",
    commands: withTransceiver,
    placeholder: "FILE",
    default: unset("none"),
    help: "file with keys that verify JSON web tokens of those who may make calls: a JWK, a JWK set, or a public key in PEM. Tokens need an exp. Read again when it changes",
    example: "jwks.json",
    schema: optional(fileName),
  }),
  jwtIssuer: field({
    group: "HTTP",
    commands: withTransceiver,
    placeholder: "TEXT",
    default: unset("any"),
    help: "the iss that JSON web tokens have to have",
    example: "https://login.example.org",
    schema: optional(text),
  }),
  jwtAudience: field({
    group: "HTTP",
    commands: withTransceiver,
    placeholder: "TEXT",
    default: unset("any"),
    help: "the aud that JSON web tokens have to have",
    example: "earshot",
    schema: optional(text),
  }),
  iceServers: field({
    group: "HTTP",
    commands: withTransceiver,
    placeholder: "[{url, username, credential}]",
    list: true,
    fileOnly: true,
    itemKeys: "url, username and credential",
    default: unset("none: clients need none to reach an ingress"),
    help: "STUN and TURN servers that clients are told of in Link headers, for those who can send UDP to nothing else",
    example: "{ url: stun:stun.example.org }",
    schema: z
      .array(iceServer, { error: () => ICE_SERVERS })
      .default([])
      .describe(ICE_SERVERS),
  }),
  corsOrigin: field({
    group: "HTTP",
    commands: withTransceiver,
    placeholder: "LIST",
    list: true,
    default: fixed("*"),
    off: "off",
    help: "origins whose pages may call: * for all, or a list",
    example: "https://example.org",
    schema: listOrOff("a list of origins, * or off", origin),
  }),
  cluster: field({
    group: "Process",
    commands: everywhere,
    placeholder: "N",
    default: fixed(1),
    help: "id of the cluster that relay and transceiver belong to",
    example: "1",
    schema: integer(1, 65535),
  }),
  keys: field({
    group: "Process",
    commands: everywhere,
    placeholder: "FILE",
    default: {
      start: unset("a random key, in memory"),
      relay: unset("none: required"),
      transceiver: unset("none: required"),
    },
    help: "fleet keys, the same for all relays and transceivers; made by: earshot keys new. Read again when the file changes, and on SIGHUP",
    example: "keys.json",
    schema: optional(fileName),
  }),
  drainSeconds: field({
    group: "Process",
    commands: ["relay", "transceiver"],
    placeholder: "N",
    unit: "seconds",
    default: { relay: fixed(30), transceiver: fixed(60) },
    off: "0",
    help: "after SIGTERM, how long a transceiver lets its calls go on, and how long a relay forwards while its traffic moves to others. Whatever supervises it has to wait as long. A second signal, or SIGINT, stops at once",
    example: "60",
    schema: integer(0, 86400),
  }),
  controlSocket: field({
    group: "Process",
    commands: withRelay,
    placeholder: "FILE",
    default: unset("none"),
    help: "UNIX socket, for its user alone, at which earshot relay --upgrade reaches this service",
    example: "/run/earshot/relay.sock",
    schema: optional(fileName),
  }),
  logLevel: field({
    group: "Process",
    commands: everywhere,
    placeholder: "LEVEL",
    default: fixed("info"),
    off: "silent",
    help: "least severe level that is logged: trace, debug, info, warn, error, fatal or silent",
    example: "info",
    schema: oneOf("trace", "debug", "info", "warn", "error", "fatal", "silent"),
  }),
  config: field({
    group: "Process",
    commands: everywhere,
    placeholder: "FILE",
    default: unset("none"),
    help: "YAML or JSON file with settings; not itself a key of that file",
    example: "earshot.yaml",
    schema: optional(fileName),
  }),
} as const;

export type Key = keyof typeof FIELDS;

/** The settings of one command, parsed. */
export type Config<C extends Command> = {
  readonly [K in Key as C extends (typeof FIELDS)[K]["commands"][number] ? K : never]: z.infer<
    (typeof FIELDS)[K]["schema"]
  >;
};

export const KEYS = Object.keys(FIELDS) as readonly Key[];
export const fieldOf = (key: Key): Field => FIELDS[key];
export const appliesTo = (key: Key, command: Command): boolean => fieldOf(key).commands.includes(command);

/** `maxCallSeconds` -> `--max-call-seconds` */
export const flagOf = (key: Key): string => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
/** `maxCallSeconds` -> `EARSHOT_MAX_CALL_SECONDS` */
export const environmentNameOf = (key: Key): string =>
  `EARSHOT_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

export function defaultOf(key: Key, command: Command): Default {
  const found = fieldOf(key).default;
  if ("text" in found) return found as Default;
  const own = (found as Partial<Record<Command, Default>>)[command];
  return own ?? unset("none");
}
