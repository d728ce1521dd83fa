/**
 * The pure-JS engine: one worker, one thread, node:dgram. The fallback where the addon cannot load, and the baseline of
 * the benchmark. Owns how its parts are put together and their life; the packet's way is in uplink.ts and downlink.ts.
 */
import type { Socket } from "node:dgram";
import { EarshotError } from "../../earshot-error.ts";
import type { KeyRing } from "../../keys/key-ring.ts";
import { WORKER_COUNTERS } from "../counters.ts";
import {
  type AdmitResult,
  CONTROL_KIND,
  type ControlRecord,
  type Engine,
  type EngineCapabilities,
  type EngineOptions,
  type FlowCounts,
  type FlowInfo,
  type HoldVerdict,
  type Ingress,
  type RestoreResult,
  type Slot,
  type TransceiverEntry,
} from "../engine.ts";
import { ControlQueue } from "./control-queue.ts";
import { Downlink } from "./downlink.ts";
import { FlowTable } from "./flow-table.ts";
import { EngineSockets, send } from "./sockets.ts";
import { TransceiverTable } from "./transceiver-table.ts";
import { Uplink } from "./uplink.ts";

const WORKER = 1;
const LOW_32_BITS = 0xffff_ffffn;

export class JsEngine implements Engine {
  readonly kind = "js";
  readonly capabilities: EngineCapabilities = {
    maxWorkers: 1,
    adoptsLanes: false,
    pinning: false,
    kernelDrops: false,
  };
  readonly #options: EngineOptions;
  readonly #counters = new Float64Array(WORKER_COUNTERS.length);
  readonly #control = new ControlQueue();
  readonly #transceivers: TransceiverTable;
  readonly #flows: FlowTable;
  readonly #uplink: Uplink;
  readonly #downlink: Downlink;
  readonly #publicByIngress = new Map<number, Socket>();
  #state: "new" | "starting" | "running" | "stopped" = "new";
  #sockets: EngineSockets | undefined;
  #stopping: Promise<void> | undefined;
  #keys: KeyRing | undefined;
  #bound: readonly Ingress[];
  #trunkPorts: readonly number[] = [];
  #warnings: readonly string[] = [];
  #granted = { public: 0, trunk: 0 };

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#bound = options.ingresses;
    const counters = this.#counters;
    const control = this.#control;
    const workerId = ((options.relayId << 8) | WORKER) >>> 0;
    const keys = () => this.#keys!;
    const transceivers = new TransceiverTable({
      cluster: options.cluster,
      senderId: workerId,
      senderEpoch: options.epoch,
      signingKeys: () => keys().signing,
      send: (datagram, port, address, done) => {
        if (this.#sockets) send(this.#sockets.trunk, datagram, port, address, done);
        else done(new Error("not started"));
      },
      counters,
    });
    const flows = new FlowTable({
      capacity: options.flowCapacity,
      tentativeQuota: options.tentativeQuota,
      now: () => performance.now(),
      isRetired: (slot) => transceivers.isRetired(slot),
    });
    this.#transceivers = transceivers;
    this.#flows = flows;
    this.#uplink = new Uplink({ worker: WORKER, counters, flows, transceivers, control, keys });
    this.#downlink = new Downlink({
      worker: WORKER,
      cluster: options.cluster,
      targetId: workerId,
      targetEpoch: Number(options.epoch & LOW_32_BITS),
      counters,
      flows,
      transceivers,
      control,
      keys,
      socketOf: (ingress) => this.#publicByIngress.get(ingress),
    });
  }

  get ingresses(): readonly Ingress[] {
    return this.#bound;
  }

  get trunkPorts(): readonly number[] {
    return this.#trunkPorts;
  }

  get workers(): number {
    return this.#state === "running" ? 1 : 0;
  }

  async handOver(): Promise<never> {
    await this.stop();
    throw new EarshotError("ENGINE_STATE", "what the js engine has ends with its process: nothing can be handed over");
  }

  async setWorkers(workers: number): Promise<void> {
    requireOne(workers, "worker");
  }

  /** What it has ends with its process. */
  readonly takenOver = undefined;

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  async start(onControl: () => void): Promise<void> {
    if (this.#state !== "new") {
      throw new EarshotError("ENGINE_STATE", `expected a new engine, this one is ${this.#state}: make another one`);
    }
    requireOne(this.#options.workers, "worker");
    requireOne(this.#options.lanes, "lane");
    if (this.#options.adopted) {
      throw new EarshotError(
        "ENGINE_LANES",
        "the js engine cannot adopt open sockets: leave them to the native engine",
      );
    }
    if (!this.#keys) throw new EarshotError("ENGINE_KEYS", "expected keys before the start: call setKeys first");
    this.#state = "starting";
    try {
      this.#control.open(onControl);
      this.#sockets = await EngineSockets.open(this.#options, {
        onPublic: (datagram, ingress, isLoopback, source) => {
          this.#uplink.receive(datagram, ingress.id, isLoopback, source.address, source.port);
        },
        onTrunk: (datagram) => this.#downlink.receive(datagram),
      });
    } catch (error) {
      this.#state = "stopped";
      throw error;
    }
    if (this.#stopping) {
      await this.#sockets.close();
      throw new EarshotError("ENGINE_STATE", "stopped during its start");
    }
    this.#state = "running";
    const { publicSockets, trunk } = this.#sockets;
    for (const open of publicSockets) this.#publicByIngress.set(open.ingress.id, open.socket);
    this.#bound = publicSockets.map((open) => open.ingress);
    this.#trunkPorts = [trunk.address().port];
    this.#warnings = this.#whatIsMissing();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  #whatIsMissing(): readonly string[] {
    const { cpus, receiveBufferBytes } = this.#options;
    const warnings: string[] = [];
    if (cpus.length > 0) warnings.push("the js engine cannot pin its worker to a CPU: it runs where the process runs");
    this.#granted = this.#sockets!.receiveBufferBytes();
    const granted = Math.min(this.#granted.public, this.#granted.trunk);
    if (granted < receiveBufferBytes) {
      warnings.push(
        `receive buffers are ${granted} bytes instead of ${receiveBufferBytes}: set net.core.rmem_max to at least that`,
      );
    }
    return warnings;
  }

  async #stop(): Promise<void> {
    this.#state = "stopped";
    this.#uplink.hold(0);
    this.#transceivers.flush();
    this.#control.close();
    await this.#sockets?.close();
  }

  setKeys(keys: KeyRing): void {
    this.#keys = keys;
  }

  addTransceiver(entry: TransceiverEntry): Slot {
    return this.#transceivers.add(entry);
  }

  retireTransceiver(slot: Slot): void {
    this.#transceivers.retire(slot);
  }

  takeControl(max: number): readonly ControlRecord[] {
    return this.#control.take(max);
  }

  /** There is no queue back: the miss is looked up at once. */
  offer(record: ControlRecord): boolean {
    if (this.#state !== "running" || record.kind !== CONTROL_KIND.miss) return false;
    this.#uplink.reoffer(record);
    return true;
  }

  hold(mostMs: number): void {
    if (this.#state !== "stopped") this.#uplink.hold(mostMs);
  }

  /** At once, as with offer. */
  settle(_worker: number, path: Buffer, verdict: HoldVerdict): boolean {
    if (this.#state !== "running") return false;
    this.#uplink.settle(path, verdict);
    return true;
  }

  admit(path: Buffer, slot: Slot, ufrag: string): AdmitResult {
    return this.#flows.admit(path, slot, ufrag);
  }

  restore(path: Buffer, slot: Slot, ufrags: readonly string[]): RestoreResult {
    return this.#flows.restore(path, slot, ufrags);
  }

  promote(path: Buffer, slot: Slot, ufrag: string): boolean {
    return this.#flows.promote(path, slot, ufrag);
  }

  end(path: Buffer, slot: Slot, ufrag: string): boolean {
    return this.#flows.end(path, slot, ufrag);
  }

  expire(): number {
    return this.#flows.expire();
  }

  flow(path: Buffer): FlowInfo | undefined {
    return this.#flows.info(path);
  }

  flowCounts(): FlowCounts {
    return this.#flows.counts();
  }

  counters(): readonly Float64Array[] {
    return [this.#counters.slice()];
  }

  receiveBufferBytes(): { readonly public: number; readonly trunk: number } {
    return this.#granted;
  }

  /** Node's dgram does not tell. */
  kernelDrops(): undefined {
    return undefined;
  }
}

function requireOne(count: number, what: "worker" | "lane"): void {
  if (count === 1) return;
  const message = `expected 1 ${what}, got ${count}: the js engine has one, the native engine has more`;
  throw new EarshotError("ENGINE_WORKERS", message);
}
