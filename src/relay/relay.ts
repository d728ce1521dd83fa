/**
 * The relay: an engine that forwards, and the control plane that decides what it may forward. It terminates nothing, holds
 * no media keys, and never answers a client.
 */
import { randomInt } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { addressFamily } from "../config/address-port.ts";
import { EarshotError } from "../earshot-error.ts";
import { WORKER_COUNTER } from "../engine/counters.ts";
import {
  CONTROL_KIND,
  type ControlRecord,
  type Engine,
  type EngineOptions,
  type Ingress,
  type LaneDescriptors,
  type Slot,
  type TakenOver,
} from "../engine/engine.ts";
import { JsEngine } from "../engine/js/js-engine.ts";
import { NativeEngine } from "../engine/native/native-engine.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { FlowStore } from "../redis/flow-store.ts";
import { HeartbeatReader } from "../redis/heartbeats.ts";
import { HOLD_MS } from "../redis/limits.ts";
import { RedisLink } from "../redis/redis-link.ts";
import { addRedisMetrics, type RedisParts } from "../redis/redis-metrics.ts";
import { type AdmissionOptions, admitMiss } from "./admission.ts";
import { Budgets } from "./budgets.ts";
import { ControlCounters } from "./control-counters.ts";
import { ControlPort } from "./control-port.ts";
import { quotaWarning } from "./cpu-quota.ts";
import { Directory, type DirectoryEntry } from "./directory.ts";
import { DirectorySources, isInNetworks, networkOf } from "./directory-sources.ts";
import { DnsSource, type DnsTemplate } from "./dns-source.ts";
import { type RelayIdentity, relayIdentity } from "./identity.ts";
import { KeyedHash } from "./keyed-hash.ts";
import {
  budgetsFor,
  DRAIN_MS,
  DRAIN_RECORDS,
  EXPIRE_MS,
  IN_USE_MS,
  LET_GO_RECORDS,
  NEW_FLOW_RATES,
  type NewFlowRates,
  PATHS_PER_FLOW,
  PATHS_PER_UFRAG,
  TENTATIVE_SHARE,
} from "./limits.ts";
import { Recall } from "./recall.ts";
import { relayRegistry } from "./relay-metrics.ts";
import { TrunkEnds } from "./trunk-ends.ts";
import { type UfragOwner, UfragPaths } from "./ufrag-paths.ts";

export interface RelayOptions {
  readonly listen: readonly Ingress[];
  /** The control plane binds this port, lane l the one l above; 0 lets the kernel choose them all. */
  readonly trunk: { readonly address: string; readonly port: number };
  readonly engine: "native" | "js";
  /** Sets of sockets, at least as many as workers. The js engine has one of either, whatever is asked. */
  readonly lanes: number;
  readonly workers: number;
  /** CPU number for each worker, or none to leave them unpinned. */
  readonly cpus: readonly number[];
  /** How long a busy worker gathers packets for shared trunk datagrams, us; 0 = never. */
  readonly gatherUs: number;
  readonly keys: KeyRing;
  readonly cluster: number;
  /** Flows that the table holds. */
  readonly flowCapacity: number;
  /** What is above is refused and counted, but for tokens with an assured path. */
  readonly newFlowRates?: NewFlowRates;
  readonly receiveBufferBytes: number;
  /** Where flows are kept for other relays, and for this one's next start. */
  readonly redis?: RedisSettings | undefined;
  /** Where transceivers may be, in CIDR notation; anywhere if absent. */
  readonly directoryNetworks?: readonly string[] | undefined;
  /** Transceivers by name. */
  readonly directoryDns?: DnsTemplate | undefined;
  readonly logger: Logger;
  /** What a keeper has for this relay and for those before and after it: who it is, its sockets, its flow table. */
  readonly kept?: RelayIdentity & {
    readonly memory: number;
    readonly records: number;
    readonly lanes: readonly LaneDescriptors[];
    /** For what another version has handed over. */
    readonly next?: { readonly memory: number; readonly key: Buffer };
  };
}

export interface RelayTraffic {
  /** Assured ones. */
  readonly flows: number;
  /** Client datagrams, since the start. */
  readonly forwarded: number;
}

export interface RedisSettings {
  /** One of the forms in src/redis/redis-url.ts. */
  readonly url: string;
  /** Before every key. */
  readonly prefix: string;
  /** For so long after the start, at most, workers hold what they cannot place while Redis is asked for it, ms; 0 = never. */
  readonly holdMs?: number;
}

type RedisCommon = Pick<AdmissionOptions, "keys" | "isTrunkEnd">;

