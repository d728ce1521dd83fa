/** The front's view of the relay process under `earshot start`. The relay itself never sees the front's HTTP. */
import type { Logger } from "pino";
import type { AddressPort } from "../config/address-port.ts";
import { expandListen } from "../config/ingresses.ts";
import type { Config } from "../config/schema.ts";
import type { Ingress } from "../engine/engine.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { tellKeys } from "./child-keys.ts";
import { childEntry } from "./entry.ts";
import type { RelayCalls, RelayEvents, RelayInit, RelayReady } from "./messages.ts";
import { SupervisedChild } from "./supervised-child.ts";
import { healthReason, OPERATIONS_TIMEOUT_MS } from "./transceiver-front.ts";

export interface RelayFrontOptions {
  readonly config: Config<"start">;
  /** The keys of now. */
  readonly keys: () => KeyRing;
  readonly logger: Logger;
  readonly onReady: () => void;
}

export class RelayFront {
  readonly child: SupervisedChild<RelayReady, RelayCalls, RelayEvents>;
  /** Gives the child the keys of now. */
  readonly tellKeys: () => void;
  #ingresses: readonly Ingress[] | undefined;

  constructor({ config, keys, logger, onReady }: RelayFrontOptions) {
    this.child = new SupervisedChild({
      name: "relay",
      entry: childEntry("relay"),
      logger,
      init: (): RelayInit => ({
        logLevel: config.logLevel,
        fleetKeys: keys().fleetKeys,
        cluster: config.cluster,
        trunk: config.trunk,
        // After a restart the very ports of before, chosen by the kernel or not: clients keep sending there.
        listen: this.#ingresses ?? expandListen(config.listen, config.ingressId),
        engine: config.engine,
        lanes: config.lanes,
        workers: config.workers,
        cpus: config.cpus,
        flowCapacity: config.flowCapacity,
        newFlowRates: { total: config.newFlows, perPrefix: config.newFlowsPerPrefix },
        receiveBufferBytes: config.receiveBuffer,
      }),
      onReady: (ready) => {
        this.#ingresses = ready.ingresses;
        this.tellKeys();
        onReady();
      },
    });
    this.tellKeys = () => tellKeys(this.child, keys(), logger);
  }

  /** Empty until the relay was ready once. */
  get ingresses(): readonly Ingress[] {
    return this.#ingresses ?? [];
  }

  setDirectory(entries: readonly (AddressPort & { readonly id: number })[]): Promise<undefined> {
    return this.child.ask("setDirectory", entries);
  }

  metrics(): Promise<string> {
    return this.child.ask("metrics", undefined, OPERATIONS_TIMEOUT_MS);
  }

  /** Undefined while all is well. */
  notReadyReason(): Promise<string | undefined> {
    return healthReason(this.child.ask("health", undefined, OPERATIONS_TIMEOUT_MS));
  }
}
