/**
 * `earshot relay`: a keeper with a small HTTP server for metrics and health, and the relay in a process of its own, with
 * its transceivers from the configuration file. No page and no signalling.
 */
import type { FastifyInstance } from "fastify";
import { loadConfig, type Sources } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { KeySource } from "../process/key-source.ts";
import { createLogger } from "../process/logger.ts";
import { RelayFront } from "../process/relay-front.ts";
import { runUntilSignal } from "../process/run.ts";
import { FrontMetrics } from "../signalling/front-metrics.ts";
import { listen } from "../signalling/listen.ts";
import { buildServer } from "../signalling/server.ts";
import { relayBanner } from "./banner.ts";

/** `sources`: where `config` is from, and where SIGHUP has the directory read again. */
export async function relay(config: Config<"relay">, sources: Sources): Promise<void> {
  const logger = createLogger(config.logLevel, "front");
  // The command line has made sure that there is one.
  const keys = await KeySource.open({ file: config.keys ?? "", logger });
  let { directory } = config;
  const tellDirectory = () => {
    relay
      .setDirectory(directory)
      .catch((error) => logger.error({ err: error }, "the relay was not told of its transceivers"));
  };
  const relay = new RelayFront({ config, keys: () => keys.ring, logger, onReady: tellDirectory });
  /** Everything else in the file holds until the service is started again. */
  const readDirectory = () => {
    try {
      ({ directory } = loadConfig("relay", sources));
    } catch (error) {
      logger.error({ err: error }, "the directory was not read again, and stays as it was");
      return;
    }
    logger.info({ transceivers: directory.length }, "directory read again");
    tellDirectory();
  };
  let app: FastifyInstance | undefined;
  await runUntilSignal({
    async start() {
      keys.watch(() => relay.tellKeys());
      process.on("SIGHUP", readDirectory);
      const { ingresses, engineKind, workers } = await relay.start();
      const metrics = new FrontMetrics({ children: [relay.child], others: [() => relay.metrics()], keys });
      app = await buildServer({
        logger,
        counters: metrics,
        operations: {
          metrics: () => metrics.text(),
          notReadyReasons: async () => {
            const reason = await relay.notReadyReason();
            return reason === undefined ? [] : [reason];
          },
        },
      });
      const http = await listen(app, config.http);
      process.stdout.write(relayBanner({ http, engineKind, workers, ingresses, transceivers: config.directory }));
    },
    upgrade: () => relay.upgrade(),
    drain: () => relay.drain(config.drainSeconds),
    async stop() {
      keys.stop();
      process.off("SIGHUP", readDirectory);
      await Promise.all([app?.close(), relay.stop()]);
    },
  });
}
