/** What the addon's data plane looks like from here. native/addon/addon.cc is the other side. */
import { loadAddon, type NativeKey } from "../../addon.ts";
import type { EngineOptions, HandedOver, Ingress, LaneDescriptors, TakenOver } from "../engine.ts";

export interface NativeFailure {
  readonly errno: number;
  readonly about: string;
}

export interface NativeLanes {
  readonly ingressPorts: readonly number[];
  readonly lanes: readonly (LaneDescriptors & { readonly trunkPort: number })[];
  readonly warnings: readonly string[];
}

export interface NativeEngineHandle {
  start(): undefined | NativeFailure;
  stop(): void;
  handOver(key: Buffer): NativeFailure | HandedOver;
  setWorkers(workers: number, cpus: readonly number[]): undefined | NativeFailure;
  bound(): {
    readonly ingressPorts: readonly number[];
    readonly trunkPorts: readonly number[];
    readonly warnings: readonly string[];
  };
  takenOver(): TakenOver | undefined;
  setKeys(signing: number, keys: readonly NativeKey[]): void;
  addTransceiver(id: number, epoch: bigint, address: { readonly address: string; readonly port: number }): number;
  retireTransceiver(slot: number): void;
  takeControl(buffer: Buffer, most: number): number;
  offer(worker: number, path: Buffer, datagram: Buffer): boolean;
  hold(mostMs: number): void;
  settle(worker: number, path: Buffer, verdict: number): boolean;
  admit(path: Buffer, slot: number, ufrag: string): number;
  restore(path: Buffer, slot: number, ufrags: readonly string[]): number;
  promote(path: Buffer, slot: number, ufrag: string): boolean;
  end(path: Buffer, slot: number, ufrag: string): boolean;
  expire(): number;
  flow(
    path: Buffer,
  ):
    | undefined
    | { readonly assured: boolean; readonly owner: number; readonly pending: number; readonly idleMs: number };
  flowCounts(): { readonly flows: number; readonly tentative: number; readonly capacity: number };
  counters(): readonly Float64Array[];
  receiveBufferBytes(): { readonly public: number; readonly trunk: number };
  kernelDrops(): { readonly public: number; readonly trunk: number };
}

export interface Binding {
  readonly Engine: {
    new (options: EngineOptions, onControl: () => void): NativeEngineHandle;
    /** Bytes that one record takes in the buffer of `takeControl`. */
    readonly recordBytes: number;
  };
  openLanes(options: {
    readonly ingresses: readonly Ingress[];
    readonly trunk: { readonly address: string; readonly port: number };
    readonly lanes: number;
    readonly receiveBufferBytes: number;
  }): NativeFailure | NativeLanes;
  closeLanes(lanes: readonly LaneDescriptors[]): void;
  /** A descriptor of empty memory for the `memory` of engines, the caller's to close. */
  makeKeptMemory(): number;
  /** Of the memory that this program reads. */
  readonly keptLayout: string;
  /** Of the records that this program reads and writes. */
  readonly recordsVersion: number;
  /** From now on the end of the parent, which is to be `pid`, kills this process. */
  dieWithParent(pid: number): void;
}

/** Throws ADDON_UNAVAILABLE. */
export const loadBinding = (): Binding => loadAddon() as Binding;