export class Relay {
  readonly registry: Registry;
  readonly #logger: Logger;
  readonly #engine: Engine;
  readonly #counters = new ControlCounters();
  readonly #controlPort: ControlPort;
  readonly #directory: Directory;
  readonly #trunkEnds = new TrunkEnds();
  readonly #hash = new KeyedHash();
  readonly #paths: UfragPaths;
  readonly #admission: AdmissionOptions;
  readonly #recall: Recall;
  readonly #trunkAddress: string;
  readonly #redis: RedisParts | undefined;
  readonly #options: RelayOptions;
  readonly #sources: DirectorySources;
  #heartbeats: HeartbeatReader | undefined;
  #dns: DnsSource | undefined;
  #keys: KeyRing;
  #timer: NodeJS.Timeout | undefined;
  #drainAgain: NodeJS.Immediate | undefined;
  #running = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#trunkAddress = options.trunk.address;
    this.#keys = options.keys;
    const keys = (): KeyRing => this.#keys;
    const { relayId, epoch } = options.kept ?? relayIdentity(randomInt(1, 2 ** 24), Date.now());
    this.#engine = makeEngine(options, { relayId, epoch });
    this.#engine.setKeys(options.keys);
    this.#directory = new Directory({
      engine: this.#engine,
      ping: (id, to, nonce) => this.#controlPort.ping(id, to, nonce),
      now: () => performance.now(),
      logger: options.logger,
    });
    const networks = options.directoryNetworks?.map((cidr) => networkOf(cidr)!);
    this.#sources = new DirectorySources({
      isAllowed: (address) =>
        addressFamily(address) === addressFamily(options.trunk.address) &&
        (networks === undefined || isInNetworks(address, networks)),
      answers: (id) => this.#directory.answers(id),
      apply: (entries) => {
        this.#trunkEnds.setTransceivers(entries);
        this.#directory.set(entries);
      },
      logger: options.logger,
    });
    this.#controlPort = new ControlPort({
      trunk: options.trunk,
      cluster: options.cluster,
      relayId,
      epoch,
      keys,
      knows: (id) => this.#directory.knows(id),
      onPong: (pong) => this.#directory.heard(pong),
      onAssert: (id, sender, path, ufrag) => this.#recall.asserted(path, this.#directory.slotOf(id, sender), ufrag),
      onFlowEnd: (id, sender, path, ufrag) => this.#end(path, this.#directory.slotOf(id, sender), ufrag),
      onDownlink: (id, sender, path) => this.#recall.unknown(path, this.#directory.slotOf(id, sender)),
    });
    this.#paths = new UfragPaths({
      engine: this.#engine,
      capacity: Math.ceil(options.flowCapacity * PATHS_PER_FLOW),
      most: PATHS_PER_UFRAG,
      inUseMs: IN_USE_MS,
      onEvicted: () => this.#counters.add("path_evicted"),
    });
    const common = {
      engine: this.#engine,
      cluster: options.cluster,
      keys,
      isTrunkEnd: (path: Buffer) => this.#trunkEnds.has(path),
      findTransceiver: (id: number, epochLow16: number) => this.#directory.find(id, epochLow16),
      now: Date.now,
      monotonicMs: () => performance.now(),
      hash: this.#hash,
      paths: {
        add: (owner: UfragOwner, path: Buffer) => {
          this.#paths.add(owner, path);
          this.#redis?.flows.admitted(path, owner.slot, owner.ufrag);
        },
        hasAssured: (owner: UfragOwner) => this.#paths.hasAssured(owner),
      },
    };
    this.#admission = {
      ...common,
      budgets: new Budgets(budgetsFor(options.newFlowRates ?? NEW_FLOW_RATES), this.#hash),
    };
    this.#recall = new Recall({
      ...common,
      ask: (slot, path) => this.#ask(slot, path),
      count: (name) => this.#counters.add(name),
    });
    this.registry = relayRegistry({
      engine: this.#engine,
      counters: this.#counters,
      keys,
      transceivers: () => this.#directory.counts(),
    });
    if (options.redis !== undefined) {
      this.#redis = this.#useRedis(options.redis, options, common);
      addRedisMetrics(this.registry, this.#redis);
    }
  }

  get engineKind(): "native" | "js" {
    return this.#engine.kind;
  }
  /** As bound, with the ports that the kernel chose. */
  get ingresses(): readonly Ingress[] {
    return this.#engine.ingresses;
  }
  get workers(): number {
    return this.#engine.workers;
  }
  /** Whether its flows have come from another version, as records. */
  get imported(): boolean {
    return this.#engine.takenOver?.imported === true;
  }

  /** Throws an `EarshotError` (EADDRINUSE and the like), and leaves nothing open. */
  async start(): Promise<void> {
    await this.#controlPort.open();
    // Any start, also one with a table that was taken over: other relays' flows may have come since.
    this.#redis?.flows.hold(this.#options.redis?.holdMs ?? HOLD_MS);
    try {
      await this.#engine.start(() => this.#drain());
    } catch (error) {
      await this.#controlPort.close();
      throw error;
    }
    this.#trunkEnds.setRelay(this.#trunkAddress, [this.#controlPort.port, ...this.#engine.trunkPorts]);
    for (const warning of this.#engine.warnings) this.#logger.warn(warning);
    const quota = quotaWarning(this.#engine.workers);
    if (quota !== undefined) this.#logger.warn(quota);
    this.#goOn(this.#engine.takenOver);
    this.#timer = setInterval(() => {
      this.#engine.expire();
      this.#paths.sweep();
      this.#directory.tick();
      this.#sources.tick(performance.now());
      this.#redis?.flows.tick();
    }, EXPIRE_MS);
    this.#followSources();
    this.#running = true;
  }

  /** With what the process before has left: its flows are forwarded already, and its transceivers are known. */
  #goOn(takenOver: TakenOver | undefined): void {
    if (takenOver === undefined) return;
    const { transceivers, flows, tornFlows, tornTransceivers, imported } = takenOver;
    this.#directory.adopt(transceivers);
    this.#sources.adopt(transceivers, performance.now());
    const torn = tornFlows + tornTransceivers;
    const level = torn === 0 ? "info" : "error";
    this.#logger[level](
      { flows, transceivers: transceivers.length, tornFlows, tornTransceivers, imported },
      "flow table taken over",
    );
  }

  async stop(): Promise<void> {
    if (!this.#running) return;
    await this.#stopForwarding();
    await this.#closeRedis();
  }

  /**
   * For a successor that waits for the sockets and the flow table: they are free when this resolves. What workers have handed over
   * is decided first, so that no request is lost; Redis takes its time afterwards. With `handOver` the flows are left as records
   * for a successor of another version; resolves with the error if they cannot be.
   */
  async letGo(handOver?: { readonly key: Buffer }): Promise<EarshotError | undefined> {
    if (!this.#running) return undefined;
    for (let taken = 0; taken < LET_GO_RECORDS; ) {
      const records = this.#engine.takeControl(DRAIN_RECORDS);
      if (records.length === 0) break;
      for (const record of records) this.#decide(record);
      taken += records.length;
    }
    const whyNot = await this.#stopForwarding(handOver);
    this.#closeRedis().catch((error) => this.#logger.warn({ err: error }, "Redis was not closed"));
    return whyNot;
  }

  async #stopForwarding(handOver?: { readonly key: Buffer }): Promise<EarshotError | undefined> {
    this.#running = false;
    clearInterval(this.#timer);
    clearImmediate(this.#drainAgain);
    const whyNot = handOver === undefined ? undefined : await this.#handOver(handOver.key);
    await this.#engine.stop();
    await this.#controlPort.close();
    this.#dns?.stop();
    return whyNot;
  }

  async #handOver(key: Buffer): Promise<EarshotError | undefined> {
    try {
      const { flows, torn } = await this.#engine.handOver(key);
      this.#logger[torn === 0 ? "info" : "error"]({ flows, torn }, "flow table handed over");
      return undefined;
    } catch (error) {
      if (error instanceof EarshotError) return error;
      throw error;
    }
  }

  async #closeRedis(): Promise<void> {
    await this.#heartbeats?.stop();
    await this.#redis?.flows.stop();
    await this.#redis?.link.close();
  }

  /** From the next datagram on, of either direction. Flows stay, also those whose token was made with a key that is gone. */
  setKeys(keys: KeyRing): void {
    this.#keys = keys;
    this.#engine.setKeys(keys);
  }

  /** Replaces the list of transceivers. The relay must have been started. */
  setDirectory(entries: readonly DirectoryEntry[]): void {
    this.#sources.set("static", entries, performance.now());
  }

  /** Whether it forwards and knows a transceiver that takes new sessions. */
  ready(): boolean {
    return this.#running && this.#directory.counts().live > 0;
  }

  /** What it forwards. */
  traffic(): RelayTraffic {
    const { flows, tentative } = this.#engine.flowCounts();
    const forwarded = this.#engine.counters().reduce((sum, values) => sum + values[WORKER_COUNTER.up_forwarded]!, 0);
    return { flows: flows - tentative, forwarded };
  }

  /** Takes what the workers could not place, for a bounded time; what is left waits for the next turn of the loop. */
  #drain(): void {
    this.#drainAgain = undefined;
    const end = performance.now() + DRAIN_MS;
    for (;;) {
      const records = this.#engine.takeControl(DRAIN_RECORDS);
      if (records.length === 0) return; // until then the engine does not ring again
      for (const record of records) this.#decide(record);
      if (performance.now() >= end) break;
    }
    this.#drainAgain ??= setImmediate(() => this.#drain());
  }

  #decide(record: ControlRecord): void {
    switch (record.kind) {
      case CONTROL_KIND.miss: {
        this.#counters.add("miss_received");
        this.#counters.add(admitMiss(record, this.#admission) ?? "miss_offered");
        return;
      }
      case CONTROL_KIND.promote: {
        const ufrag = record.payload.toString("latin1");
        if (this.#engine.promote(record.path, record.slot, ufrag)) {
          this.#redis?.flows.promoted(record.path, record.slot, ufrag);
        }
        return;
      }
      case CONTROL_KIND.flowEnd:
        this.#end(record.path, record.slot, record.payload.toString("latin1"));
        return;
      case CONTROL_KIND.unknownPath:
        this.#recall.unknown(record.path, record.slot);
        return;
      case CONTROL_KIND.heldPath:
        this.#redis?.flows.lookups.ask(record.path, record.worker);
        return;
      case CONTROL_KIND.assert:
        this.#recall.asserted(record.path, record.slot, record.payload.toString("latin1"));
        return;
    }
  }

  /** Whom DNS and Redis name, from now on. */
  #followSources(): void {
    const { directoryDns, cluster, trunk } = this.#options;
    if (this.#redis !== undefined) {
      const { link, flows } = this.#redis;
      link.open();
      flows.start();
      this.#heartbeats = new HeartbeatReader({
        link,
        cluster,
        keys: () => this.#keys,
        onPlaces: (places) => this.#sources.set("redis", places, performance.now()),
      });
    }
    if (directoryDns === undefined) return;
    this.#dns = new DnsSource(directoryDns, addressFamily(trunk.address), (entries) =>
      this.#sources.set("dns", entries, performance.now()),
    );
  }

  #end(path: Buffer, slot: Slot | undefined, ufrag: string): void {
    if (slot === undefined) return;
    this.#engine.end(path, slot, ufrag);
    this.#paths.remove(this.#hash.ofUfrag(ufrag), path);
    this.#redis?.flows.ended(path, slot, ufrag);
  }

  #useRedis(redis: RedisSettings, { cluster, flowCapacity, logger }: RelayOptions, common: RedisCommon): RedisParts {
    const link = new RedisLink({ ...redis, cluster, logger });
    const flows = new FlowStore({
      link,
      engine: this.#engine,
      cluster,
      flowCapacity,
      keys: common.keys,
      isTrunkEnd: common.isTrunkEnd,
      slotOf: (id, epoch) => this.#directory.liveSlotOf(id, epoch),
      endOf: (slot) => this.#directory.endOf(slot),
      hasTransceivers: () => this.#directory.counts().live > 0,
      onRestored: (path, slot, ufrag) => this.#paths.add({ ufrag, hash: this.#hash.ofUfrag(ufrag), slot }, path),
      logger,
    });
    return { link, flows };
  }

  #ask(slot: Slot, path: Buffer): boolean {
    const to = this.#directory.endOf(slot);
    if (to === undefined) return false;
    this.#controlPort.askAbout(path, to);
    return true;
  }
}

