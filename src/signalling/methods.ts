/** Answers 405 with Allow where a path exists and the method does not. */
import type { FastifyInstance } from "fastify";
import { errorBody } from "./errors.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;

/** With CORS, OPTIONS belongs to it and has to be among `allowed`. */
export function refuseOtherMethods(
  app: FastifyInstance,
  url: string,
  allowed: readonly (typeof METHODS)[number][],
): void {
  const allow = allowed.join(", ");
  app.route({
    method: METHODS.filter((method) => !allowed.includes(method)),
    url,
    // Before the body is read, so that its type and size do not matter.
    onRequest: async (_request, reply) =>
      reply
        .code(405)
        .header("allow", allow)
        .send(errorBody("METHOD_NOT_ALLOWED", `expected ${allow}`)),
    handler: async () => undefined,
  });
}
