/**
 * The HTTP server of the front process: page, signalling, metrics and health. It never runs on the event loop of a
 * relay that forwards for others, and never logs an SDP or a Location.
 */
import cors, { type FastifyCorsOptions } from "@fastify/cors";
import { type FastifyBaseLogger, type FastifyInstance, fastify, LogController } from "fastify";
import { type CallRoutesOptions, registerCallRoutes } from "./call-routes.ts";
import { limitConnections } from "./connection-limit.ts";
import { handleClientError, handleError, handleNotFound } from "./errors.ts";
import type { FrontMetrics } from "./front-metrics.ts";
import { type Operations, registerOperationRoutes } from "./operation-routes.ts";
import { registerPageRoutes } from "./page-routes.ts";

export interface ServerOptions {
  readonly logger: FastifyBaseLogger;
  readonly operations: Operations;
  readonly counters: Pick<FrontMetrics, "requests" | "evictedConnections">;
  /** Without it there is neither signalling nor page. */
  readonly calls?: Pick<CallRoutesOptions, "service" | "authorize" | "links"> & {
    readonly corsOrigin: readonly string[];
  };
}

/** Conversations, in the shape of the Realtime API's calls. */
export const CALLS_ENDPOINT = "/v1/realtime/calls";
export const WHIP_ENDPOINT = "/whip";

/** A whole request: an offer is small, so a slow one is a stuck or a hostile one. */
const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 5_000;
/** How late either may be noticed; Node's own 30 s would let few connections keep all others out. */
const CHECKING_MS = 1_000;
/** Longer than browsers pause between two requests of a page, short enough to free idle sockets. */
const KEEP_ALIVE_TIMEOUT_MS = 5_000;
const MAX_HEADER_BYTES = 8192;
/** Each costs a file descriptor and some 30 KB; the calls themselves need no connection. */
const MAX_CONNECTIONS = 2000;
const PREFLIGHT_MAX_AGE_SECONDS = 600;

export async function buildServer({ logger, operations, counters, calls }: ServerOptions): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: true,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECKING_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    clientErrorHandler: handleClientError,
    frameworkErrors: (error, request, reply) => handleError(error, request, reply),
  });
  limitConnections(app.server, MAX_CONNECTIONS, () => counters.evictedConnections.inc());
  app.setErrorHandler(handleError);
  app.setNotFoundHandler(handleNotFound);
  app.addHook("onRequest", async (_request, reply) => {
    reply.headers({
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      "referrer-policy": "no-referrer",
    });
  });
  app.addHook("onResponse", async (request, reply) => {
    const route = request.is404 ? "none" : (request.routeOptions.url ?? "none");
    counters.requests.inc({ route, method: request.method, status: String(reply.statusCode) });
  });

  await app.register(async (scope) => registerOperationRoutes(scope, operations));
  if (calls !== undefined) {
    // CORS for signalling alone: metrics and health are no business of other people's pages.
    for (const [endpoint, ingest] of [
      [CALLS_ENDPOINT, false],
      [WHIP_ENDPOINT, true],
    ] as const) {
      await app.register(
        async (scope) => {
          if (calls.corsOrigin.length > 0) await scope.register(cors, corsOptions(calls.corsOrigin));
          registerCallRoutes(scope, { ...calls, endpoint, ingest });
        },
        { prefix: endpoint },
      );
    }
    await app.register(registerPageRoutes);
  }
  return app;
}

function corsOptions(origins: readonly string[]): FastifyCorsOptions {
  return {
    origin: origins.includes("*") ? "*" : [...origins],
    methods: ["POST", "GET", "PATCH", "DELETE"],
    allowedHeaders: ["authorization", "content-type", "if-match"],
    exposedHeaders: ["location", "etag", "link", "accept-patch", "retry-after", "www-authenticate"],
    maxAge: PREFLIGHT_MAX_AGE_SECONDS,
    // Without it an OPTIONS that is no preflight would be answered with a bare text.
    strictPreflight: false,
  };
}