function keptParts({ memory, records, lanes, next }: NonNullable<RelayOptions["kept"]>): Partial<EngineOptions> {
  return { memory, adopted: lanes, handOver: { records, ...(next !== undefined && { into: next }) } };
}

function makeEngine(options: RelayOptions, identity: { relayId: number; epoch: bigint }): Engine {
  const engineOptions: EngineOptions = {
    ...identity,
    ingresses: options.listen,
    trunk: options.trunk,
    lanes: options.lanes,
    workers: options.workers,
    cpus: options.cpus,
    gatherUs: options.gatherUs,
    cluster: options.cluster,
    flowCapacity: options.flowCapacity,
    tentativeQuota: Math.max(1, Math.floor(options.flowCapacity * TENTATIVE_SHARE)),
    receiveBufferBytes: options.receiveBufferBytes,
    ...(options.kept !== undefined && keptParts(options.kept)),
  };
  if (options.engine === "native") {
    try {
      return new NativeEngine(engineOptions);
    } catch (error) {
      if (!(error instanceof EarshotError) || error.code !== "ADDON_UNAVAILABLE") throw error;
      options.logger.warn(`${error.message}; going on with the js engine, which forwards far fewer packets`);
    }
  }
  return new JsEngine({ ...engineOptions, lanes: 1, workers: 1 });
}
