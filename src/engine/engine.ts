/**
 * The contract between the control plane and a data plane. Two engines implement it: `native` (C++ worker threads) and
 * `js` (one dgram loop). The control plane decides; an engine forwards, and never asks anybody about a packet
 * that it can place.
 */
import type { KeyRing } from "../keys/key-ring.ts";

/** One local address:port that clients send to, with its 16-bit ingress id. `port` 0 lets the kernel choose. */
export interface Ingress {
  readonly id: number;
  readonly address: string;
  readonly port: number;
}

/** The sockets of a lane as open descriptors: one public socket for each ingress, in their order, and the trunk's. */
export interface LaneDescriptors {
  readonly publics: readonly number[];
  readonly trunk: number;
}

export interface EngineOptions {
  readonly ingresses: readonly Ingress[];
  /** Local address of the trunk; lane l binds `port + l` (l from 1), or a port of the kernel's choice if `port` is 0. */
  readonly trunk: { readonly address: string; readonly port: number };
  /** Sets of sockets, fixed for the engine's life; at least as many as workers. Worker w of W has lanes w, w + W, ... */
  readonly lanes: number;
  /**
   * Lanes that somebody has opened already, as many as `lanes` says, for these ingresses and this trunk address. The engine
   * duplicates the descriptors; they stay the caller's to close. Only where `capabilities.adoptsLanes`.
   */
  readonly adopted?: readonly LaneDescriptors[];
  /**
   * Descriptor of memory from the addon's makeKeptMemory(): its flows and transceivers outlive the engine, and the next engine
   * with that memory goes on with them. One engine at a time may. Without it they end with the engine. Only where
   * `capabilities.adoptsLanes`.
   */
  readonly memory?: number;
  /** With `memory`: what it takes that memory of another layout is followed, and not read. */
  readonly handOver?: {
    /**
     * Descriptor from makeKeptMemory() that is the same for all engines of a keeper: records go through it, and its lock says
     * which engine may write, whatever memory it has.
     */
    readonly records: number;
    /**
     * If `memory` is of another layout: empty memory, which takes the records that `handOver(key)` has left. The descriptor
     * `memory` stands for it then.
     */
    readonly into?: { readonly memory: number; readonly key: Buffer };
  };
  readonly workers: number;
  /** CPU number for each worker, or none to leave them unpinned. */
  readonly cpus: readonly number[];
  /**
   * How long a worker above 50,000 packets/s whose last batch was not full waits before it reads again, us; 0 = never. The js
   * engine never waits.
   */
  readonly gatherUs: number;
  /** 24 bits; lane l is sender `relayId << 8 | l`. */
  readonly relayId: number;
  /** Start time of this relay in ms since 1970; its low 32 bits are never 0. */
  readonly epoch: bigint;
  readonly cluster: number;
  readonly flowCapacity: number;
  readonly tentativeQuota: number;
  /** Bytes asked of the kernel for each socket's receive buffer. */
  readonly receiveBufferBytes: number;
}

export interface EngineCapabilities {
  /** Most workers that the engine can run. */
  readonly maxWorkers: number;
  /** Whether it can forward on sockets that somebody else has opened. */
  readonly adoptsLanes: boolean;
  readonly pinning: boolean;
  /** Whether the kernel's own drops can be read. */
  readonly kernelDrops: boolean;
}

/** A transceiver as the data plane knows it. A new epoch is a new entry. */
export interface TransceiverEntry {
  readonly id: number;
  readonly epoch: bigint;
  readonly address: string;
  readonly port: number;
}

/** What an engine has found in its memory. */
export interface TakenOver {
  /** Live ones: they are forwarded to already. */
  readonly transceivers: readonly (TransceiverEntry & { readonly slot: Slot })[];
  readonly flows: number;
  /** Entries that were not whole, and are gone. Anything but 0 means that something has written where it must not. */
  readonly tornFlows: number;
  readonly tornTransceivers: number;
  /** By way of records, into new memory. */
  readonly imported: boolean;
}

/** What an engine has left as records. */
export interface HandedOver {
  readonly flows: number;
  /** Entries that were not whole, and are not among them. */
  readonly torn: number;
}

/** The engine's number for a transceiver entry. */
export type Slot = number;

export const CONTROL_KIND = { miss: 0, promote: 2, flowEnd: 3, unknownPath: 4, assert: 5, heldPath: 255 } as const;
export type ControlKind = (typeof CONTROL_KIND)[keyof typeof CONTROL_KIND];

/** What a worker hands to the control plane. */
export interface ControlRecord {
  readonly kind: ControlKind;
  readonly worker: number;
  /** Path bytes as in docs/trunk-protocol.md: 9 or 21 bytes. */
  readonly path: Buffer;
  /** The slot whose transceiver sent this frame, or sent to the unknown path; 0 for a miss or a held path. */
  readonly slot: Slot;
  /** The client's datagram for a miss, nothing for an unknown or held path, else the frame's payload. */
  readonly payload: Buffer;
}

export type AdmitResult =
  /** a tentative flow was made, or replaced a tentative one of another transceiver */
  | "installed"
  /** the ufrag now counts among its owner's or pending session's */
  | "joined"
  /** the path has an assured owner elsewhere; the session is now pending on it */
  | "pending"
  | "table-full"
  | "quota";

export type RestoreResult =
  /** an assured flow was made, or took the place of a tentative owner (now pending) or of one that has left */
  | "installed"
  /** this transceiver owns the path already; the flow is assured and has the ufrags that were missing, as far as they fit */
  | "joined"
  /** the path has an assured owner elsewhere, which stays */
  | "kept"
  | "table-full";

