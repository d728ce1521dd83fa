/**
 * Settings that are each valid and do not go together. Reads parsed settings; the one thing it changes is a default
 * that has to follow another setting (`workers`, `lanes`, `receiveBuffer`).
 */
import { EarshotError } from "../earshot-error.ts";
import { isInNetworks, networkOf } from "../relay/directory-sources.ts";
import { type AddressPort, addressFamily, formatAddressPort, isLoopback } from "./address-port.ts";
import {
  type Command,
  fieldOf,
  flagOf,
  type Key,
  LEAST_RECEIVE_BUFFER,
  MOST_RECEIVE_BUFFER,
  QUEUED_PACKET_BYTES,
} from "./schema.ts";

const MAX_PORT = 65535;
const MAX_ID = 4294967295;

/** Where a value came from, as a person knows it: `--workers`, `EARSHOT_WORKERS`, `workers in earshot.yaml`. */
export type Origin = { readonly kind: "flag" | "environment" | "file" | "default"; readonly name: string };

type Settings = Partial<Record<Key, unknown>>;
type Origins = Partial<Record<Key, Origin>>;

interface RelaySettings {
  readonly engine: "native" | "js";
  workers: number;
  lanes: number;
  receiveBuffer: number;
  readonly lanePackets: number;
  readonly gapMs: number;
  readonly cpus: readonly number[];
  readonly trunk: AddressPort;
  readonly directory: readonly (AddressPort & { readonly id: number })[];
  readonly directoryNetworks: readonly string[];
  readonly directoryDns: unknown;
  readonly redis: unknown;
}

interface ProcessSettings {
  readonly id: number;
  readonly processes: number;
  readonly trunk: AddressPort;
}

interface BackendChoice {
  readonly backend: "echo" | "websocket" | "module";
  readonly backendUrl: string | undefined;
  readonly backendModule: string | undefined;
}

export function checkTogether(command: Command, settings: Settings, origins: Origins): void {
  if (command !== "start" && settings.keys === undefined) {
    throw new EarshotError(
      "CONFIG_KEYS_REQUIRED",
      `"earshot ${command}" needs the fleet keys: give --keys FILE, the same file to every relay and transceiver. Make one with: earshot keys new --out keys.json`,
    );
  }
  if (Array.isArray(settings.corsOrigin) && settings.corsOrigin.includes("*") && settings.corsOrigin.length > 1) {
    conflict(`${origins.corsOrigin?.name} lists * together with other origins. Give * alone, or only the others`);
  }
  for (const key of ["jwtIssuer", "jwtAudience"] as const) {
    if (settings[key] === undefined || settings.jwtKeys !== undefined) continue;
    conflict(`${origins[key]?.name} is about JSON web tokens, but no key verifies any. Give --jwt-keys too`);
  }
  if (command !== "relay") {
    checkProcesses(command, settings as unknown as ProcessSettings);
    checkBackend(settings as unknown as BackendChoice, origins);
  }
  if (command === "transceiver") return;
  const relay = settings as unknown as RelaySettings;
  checkWorkers(relay, origins);
  sizeReceiveBuffer(relay, origins);
  checkLanes(relay, origins);
  checkTrunkPorts(relay);
  if (command === "relay") checkDirectory(relay);
}

const BACKEND_NEEDS = { echo: undefined, websocket: "backendUrl", module: "backendModule" } as const;
const BACKEND_OWN = {
  echo: [],
  websocket: ["backendUrl", "backendAudio", "backendSession", "backendKey", "backendHeaders"],
  module: ["backendModule"],
} as const satisfies Record<string, readonly Key[]>;

/** Settings of a backend that is not the chosen one are a mistake: mostly --backend was forgotten. */
function checkBackend(settings: BackendChoice, origins: Origins): void {
  const { backend } = settings;
  const need = BACKEND_NEEDS[backend];
  if (need !== undefined && settings[need] === undefined) {
    conflict(`the ${backend} backend needs ${flagOf(need)}. Example: ${flagOf(need)} ${fieldOf(need).example}`);
  }
  for (const [kind, keys] of Object.entries(BACKEND_OWN)) {
    const given = kind === backend ? undefined : keys.find((key) => (origins[key]?.kind ?? "default") !== "default");
    if (given === undefined) continue;
    conflict(
      `${origins[given]?.name} is for the ${kind} backend, but the backend is ${backend}. Give --backend ${kind}`,
    );
  }
}

