/** `earshot transceiver`: a front process with page, signalling and metrics, and one transceiver process or more. */
import type { FastifyInstance } from "fastify";
import type { AddressPort } from "../config/address-port.ts";
import { backendSettings } from "../config/backend.ts";
import { hostAddresses, reachableByClients } from "../config/ingresses.ts";
import type { Config } from "../config/schema.ts";
import { KeySource } from "../process/key-source.ts";
import { createLogger } from "../process/logger.ts";
import { runUntilSignal } from "../process/run.ts";
import { TransceiverFront } from "../process/transceiver-front.ts";
import { FrontMetrics } from "../signalling/front-metrics.ts";
import { listen } from "../signalling/listen.ts";
import { buildServer } from "../signalling/server.ts";
import { transceiverBanner } from "./banner.ts";
import { openAuth, signallingOptions, warnIfOpen } from "./signalling.ts";

/** Where a relay listens unless told otherwise. */
const RELAY_PORT = 3478;

export async function transceiver(config: Config<"transceiver">): Promise<void> {
  const logger = createLogger(config.logLevel, "front");
  const advertise = config.advertise ?? relayOnThisHost();
  // The command line has made sure that there is one.
  const keys = await KeySource.open({ file: config.keys ?? "", logger });
  const auth = await openAuth(config, logger);
  const front = new TransceiverFront({
    settings: config,
    redis: config.redis === undefined ? undefined : { url: config.redis, prefix: config.redisPrefix },
    backend: backendSettings(config),
    keys: () => keys.ring,
    advertise: () => advertise,
    logger,
    onReady: () => {},
  });
  let app: FastifyInstance | undefined;
  await runUntilSignal({
    async start() {
      keys.watch(front.tellKeys);
      await front.start();
      const metrics = new FrontMetrics({
        children: front.children,
        others: [() => front.metrics()],
        calls: front.calls,
        keys,
      });
      app = await buildServer({
        logger,
        counters: metrics,
        operations: {
          metrics: () => metrics.text(),
          notReadyReasons: async () => [await front.notReadyReason()].filter((reason) => reason !== undefined),
        },
        calls: signallingOptions(config, front.calls, auth),
      });
      const http = await listen(app, config.http);
      warnIfOpen(http, auth, logger);
      process.stdout.write(transceiverBanner({ http, transceivers: front.directory, advertise }));
    },
    drain: () => front.drain(config.drainSeconds),
    async stop() {
      keys.stop();
      auth?.stop();
      await Promise.all([app?.close(), front.stop()]);
    },
  });
}

function relayOnThisHost(): readonly AddressPort[] {
  const addresses = [...hostAddresses(4), ...hostAddresses(6)];
  return reachableByClients(
    addresses.map((address) => ({ address, port: RELAY_PORT })),
    [],
  );
}
