/**
 * What the front process and its children say to each other, over the IPC channel of `child_process.fork` with
 * advanced serialization (so buffers and bigints arrive as they are). Fleet keys travel here and nowhere
 * else: never on a command line or in an environment, where other users of the machine can read them.
 */
import type { AddressPort } from "../config/address-port.ts";
import type { Ingress, LaneDescriptors } from "../engine/engine.ts";
import type { FleetKey } from "../keys/key-ring.ts";
import type { DnsTemplate } from "../relay/dns-source.ts";
import type { RelayIdentity } from "../relay/identity.ts";
import type { NewFlowRates } from "../relay/limits.ts";
import type { RedisSettings, RelayTraffic } from "../relay/relay.ts";
import type { BackendSettings } from "../transceiver/backends/load-backend.ts";
import type { CallDescription } from "../transceiver/session.ts";
import type { CallAnswer, FragmentAnswer } from "../transceiver/transceiver.ts";
import type { MetricFamilies } from "./merged-metrics.ts";

export type ChildName = "relay" | "transceiver";

/** The functions that one side offers, by name. */
export type Calls = Record<string, { readonly argument: unknown; readonly reply: unknown }>;
/** What one side tells without being asked, by name. */
export type Events = Record<string, unknown>;

export interface ErrorMessage {
  readonly code: string;
  readonly message: string;
}

export type ToChild =
  | { readonly type: "init"; readonly init: unknown }
  | { readonly type: "call"; readonly id: number; readonly name: string; readonly argument: unknown }
  | { readonly type: "stop" };

/**
 * The name of the call that every child answers: it stops serving and waits for another init message. The argument is what it
 * has to hand over, if anything; the reply is an {@link ErrorMessage} if it could not.
 */
export const SEAL = "seal";

export type ToFront =
  | { readonly type: "warm"; readonly about: unknown }
  | { readonly type: "ready"; readonly ready: unknown }
  | { readonly type: "failed"; readonly error: ErrorMessage }
  | { readonly type: "reply"; readonly id: number; readonly value: unknown }
  | { readonly type: "refusal"; readonly id: number; readonly error: ErrorMessage }
  | { readonly type: "event"; readonly name: string; readonly value: unknown };

interface CommonInit {
  readonly logLevel: string;
  readonly fleetKeys: readonly FleetKey[];
  readonly cluster: number;
  readonly trunk: AddressPort;
}

export interface Health {
  readonly ok: boolean;
  /** Why not, for people. */
  readonly reason?: string;
}

export interface TransceiverInit extends CommonInit {
  readonly id: number;
  readonly advertise: readonly AddressPort[];
  readonly maxCalls: number;
  readonly maxCallMs: number;
  /** Infinity for no limit. */
  readonly maxIdleMs: number;
  /** May hold a key: it travels here and nowhere else. */
  readonly backend: BackendSettings;
  readonly maxQueuedAudioMs: number;
  /** Where it says that it is there. May hold a password. */
  readonly redis?: RedisSettings;
}

export interface TransceiverReady {
  /** Where its trunk socket is bound. */
  readonly trunk: AddressPort;
}

export type TransceiverCalls = {
  createCall: {
    argument: { readonly offerSdp: string; readonly ingest: boolean };
    reply: CallAnswer & { readonly callId: string };
  };
  updateCall: {
    argument: { readonly callId: string; readonly offerSdp: string };
    reply: CallAnswer | undefined;
  };
  takeFragment: {
    argument: { readonly callId: string; readonly fragment: string; readonly mayRepeat: boolean };
    reply: FragmentAnswer | undefined;
  };
  describeCall: { argument: string; reply: CallDescription | undefined };
  endCall: { argument: string; reply: boolean };
  setAdvertise: { argument: readonly AddressPort[]; reply: undefined };
  setKeys: { argument: readonly FleetKey[]; reply: undefined };
  /** No text, because those of several processes become one. */
  metrics: { argument: undefined; reply: MetricFamilies };
  health: { argument: undefined; reply: Health };
  /** No further calls; those that are on go on. */
  drain: { argument: undefined; reply: undefined };
};

export type TransceiverEvents = {
  /** A call is over, whoever ended it. */
  callEnded: { readonly callId: string; readonly reason: string };
};

/** Where a relay process finds what the keeper keeps, as its own descriptors. */
export interface KeptPlaces {
  readonly memory: number;
  /** For flow records, and for the lock of the one that works. */
  readonly records: number;
  readonly lanes: readonly LaneDescriptors[];
}

export interface RelayInit extends CommonInit {
  /** What the keeper has for it. Without it the relay opens its own. */
  readonly kept?: KeptPlaces & RelayIdentity & { readonly next?: { readonly memory: number; readonly key: Buffer } };
  readonly listen: readonly Ingress[];
  readonly engine: "native" | "js";
  readonly lanes: number;
  readonly workers: number;
  readonly cpus: readonly number[];
  readonly gatherUs: number;
  readonly flowCapacity: number;
  readonly newFlowRates: NewFlowRates;
  readonly receiveBufferBytes: number;
  /** May hold a password: it travels here and nowhere else. */
  readonly redis?: RedisSettings;
  readonly directoryNetworks?: readonly string[];
  readonly directoryDns?: DnsTemplate;
}

export interface RelayReady {
  /** As bound, with the ports that the kernel chose. */
  readonly ingresses: readonly Ingress[];
  readonly engineKind: "native" | "js";
  readonly workers: number;
  /** Whether its flows are in the memory that it was offered, and not in that of before. */
  readonly imported: boolean;
}

export type RelayCalls = {
  setDirectory: { argument: readonly (AddressPort & { readonly id: number })[]; reply: undefined };
  setKeys: { argument: readonly FleetKey[]; reply: undefined };
  metrics: { argument: undefined; reply: string };
  health: { argument: undefined; reply: Health };
  traffic: { argument: undefined; reply: RelayTraffic };
};

export type RelayEvents = Record<never, never>;
