/** Serves the page: the files of src/page, as they are. */
import { fileURLToPath } from "node:url";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance } from "fastify";
import { packageRoot } from "../package-root.ts";
import { refuseOtherMethods } from "./methods.ts";

/** The page loads nothing from elsewhere, runs no inline code and may be framed by nobody. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

export async function registerPageRoutes(app: FastifyInstance): Promise<void> {
  await app.register(fastifyStatic, {
    root: fileURLToPath(new URL("src/page/", packageRoot)),
    // One route for each file there is now: nothing else can be asked of the file system.
    wildcard: false,
    cacheControl: false,
    setHeaders: (reply) => {
      reply.header("cache-control", "no-cache");
      reply.header("content-security-policy", CONTENT_SECURITY_POLICY);
      reply.header("permissions-policy", "microphone=(self), camera=(), geolocation=()");
    },
  });
  refuseOtherMethods(app, "/", ["GET", "HEAD"]);
}
