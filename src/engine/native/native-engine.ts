/**
 * The native engine: C++ worker threads behind the Engine contract. This side validates nothing that the control plane
 * guarantees; the addon checks every argument again, because there a wrong type would be a wild read.
 */
import { EarshotError } from "../../earshot-error.ts";
import type { KeyRing } from "../../keys/key-ring.ts";
import type {
  AdmitResult,
  ControlKind,
  ControlRecord,
  Engine,
  EngineCapabilities,
  EngineOptions,
  FlowCounts,
  FlowInfo,
  HandedOver,
  HoldVerdict,
  Ingress,
  RestoreResult,
  Slot,
  TakenOver,
  TransceiverEntry,
} from "../engine.ts";
import { loadBinding, type NativeEngineHandle } from "./binding.ts";
import { startError } from "./start-error.ts";

/** Records taken from the addon in one call: a compromise between calls and the size of the shared buffer. */
const RECORDS_PER_CALL = 64;

// The layout of a record in native/addon/addon.cc.
const RECORD = { kind: 0, worker: 1, slot: 2, payloadLength: 4, pathLength: 6, path: 8, payload: 29 } as const;

// In the order of C++'s AdmitResult.
const ADMIT_RESULTS: readonly AdmitResult[] = ["installed", "joined", "pending", "table-full", "quota"];
// In the order of C++'s RestoreResult.
const RESTORE_RESULTS: readonly RestoreResult[] = ["installed", "joined", "kept", "table-full"];
// The numbers of C++'s HoldVerdict.
const HOLD_VERDICTS: Readonly<Record<HoldVerdict, number>> = { unknown: 1, failed: 2, budget: 3 };

export class NativeEngine implements Engine {
  readonly kind = "native";
  readonly capabilities: EngineCapabilities = { maxWorkers: 255, adoptsLanes: true, pinning: true, kernelDrops: true };

  readonly #options: EngineOptions;
  readonly #handle: NativeEngineHandle;
  readonly #recordBytes: number;
  readonly #records: Buffer;
  #onControl: () => void = () => {};
  #ingresses: readonly Ingress[];
  #trunkPorts: readonly number[] = [];
  #warnings: readonly string[] = [];
  #workers = 0;
  #takenOver: TakenOver | undefined;

  /** Throws an `EarshotError` ADDON_UNAVAILABLE when the addon cannot be loaded. */
  constructor(options: EngineOptions) {
    const binding = loadBinding();
    this.#options = options;
    this.#ingresses = options.ingresses;
    this.#handle = new binding.Engine(options, () => this.#onControl());
    this.#recordBytes = binding.Engine.recordBytes;
    this.#records = Buffer.alloc(RECORDS_PER_CALL * this.#recordBytes);
  }

