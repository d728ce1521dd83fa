/**
 * Loads the addon and says what it looks like from here. The only file that knows where the addon is, and that native
 * types exist. native/addon/addon.cc is the other side.
 */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { EarshotError } from "../../earshot-error.ts";
import { packageRoot } from "../../package-root.ts";
import type { CryptoBinding } from "../../transceiver/werift/crypto-binding.ts";
import type { EngineOptions, Ingress, LaneDescriptors, TakenOver } from "../engine.ts";
import type { NativeTrunkEndClass } from "./trunk-end-binding.ts";

export interface NativeKey {
  readonly id: number;
  readonly tokenTag: Buffer;
  readonly trunkUp: Buffer;
  readonly trunkDown: Buffer;
}

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

export interface Binding extends CryptoBinding {
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
  readonly TrunkEnd: NativeTrunkEndClass;
  /** A descriptor of empty memory for the `memory` of engines, the caller's to close. */
  makeKeptMemory(): number;
  /** From now on the end of the parent, which is to be `pid`, kills this process. */
  dieWithParent(pid: number): void;
}

let loaded: Binding | undefined;

/** Throws an `EarshotError` ADDON_UNAVAILABLE when the addon is not built, or not for this Node. */
export function loadBinding(): Binding {
  if (loaded !== undefined) return loaded;
  const file = fileURLToPath(new URL("build/Release/earshot.node", packageRoot));
  try {
    loaded = createRequire(import.meta.url)(file) as Binding;
    return loaded;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new EarshotError("ADDON_UNAVAILABLE", `the addon cannot be loaded (${why}): run "npm run build"`, {
      cause,
    });
  }
}