/** Why a held path is settled that has no flow: nobody knows it, nobody answered in time, or too many are asked about. */
export type HoldVerdict = "unknown" | "failed" | "budget";

export interface FlowInfo {
  readonly state: "tentative" | "assured";
  readonly owner: Slot;
  readonly pending: Slot | undefined;
  /**
   * ms since the assured owner last sent something to the client, up to about 1.3 s too many, because last-seen moves in
   * steps; for a tentative flow, ms since it was made.
   */
  readonly idleMs: number;
}

export interface FlowCounts {
  /** Flows in the table. */
  readonly flows: number;
  /** Of these, flows whose owner has not answered yet. */
  readonly tentative: number;
  readonly capacity: number;
}

export interface Engine {
  readonly kind: "native" | "js";
  readonly capabilities: EngineCapabilities;

  /**
   * Opens every socket and starts forwarding. `onControl` is called, at most once until the next `takeControl`, when
   * records wait. Throws an `EarshotError` (code EADDRINUSE, EADDRNOTAVAIL, EACCES, ...) and leaves nothing open.
   */
  start(onControl: () => void): Promise<void>;
  /** Stops forwarding and closes every socket. Safe to call twice. */
  stop(): Promise<void>;
  /**
   * As stop(), and leaves records for an engine of another layout that is given the same key, 16 bytes. Throws an `EarshotError`
   * if it cannot; it has stopped all the same. Only with `handOver` in the options.
   */
  handOver(key: Buffer): Promise<HandedOver>;

  /**
   * From now on `workers` of them, on the same lanes: no socket is closed and no datagram lost, the kernel queues what comes
   * in between. `cpus` as in the options. Throws an `EarshotError` ENGINE_WORKERS if that many are more than lanes or
   * than the engine can have, and goes on with as many as before.
   */
  setWorkers(workers: number, cpus: readonly number[]): Promise<void>;
  /** 0 while it does not run. */
  readonly workers: number;

  /** The ingresses as bound, with the ports that the kernel chose. */
  readonly ingresses: readonly Ingress[];
  /** Trunk port of each lane, lane 1 first. */
  readonly trunkPorts: readonly number[];

  /** Known after `start`; undefined if there was nothing to go on with. */
  readonly takenOver: TakenOver | undefined;

  /** What was asked for and could not be had (pinning, buffers), in words. Known after `start`. */
  readonly warnings: readonly string[];

  /** Before `start`, and whenever keys change. */
  setKeys(keys: KeyRing): void;
  /** Throws an `EarshotError` DIRECTORY_FULL when no entry is free. */
  addTransceiver(entry: TransceiverEntry): Slot;
  /** From now on nothing is sent to it or taken from it; its flows end as they expire. */
  retireTransceiver(slot: Slot): void;

  /** Up to `max` records. Their buffers are valid until the next call. */
  takeControl(max: number): readonly ControlRecord[];
  /** Hands a miss back to its worker, which looks it up again. False if the worker's queue is full. */
  offer(record: ControlRecord): boolean;

  /**
   * From now on what a worker would drop as `up_drop_no_flow` is held, within bounds, and a `heldPath` record asks once about
   * its path; whoever calls this owes every such record a `settle`. What is held for longer than `mostMs` is not forwarded
   * any more. 0 ends it: what is still held then is forwarded if its path has a flow, or dropped. May be called before `start`.
   */
  hold(mostMs: number): void;
  /**
   * What `worker` holds of `path` is looked up again, and forwarded in its order if there is a flow now; else it is dropped as
   * `verdict` says. The path is then not held again for half a second. False if the worker's queue is full.
   */
  settle(worker: number, path: Buffer, verdict: HoldVerdict): boolean;

  /** Makes room for `ufrag` (32 characters) of `slot` on `path`, by the rules at {@link AdmitResult}. */
  admit(path: Buffer, slot: Slot, ufrag: string): AdmitResult;
  /**
   * For recovery: makes an assured flow at once, outside the tentative quota, by the rules at {@link RestoreResult}. `ufrags`
   * are one or two, newest first. Whoever calls it has it from somebody who knows that the client was proved on this path.
   */
  restore(path: Buffer, slot: Slot, ufrags: readonly string[]): RestoreResult;
  /** The pending session becomes the owner, assured. False if `slot` and `ufrag` are not what is pending. */
  promote(path: Buffer, slot: Slot, ufrag: string): boolean;
  /**
   * Takes `ufrag` from the owner's claim or from the pending session's. A claim ends with its last ufrag: with the owner's
   * the flow goes, or the pending session steps up as its tentative owner. False if neither has it.
   */
  end(path: Buffer, slot: Slot, ufrag: string): boolean;
  /**
   * One step of the incremental scan that removes idle and unanswered flows, and pending sessions whose transceiver is
   * retired. Returns how many flows it removed.
   */
  expire(): number;

  flow(path: Buffer): FlowInfo | undefined;
  flowCounts(): FlowCounts;
  /** Counters in the order of WORKER_COUNTERS, one array for each worker number that ever was; never reset. */
  counters(): readonly Float64Array[];
  /** What the kernel granted, in bytes as asked for: the least of the public sockets, and of the trunk's. 0 before `start`. */
  receiveBufferBytes(): { readonly public: number; readonly trunk: number };
  /** Datagrams dropped by the kernel for want of buffer: public sockets, trunk sockets. */
  kernelDrops(): { readonly public: number; readonly trunk: number } | undefined;
}
