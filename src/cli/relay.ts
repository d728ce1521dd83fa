/**
 * `earshot relay`: the relay itself in this process, its transceivers from the configuration file, and a small HTTP
 * server for metrics and health. No page and no signalling: their load is not to reach the relay's control plane.
 */
import type { FastifyInstance } from "fastify";
import { expandListen } from "../config/ingresses.ts";
import type { Config } from "../config/schema.ts";
import { KeySource } from "../process/key-source.ts";
import { createLogger } from "../process/logger.ts";
import { runUntilSignal } from "../process/run.ts";
import { Relay } from "../relay/relay.ts";
import { FrontMetrics } from "../signalling/front-metrics.ts";
import { listen } from "../signalling/listen.ts";
import { buildServer } from "../signalling/server.ts";
import { relayBanner } from "./banner.ts";

export async function relay(config: Config<"relay">): Promise<void> {
  const logger = createLogger(config.logLevel, "relay");
  // The command line has made sure that there is one.
  const keys = await KeySource.open({ file: config.keys ?? "", logger });
  const relay = new Relay({
    listen: expandListen(config.listen, config.ingressId),
    trunk: config.trunk,
    lanes: config.lanes,
    workers: config.workers,
    cpus: config.cpus,
    engine: config.engine,
    keys: keys.ring,
    cluster: config.cluster,
    flowCapacity: config.flowCapacity,
    newFlowRates: { total: config.newFlows, perPrefix: config.newFlowsPerPrefix },
    receiveBufferBytes: config.receiveBuffer,
    logger,
  });
  let app: FastifyInstance | undefined;
  await runUntilSignal({
    async start() {
      keys.watch((ring) => relay.setKeys(ring));
      await relay.start();
      relay.setDirectory(config.directory);
      const metrics = new FrontMetrics({ children: [], others: [() => relay.registry.metrics()], keys });
      app = await buildServer({
        logger,
        requests: metrics.requests,
        operations: {
          metrics: () => metrics.text(),
          notReadyReasons: async () => (relay.ready() ? [] : ["the relay does not forward, or no transceiver is live"]),
        },
      });
      const http = await listen(app, config.http);
      const { ingresses, engineKind, workers } = relay;
      process.stdout.write(relayBanner({ http, engineKind, workers, ingresses, transceivers: config.directory }));
    },
    async stop() {
      keys.stop();
      await Promise.all([app?.close(), relay.stop()]);
    },
  });
}
