/** What operators and their tools ask: metrics, liveness, readiness. */
import type { FastifyInstance } from "fastify";
import { refuseOtherMethods } from "./methods.ts";

export interface Operations {
  /** All metrics as Prometheus text. */
  metrics(): Promise<string>;
  /** Why no call could be made now; none if one could. */
  notReadyReasons(): Promise<readonly string[]>;
}

const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export function registerOperationRoutes(app: FastifyInstance, operations: Operations): void {
  app.addHook("onSend", async (_request, reply) => {
    reply.header("cache-control", "no-store");
  });
  app.get("/metrics", async (_request, reply) => reply.type(METRICS_TYPE).send(await operations.metrics()));
  app.get("/healthz", async () => ({ status: "ok" }));
  app.get("/readyz", async (_request, reply) => {
    const reasons = await operations.notReadyReasons();
    return reply.code(reasons.length === 0 ? 200 : 503).send({ ready: reasons.length === 0, reasons });
  });
  for (const url of ["/metrics", "/healthz", "/readyz"]) refuseOtherMethods(app, url, ["GET", "HEAD"]);
}
