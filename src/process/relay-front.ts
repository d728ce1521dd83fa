/**
 * The front's view of the relay, and its keeper: what must outlive a working process is here, and what works is a child.
 * The relay itself never sees the front's HTTP.
 */
import type { Logger } from "pino";
import type { AddressPort } from "../config/address-port.ts";
import { expandListen } from "../config/ingresses.ts";
import type { Config } from "../config/schema.ts";
import { EarshotError } from "../earshot-error.ts";
import type { Ingress } from "../engine/engine.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { DnsTemplate } from "../relay/dns-source.ts";
import { tellKeys } from "./child-keys.ts";
import { ControlSocket } from "./control-socket.ts";
import { waitUntilDrained } from "./drain.ts";
import { childEntry } from "./entry.ts";
import { agreeOnHandOver, type HandOver, type RelayAbout } from "./hand-over.ts";
import { Kept } from "./kept.ts";
import type { ErrorMessage, RelayCalls, RelayEvents, RelayInit, RelayReady } from "./messages.ts";
import { SupervisedChild } from "./supervised-child.ts";
import { healthReason, OPERATIONS_TIMEOUT_MS } from "./transceiver-front.ts";

/**
 * Working processes that die before they serve, one after the other. It may be the table that kills them, so the next one
 * begins with an empty one: its flows come back by the further rungs of recovery.
 */
const FAILURES_UNTIL_FRESH = 3;

/** Without a client's datagram for so long, the traffic has moved: voice comes every 20 ms, checks at least every 6 s. */
const MOVED_MS = 7_000;

export interface RelayFrontOptions {
  readonly config: Config<"start"> | Config<"relay">;
  /** The keys of now. */
  readonly keys: () => KeyRing;
  readonly logger: Logger;
  readonly onReady: () => void;
}

export class RelayFront {
  readonly child: SupervisedChild<RelayReady, RelayCalls, RelayEvents>;
  /** Gives the child the keys of now. */
  readonly tellKeys: () => void;
  readonly #options: RelayFrontOptions;
  readonly #listen: readonly Ingress[];
  /** Absent with the js engine: it forwards on sockets and flows of its own, which end with its process. */
  #kept: Kept | undefined;
  #controlSocket: ControlSocket | undefined;
  #ingresses: readonly Ingress[] | undefined;
  /** Whether the relay that serves has its flows in memory that it was offered at its start. */
  #imported = false;
  #failures = 0;
  #draining = false;

  constructor(options: RelayFrontOptions) {
    this.#options = options;
    const { config, keys, logger, onReady } = options;
    this.#listen = expandListen(config.listen, config.ingressId);
    this.child = new SupervisedChild({
      name: "relay",
      entry: childEntry("relay"),
      logger,
      standby: true,
      descriptors: () => this.#kept?.descriptors ?? [],
      init: (handOver) => this.#init(handOver as HandOver | undefined),
      exchange: {
        begin: () => this.#kept?.offerNext() ?? [],
        agree: (old, candidate) =>
          this.#kept && agreeOnHandOver(old as RelayAbout | undefined, candidate as RelayAbout | undefined),
        end: (isUpgraded) => this.#kept?.settleNext(isUpgraded && this.#imported),
      },
      onReady: (ready) => {
        this.#ingresses = ready.ingresses;
        this.#imported = ready.imported;
        this.#failures = 0;
        this.tellKeys();
        onReady();
      },
      onFailed: (failure) => this.#failed(failure),
    });
    this.tellKeys = () => tellKeys(this.child, keys(), logger);
  }

