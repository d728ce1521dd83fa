/** `earshot start`: a front process, one relay process and one transceiver process or more, wired to each other. */
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import type { AddressPort } from "../config/address-port.ts";
import { backendSettings } from "../config/backend.ts";
import { reachableByClients } from "../config/ingresses.ts";
import type { Config } from "../config/schema.ts";
import { randomKeyRing } from "../keys/key-file.ts";
import { KeySource } from "../process/key-source.ts";
import { createLogger } from "../process/logger.ts";
import { RelayFront } from "../process/relay-front.ts";
import { runUntilSignal, type Service } from "../process/run.ts";
import { TransceiverFront } from "../process/transceiver-front.ts";
import type { BearerAuth } from "../signalling/bearer-auth.ts";
import { FrontMetrics } from "../signalling/front-metrics.ts";
import { listen } from "../signalling/listen.ts";
import { buildServer } from "../signalling/server.ts";
import { startBanner } from "./banner.ts";
import { openAuth, signallingOptions, warnIfOpen } from "./signalling.ts";

export async function start(config: Config<"start">): Promise<void> {
  const logger = createLogger(config.logLevel, "front");
  const keys = config.keys === undefined ? undefined : await KeySource.open({ file: config.keys, logger });
  const auth = await openAuth(config, logger);
  await runUntilSignal(new StartService(config, logger, keys, auth));
}

class StartService implements Service {
  readonly #config: Config<"start">;
  readonly #logger: Logger;
  /** Absent where the key is a random one, in memory. */
  readonly #keys: KeySource | undefined;
  /** Absent where everybody may make calls. */
  readonly #auth: BearerAuth | undefined;
  readonly #relay: RelayFront;
  readonly #transceivers: TransceiverFront;
  #app: FastifyInstance | undefined;

  constructor(config: Config<"start">, logger: Logger, keySource: KeySource | undefined, auth: BearerAuth | undefined) {
    this.#config = config;
    this.#auth = auth;
    this.#logger = logger;
    this.#keys = keySource;
    const random = randomKeyRing();
    const keys = () => keySource?.ring ?? random;
    this.#relay = new RelayFront({ config, keys, logger, onReady: () => this.#introduce() });
    this.#transceivers = new TransceiverFront({
      // The trunk's ports are the relay's here; nobody needs to know those of the transceivers.
      settings: { ...config, trunk: { address: config.trunk.address, port: 0 } },
      backend: backendSettings(config),
      keys,
      advertise: () => this.#advertise(),
      logger,
      onReady: () => this.#introduce(),
    });
  }

  async start(): Promise<void> {
    const config = this.#config;
    this.#keys?.watch(() => {
      this.#relay.tellKeys();
      this.#transceivers.tellKeys();
    });
    const [{ engineKind, workers, ingresses }] = await Promise.all([this.#relay.start(), this.#transceivers.start()]);
    const metrics = new FrontMetrics({
      children: [this.#relay.child, ...this.#transceivers.children],
      others: [() => this.#relay.metrics(), () => this.#transceivers.metrics()],
      calls: this.#transceivers.calls,
      keys: this.#keys,
    });
    this.#app = await buildServer({
      logger: this.#logger,
      counters: metrics,
      operations: { metrics: () => metrics.text(), notReadyReasons: () => this.#notReadyReasons() },
      calls: signallingOptions(config, this.#transceivers.calls, this.#auth),
    });
    const http = await listen(this.#app, config.http);
    warnIfOpen(http, this.#auth, this.#logger);
    const advertise = this.#advertise();
    process.stdout.write(startBanner({ http, engineKind, workers, ingresses, advertise }));
  }

  upgrade(): Promise<unknown> {
    return this.#relay.upgrade();
  }

  async stop(): Promise<void> {
    this.#keys?.stop();
    this.#auth?.stop();
    await Promise.all([this.#app?.close(), this.#relay.stop(), this.#transceivers.stop()]);
  }

  /** Called each time that one of them is ready: a new process knows nothing, and has moved to new ports. */
  #introduce(): void {
    if (!this.#relay.child.up) return;
    const told = [this.#relay.setDirectory(this.#transceivers.directory), this.#transceivers.tellAdvertise()];
    Promise.all(told).catch((error) =>
      this.#logger.error({ err: error }, "relay and transceivers were not told of each other"),
    );
  }

  #advertise(): readonly AddressPort[] {
    return this.#config.advertise ?? reachableByClients(this.#relay.ingresses, this.#config.listen);
  }

  async #notReadyReasons(): Promise<string[]> {
    const reasons = await Promise.all([this.#relay.notReadyReason(), this.#transceivers.notReadyReason()]);
    return reasons.filter((reason) => reason !== undefined);
  }
}
