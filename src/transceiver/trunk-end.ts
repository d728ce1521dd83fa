/**
 * The contract of a transceiver's end of the trunk: the one UDP socket that all its sessions share. Two implementations
 * hold to it, native and js, and one suite of tests covers both.
 *
 * An end reads frames from relays and remembers each relay port, packs what goes back into trunk datagrams, and answers
 * pings itself. It knows neither STUN nor sessions, and nothing that the network brings makes it throw.
 */
import type { KeyRing } from "../keys/key-ring.ts";
import type { FrameKind } from "../trunk/frame.ts";
import type { TransceiverCounters } from "./counters.ts";

export interface AddressPort {
  readonly address: string;
  readonly port: number;
}

/** The trunk port of a relay that a datagram came by, and that its answers go to: the port's id on the trunk. */
export type RelayPort = number;

/** What an end remembers of one. */
export interface RelayPortState extends AddressPort {
  readonly id: RelayPort;
  readonly epoch: bigint;
  readonly heardMs: number;
}

export interface TrunkEndOptions {
  /** Of this transceiver. */
  readonly id: number;
  readonly cluster: number;
  readonly epoch: bigint;
  readonly keys: KeyRing;
  readonly local: AddressPort;
  readonly counters: TransceiverCounters;
  /**
   * A client's datagram, and the path it took, as its key. The datagram may be kept, but is a view of a much larger
   * buffer, which is kept with it.
   */
  readonly onData: (pathKey: string, datagram: Buffer, from: RelayPort, nowMs: number) => void;
  /** The relay has no flow for this path. */
  readonly onUnknownPath: (pathKey: string, from: RelayPort) => void;
}

export interface TrunkEnd {
  readonly kind: "native" | "js";
  /** What the operator should know, once it has started. */
  readonly warnings: readonly string[];
  /** Binds. Throws an `EarshotError` with the code of the operating system (EADDRINUSE, EADDRNOTAVAIL, EACCES, ...). */
  start(): Promise<AddressPort>;
  /** From the next datagram on. */
  setKeys(keys: KeyRing): void;
  /** Sends a client's datagram, or a control frame about its path, at the end of this turn of the event loop. */
  send(to: RelayPort, kind: FrameKind, path: Buffer | undefined, payload: Buffer): void;
  /** From now on pongs say "draining"; each relay that is there is also told at once. */
  drain(): void;
  /** Every relay port that it remembers, heard of lately or not. */
  relayPorts(nowMs: number): Iterable<RelayPortState>;
  /** Datagrams that the kernel dropped for want of buffer; undefined if that cannot be read. */
  kernelDrops(): number | undefined;
  /** Sends what waits, and closes. Safe to call twice. */
  stop(): Promise<void>;
}