  async start(onControl: () => void): Promise<void> {
    this.#onControl = onControl;
    const { workers, lanes } = this.#options;
    if (workers > lanes) throw tooManyWorkers(workers, lanes);
    const failure = this.#handle.start();
    if (failure !== undefined) throw startError(failure, this.#options);
    this.#workers = workers;
    const bound = this.#handle.bound();
    this.#ingresses = this.#options.ingresses.map((ingress, i) => ({ ...ingress, port: bound.ingressPorts[i]! }));
    this.#trunkPorts = bound.trunkPorts;
    this.#warnings = bound.warnings;
    this.#takenOver = this.#handle.takenOver();
  }

  async stop(): Promise<void> {
    this.#onControl = () => {};
    this.#workers = 0;
    this.#handle.stop();
  }

  async handOver(key: Buffer): Promise<HandedOver> {
    this.#onControl = () => {};
    this.#workers = 0;
    const left = this.#handle.handOver(key);
    if ("errno" in left) throw startError(left, this.#options);
    return left;
  }

  async setWorkers(workers: number, cpus: readonly number[]): Promise<void> {
    if (workers < 1 || workers > this.#options.lanes) throw tooManyWorkers(workers, this.#options.lanes);
    const failure = this.#handle.setWorkers(workers, cpus);
    this.#warnings = this.#handle.bound().warnings;
    if (failure !== undefined) throw startError(failure, this.#options);
    this.#workers = workers;
  }

  get workers(): number {
    return this.#workers;
  }

  get ingresses(): readonly Ingress[] {
    return this.#ingresses;
  }
  get trunkPorts(): readonly number[] {
    return this.#trunkPorts;
  }
  get warnings(): readonly string[] {
    return this.#warnings;
  }

  get takenOver(): TakenOver | undefined {
    return this.#takenOver;
  }

  setKeys(keys: KeyRing): void {
    this.#handle.setKeys(keys.signing.id, keys.all);
  }

  addTransceiver(entry: TransceiverEntry): Slot {
    const slot = this.#handle.addTransceiver(entry.id, entry.epoch, entry);
    if (slot === 0) {
      throw new EarshotError("DIRECTORY_FULL", "every transceiver entry is in use: retire transceivers that are gone");
    }
    return slot;
  }
  retireTransceiver(slot: Slot): void {
    this.#handle.retireTransceiver(slot);
  }

  takeControl(max: number): readonly ControlRecord[] {
    const count = this.#handle.takeControl(this.#records, Math.min(max, RECORDS_PER_CALL));
    const taken: ControlRecord[] = [];
    for (let i = 0; i < count; i++) taken.push(this.#record(i * this.#recordBytes));
    return taken;
  }

  #record(at: number): ControlRecord {
    const bytes = this.#records;
    const path = at + RECORD.path;
    const payload = at + RECORD.payload;
    return {
      kind: bytes[at + RECORD.kind] as ControlKind,
      worker: bytes[at + RECORD.worker]!,
      slot: bytes.readUInt16LE(at + RECORD.slot),
      path: bytes.subarray(path, path + bytes[at + RECORD.pathLength]!),
      payload: bytes.subarray(payload, payload + bytes.readUInt16LE(at + RECORD.payloadLength)),
    };
  }

  offer(record: ControlRecord): boolean {
    return this.#handle.offer(record.worker, record.path, record.payload);
  }

  hold(mostMs: number): void {
    this.#handle.hold(mostMs);
  }
  settle(worker: number, path: Buffer, verdict: HoldVerdict): boolean {
    return this.#handle.settle(worker, path, HOLD_VERDICTS[verdict]);
  }

  admit(path: Buffer, slot: Slot, ufrag: string): AdmitResult {
    return ADMIT_RESULTS[this.#handle.admit(path, slot, ufrag)]!;
  }
  restore(path: Buffer, slot: Slot, ufrags: readonly string[]): RestoreResult {
    return RESTORE_RESULTS[this.#handle.restore(path, slot, ufrags)]!;
  }
  promote(path: Buffer, slot: Slot, ufrag: string): boolean {
    return this.#handle.promote(path, slot, ufrag);
  }
  end(path: Buffer, slot: Slot, ufrag: string): boolean {
    return this.#handle.end(path, slot, ufrag);
  }
  expire(): number {
    return this.#handle.expire();
  }

  flow(path: Buffer): FlowInfo | undefined {
    const flow = this.#handle.flow(path);
    if (flow === undefined) return undefined;
    return {
      state: flow.assured ? "assured" : "tentative",
      owner: flow.owner,
      pending: flow.pending === 0 ? undefined : flow.pending,
      idleMs: flow.idleMs,
    };
  }
  flowCounts(): FlowCounts {
    return this.#handle.flowCounts();
  }
  counters(): readonly Float64Array[] {
    return this.#handle.counters();
  }
  receiveBufferBytes(): { readonly public: number; readonly trunk: number } {
    return this.#handle.receiveBufferBytes();
  }
  kernelDrops(): { readonly public: number; readonly trunk: number } {
    return this.#handle.kernelDrops();
  }
}

function tooManyWorkers(workers: number, lanes: number): EarshotError {
  return new EarshotError("ENGINE_WORKERS", `expected 1 to ${lanes} workers, one for each lane, got ${workers}`);
}
