/** What the addon's end of the trunk looks like from here. native/addon/trunk_end_addon.cc is the other side. */
import { loadAddon, type NativeKey } from "../addon.ts";

export interface NativeTrunkEndOptions {
  readonly id: number;
  readonly cluster: number;
  readonly epoch: bigint;
  readonly local: { readonly address: string; readonly port: number };
  /** Asked of the kernel for its receive buffer. */
  readonly receiveBufferBytes: number;
  /** Media that has waited for longer is dropped. */
  readonly maxMediaAgeMs: number;
}

export interface NativeTrunkEndHandle {
  setKeys(signing: number, keys: readonly NativeKey[]): void;
  start(): { readonly errno: number } | { readonly port: number; readonly receiveBufferBytes: number };
  /** Reads a batch into `buffer` from `at` on, and where its frames are into `places`; returns how many there are. */
  receive(buffer: Buffer, at: number, places: Uint32Array): number;
  /** Sends the records in the first `length` bytes. */
  send(outbox: Buffer, length: number): void;
  drain(): void;
  relayPorts(): readonly {
    readonly id: number;
    readonly epoch: bigint;
    readonly address: string;
    readonly port: number;
    readonly silentMs: number;
  }[];
  kernelDrops(): number;
  stop(): void;
}

export interface NativeTrunkEndClass {
  /** Counts in `counts` as it happens, in the order of native/core/trunk_end_counters.def. */
  new (options: NativeTrunkEndOptions, counts: Float64Array, onReadable: () => void): NativeTrunkEndHandle;
  /** Bytes that a batch may need in the buffer of `receive`. */
  readonly batchBytes: number;
  /** Frames that a batch may have. */
  readonly batchPlaces: number;
  /** Of the largest frame that can be sent. */
  readonly frameBytesMost: number;
}

/** Throws ADDON_UNAVAILABLE. */
export const loadTrunkEnd = (): NativeTrunkEndClass =>
  (loadAddon() as { readonly TrunkEnd: NativeTrunkEndClass }).TrunkEnd;