/** Each process has an id and a trunk port of its own, one above those of the process before. */
function checkProcesses(command: Command, { id, processes, trunk }: ProcessSettings): void {
  const more = processes - 1;
  if (id + more > MAX_ID) {
    conflict(`${processes} processes starting with id ${id} need ids past ${MAX_ID}. Start lower with --id`);
  }
  // Under `start` the kernel chooses.
  if (command === "transceiver" && trunk.port + more > MAX_PORT) {
    conflict(
      `the trunk's ports start at ${trunk.port} and ${processes} processes need ${more} more, past ${MAX_PORT}. Start lower with --trunk`,
    );
  }
}

/** The control plane binds the trunk's port, lane l the one l above. */
function checkTrunkPorts({ trunk, lanes }: RelaySettings): void {
  if (trunk.port === 0 || trunk.port + lanes <= MAX_PORT) return;
  conflict(
    `the trunk's ports start at ${trunk.port} and need ${lanes} more, past ${MAX_PORT}. Start lower with --trunk`,
  );
}

function checkWorkers(relay: RelaySettings, origins: Origins): void {
  const given = origins.workers?.kind !== "default";
  const workers = origins.workers?.name;
  if (relay.engine === "js") {
    if (given && relay.workers > 1)
      conflict(`${workers} is ${relay.workers}, but the js engine has one worker. Leave it out`);
    if (relay.cpus.length > 0) conflict(`${origins.cpus?.name} pins workers, which the js engine cannot. Leave it out`);
    relay.workers = 1;
    return;
  }
  if (relay.cpus.length === 0) return;
  if (given && relay.workers !== relay.cpus.length) {
    conflict(
      `${workers} is ${relay.workers}, but ${origins.cpus?.name} names ${relay.cpus.length}. Give one CPU for each worker`,
    );
  }
  relay.workers = relay.cpus.length;
}

function sizeReceiveBuffer(relay: RelaySettings, origins: Origins): void {
  if (origins.receiveBuffer?.kind !== "default") return;
  const bytes = Math.ceil((relay.lanePackets * relay.gapMs * QUEUED_PACKET_BYTES) / 1000);
  relay.receiveBuffer = Math.min(MOST_RECEIVE_BUFFER, Math.max(LEAST_RECEIVE_BUFFER, bytes));
}

function checkLanes(relay: RelaySettings, origins: Origins): void {
  const given = origins.lanes?.kind !== "default";
  const lanes = origins.lanes?.name;
  if (relay.engine === "js") {
    if (given && relay.lanes > 1) conflict(`${lanes} is ${relay.lanes}, but the js engine has one lane. Leave it out`);
    relay.lanes = 1;
  } else if (given && relay.lanes < relay.workers) {
    conflict(`${lanes} is ${relay.lanes}, but ${relay.workers} workers need a lane each. Give at least as many`);
  } else {
    relay.lanes = Math.max(relay.lanes, relay.workers);
  }
}

function checkDirectory({ trunk, directory, directoryNetworks, directoryDns, redis }: RelaySettings): void {
  const networks = directoryNetworks.map((cidr) => networkOf(cidr)!);
  if (directory.length === 0 && directoryDns === undefined && redis === undefined) {
    conflict(
      "the directory is empty, so there is no transceiver to forward to. List them in the file given with --config: directory: [{ id: 1, address: 10.0.0.5, port: 7000 }], or give redis or directoryDns",
    );
  }
  const ids = new Set<number>();
  for (const entry of directory) {
    const named = `transceiver ${entry.id} at ${formatAddressPort(entry)}`;
    if (ids.has(entry.id)) conflict(`the directory has transceiver ${entry.id} twice. Give each its own id`);
    ids.add(entry.id);
    if (addressFamily(entry.address) !== addressFamily(trunk.address)) {
      conflict(
        `the trunk is on ${trunk.address}, IPv${addressFamily(trunk.address)}, which cannot reach ${named}. Give --trunk an address of that family`,
      );
    }
    if (!isInNetworks(entry.address, networks)) {
      conflict(`${named} is in none of the networks that directoryNetworks allows. Name its network there`);
    }
    if (isLoopback(trunk.address) && !isLoopback(entry.address)) {
      conflict(
        `the trunk is on ${trunk.address}, loopback, which cannot reach ${named}. Give --trunk an address of this host that can, such as 10.0.0.4:0`,
      );
    }
  }
}

function conflict(message: string): never {
  throw new EarshotError("CONFIG_CONFLICT", message);
}
