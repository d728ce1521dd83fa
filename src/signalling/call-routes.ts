/** Signalling: an SDP offer comes in, a call begins and its answer goes out; its Location ends it. Holds no state. */
import type { FastifyInstance } from "fastify";
import { EarshotError } from "../earshot-error.ts";
import { refuseOtherMethods } from "./methods.ts";
import { checkOffer } from "./offer.ts";

export interface CallService {
  /** Throws SDP_INVALID, SDP_UNSUPPORTED, OVERLOADED, CHILD_*. */
  create(offerSdp: string): Promise<{ readonly secret: string; readonly answerSdp: string }>;
  /** False if the secret is unknown. */
  end(secret: string): Promise<boolean>;
}

/** Where these routes are mounted. */
export const CALLS_PREFIX = "/v1/realtime";
/** Browsers offer 2 to 8 KiB. */
const MAX_OFFER_BYTES = 65536;

export function registerCallRoutes(app: FastifyInstance, calls: CallService, hasCors: boolean): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>(
    "application/sdp",
    { parseAs: "string", bodyLimit: MAX_OFFER_BYTES },
    (_, body, done) => done(null, body),
  );
  app.addHook("onSend", async (_request, reply) => {
    reply.header("cache-control", "no-store");
  });

  app.post("/calls", async (request, reply) => {
    // Fastify does not parse, and so does not refuse, a request without content-type and body.
    if (request.headers["content-type"] === undefined) {
      throw new EarshotError("CONTENT_TYPE", "expected a body of content-type application/sdp");
    }
    const offerSdp = typeof request.body === "string" ? request.body : "";
    checkOffer(offerSdp);
    const { secret, answerSdp } = await calls.create(offerSdp);
    return reply
      .code(201)
      .header("location", `${CALLS_PREFIX}/calls/${secret}`)
      .type("application/sdp")
      .send(answerSdp);
  });

  app.delete<{ Params: { secret: string } }>("/calls/:secret", async (request, reply) => {
    if (!(await calls.end(request.params.secret))) {
      throw new EarshotError("CALL_UNKNOWN", "there is no such call; it may have ended already");
    }
    return reply.code(200).send();
  });

  const always = hasCors ? (["OPTIONS"] as const) : [];
  refuseOtherMethods(app, "/calls", ["POST", ...always]);
  refuseOtherMethods(app, "/calls/:secret", ["DELETE", ...always]);
}