  /** Throws an `EarshotError` (EADDRINUSE and the like), and leaves nothing open. */
  async start(): Promise<RelayReady> {
    const { config, logger } = this.#options;
    if (config.controlSocket !== undefined) {
      this.#controlSocket = await ControlSocket.open(config.controlSocket, () => this.upgrade());
    }
    if (config.engine === "native") {
      try {
        this.#kept = new Kept({
          ingresses: this.#listen,
          trunk: config.trunk,
          lanes: config.lanes,
          receiveBufferBytes: config.receiveBuffer,
        });
        for (const warning of this.#kept.warnings) logger.warn(warning);
      } catch (error) {
        // The working process finds the same, says so, and goes on with the js engine.
        if (!(error instanceof EarshotError) || error.code !== "ADDON_UNAVAILABLE") throw error;
      }
    }
    return this.child.start();
  }

  /** Not ready from now on, but forwarding: resolves when the traffic has moved elsewhere, or has had its time. */
  async drain(seconds: number): Promise<void> {
    this.#draining = true;
    let before = -1;
    let changedMs = performance.now();
    const left = async () => {
      const { flows, forwarded } = await this.child.ask("traffic", undefined, OPERATIONS_TIMEOUT_MS);
      const now = performance.now();
      if (forwarded !== before) changedMs = now;
      before = forwarded;
      return flows === 0 || now - changedMs >= MOVED_MS ? undefined : `${flows} flows`;
    };
    await waitUntilDrained({ left, seconds, logger: this.#options.logger });
  }

  async stop(): Promise<void> {
    await this.child.stop();
    this.#controlSocket?.close();
    this.#controlSocket = undefined;
    this.#kept?.close();
    this.#kept = undefined;
  }

  /** Empty until the relay was ready once. */
  get ingresses(): readonly Ingress[] {
    return this.#ingresses ?? [];
  }

  /** Exchanges the working process for one of the code on disk; resolves with its id. Logs, and rejects with UPGRADE_FAILED. */
  async upgrade(): Promise<number | undefined> {
    const { logger } = this.#options;
    const began = performance.now();
    logger.info({ pid: this.child.pid }, "upgrading the relay");
    try {
      await this.child.upgrade(async () => (await this.notReadyReason()) === undefined);
    } catch (error) {
      logger.error({ err: error, pid: this.child.pid }, "the relay was not upgraded");
      throw error;
    }
    logger.info({ pid: this.child.pid, ms: Math.round(performance.now() - began) }, "the relay has been upgraded");
    return this.child.pid;
  }

  setDirectory(entries: readonly (AddressPort & { readonly id: number })[]): Promise<undefined> {
    return this.child.ask("setDirectory", entries);
  }

  metrics(): Promise<string> {
    return this.child.ask("metrics", undefined, OPERATIONS_TIMEOUT_MS);
  }

  /** Undefined while all is well. */
  async notReadyReason(): Promise<string | undefined> {
    if (this.#draining) return "the relay is draining";
    return healthReason(this.child.ask("health", undefined, OPERATIONS_TIMEOUT_MS));
  }

  #init(handOver: HandOver | undefined): RelayInit {
    const { config, keys } = this.#options;
    const kept = this.#kept;
    return {
      logLevel: config.logLevel,
      fleetKeys: keys().fleetKeys,
      cluster: config.cluster,
      trunk: config.trunk,
      // Without kept sockets the very ports of before, chosen by the kernel or not: clients keep sending there.
      listen: this.#kept?.ingresses ?? this.#ingresses ?? this.#listen,
      engine: config.engine,
      lanes: config.lanes,
      workers: config.workers,
      cpus: config.cpus,
      gatherUs: config.gatherUs,
      flowCapacity: config.flowCapacity,
      newFlowRates: { total: config.newFlows, perPrefix: config.newFlowsPerPrefix },
      receiveBufferBytes: config.receiveBuffer,
      ...(config.redis !== undefined && {
        redis: { url: config.redis, prefix: config.redisPrefix, holdMs: config.redisHoldMs },
      }),
      // Under "earshot start" the directory is the transceivers of this very program.
      ...("directoryNetworks" in config && { directoryNetworks: config.directoryNetworks, ...dnsOf(config) }),
      ...(kept !== undefined && {
        kept: {
          ...kept.places,
          ...kept.identity,
          ...(handOver !== undefined && { next: { memory: kept.placeOfNext, key: handOver.key } }),
        },
      }),
    };
  }

  #failed(failure: ErrorMessage | undefined): void {
    this.#failures++;
    const isForeign = failure?.code === "KEPT_FOREIGN";
    if (this.#kept === undefined || (!isForeign && this.#failures < FAILURES_UNTIL_FRESH)) return;
    this.#failures = 0;
    const why = isForeign ? "another version has made it" : `${FAILURES_UNTIL_FRESH} processes could not begin with it`;
    this.#options.logger.error(`the flow table is not taken over, because ${why}: the relay goes on with an empty one`);
    this.#kept.renewMemory();
    this.child.replaceStandby();
  }
}

function dnsOf({ directoryDns, directoryDnsIds }: Config<"relay">): { directoryDns?: DnsTemplate } {
  return directoryDns === undefined ? {} : { directoryDns: { ...directoryDns, ...directoryDnsIds } };
}
