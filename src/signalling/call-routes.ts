/**
 * Signalling: an SDP offer comes in, a call begins and its answer goes out with a Location, at which the call can be
 * asked about, changed and ended. The same for conversations and for WHIP (RFC 9725), whose calls are one-way. Holds
 * no state. docs/signalling.md has every status code and header.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { EarshotError } from "../earshot-error.ts";
import { FRAGMENT_TYPE } from "../transceiver/ice-fragment.ts";
import { MAX_FRAGMENT_BYTES, MAX_OFFER_BYTES } from "../transceiver/limits.ts";
import type { CallService } from "./call-service.ts";
import { refuseOtherMethods } from "./methods.ts";
import { checkOffer } from "./offer.ts";
import { checkIfMatch } from "./preconditions.ts";

const SDP_TYPE = "application/sdp";

export interface CallRoutesOptions {
  /** Where calls are made; a call's Location is one segment below. */
  readonly endpoint: string;
  /** Whether this is a WHIP endpoint: clients send, and get nothing but RTCP. */
  readonly ingest: boolean;
  readonly service: CallService;
  /** Who may make calls: takes the Authorization header, and throws AUTH_*. Everybody may if absent. */
  readonly authorize?: ((header: string | undefined) => Promise<void>) | undefined;
  /** Values of Link headers: STUN and TURN servers for clients that ask for some. */
  readonly links: readonly string[];
}

const LOCATION = "/:secret";
type Located = { Params: { secret: string } };

/** `app` is the scope whose prefix is the endpoint. */
export function registerCallRoutes(app: FastifyInstance, options: CallRoutesOptions): void {
  const { endpoint, ingest, service, authorize, links } = options;
  const patchTypes = ingest ? [FRAGMENT_TYPE] : [FRAGMENT_TYPE, SDP_TYPE];
  const acceptPatch = patchTypes.join(", ");
  const endpointMethods = ["POST", "OPTIONS"] as const;
  // WHIP keeps GET for later versions of itself.
  const locationMethods = ingest
    ? (["PATCH", "DELETE", "OPTIONS"] as const)
    : (["GET", "HEAD", "PATCH", "DELETE", "OPTIONS"] as const);

  app.removeAllContentTypeParsers();
  for (const [type, bodyLimit] of [
    [SDP_TYPE, MAX_OFFER_BYTES],
    [FRAGMENT_TYPE, MAX_FRAGMENT_BYTES],
  ] as const) {
    app.addContentTypeParser<string>(type, { parseAs: "string", bodyLimit }, (_, body, done) => done(null, body));
  }
  // In onSend, because CORS answers OPTIONS before a handler is reached.
  app.addHook("onSend", async (request, reply) => {
    reply.header("cache-control", "no-store");
    const at = request.routeOptions.url;
    if (request.method === "PATCH" && reply.statusCode === 415) reply.header("accept-patch", acceptPatch);
    if (request.method !== "OPTIONS") return;
    if (at === endpoint) {
      reply.headers({ allow: endpointMethods.join(", "), "accept-post": SDP_TYPE });
      addLinks(reply);
    } else if (at === `${endpoint}${LOCATION}`)
      reply.headers({ allow: locationMethods.join(", "), "accept-patch": acceptPatch });
  });

  const addLinks = (reply: FastifyReply) => {
    if (links.length > 0) reply.header("link", [...links]);
  };
  const find = (secret: string) => {
    const call = service.find(secret);
    if (call === undefined || call.ingest !== ingest) throw unknownCall();
    return call;
  };

  // Before the body is read: who may not call is not to send one. A Location is a secret, and needs no further proof.
  const onRequest = async (request: FastifyRequest) => authorize?.(request.headers.authorization);
  app.post("", { onRequest }, async (request, reply) => {
    const offerSdp = bodyOf(request, [SDP_TYPE]);
    checkOffer(offerSdp);
    const { secret, answerSdp, tag } = await service.create({ offerSdp, ingest });
    addLinks(reply);
    return reply
      .code(201)
      .headers({ location: `${endpoint}/${secret}`, etag: tag, "accept-patch": acceptPatch })
      .type(SDP_TYPE)
      .send(answerSdp);
  });

  app.patch<Located>(LOCATION, async (request, reply) => {
    const call = find(request.params.secret);
    const body = bodyOf(request, patchTypes);
    const matched = checkIfMatch(request.headers["if-match"], call.tag);
    if (mediaType(request) === SDP_TYPE) {
      checkOffer(body);
      const updated = await service.update(call, body);
      if (updated === undefined) throw unknownCall();
      return reply.code(200).header("etag", updated.tag).type(SDP_TYPE).send(updated.answerSdp);
    }
    const taken = await service.takeFragment(call, body, matched === "any");
    if (taken === undefined) throw unknownCall();
    if (taken.fragment === undefined) return reply.code(204).send();
    return reply.code(200).header("etag", taken.tag).type(FRAGMENT_TYPE).send(taken.fragment);
  });

  app.delete<Located>(LOCATION, async (request, reply) => {
    find(request.params.secret);
    if (!(await service.end(request.params.secret))) throw unknownCall();
    return reply.code(200).send();
  });

  if (!ingest) {
    app.get<Located>(LOCATION, async (request) => {
      const described = await service.describe(request.params.secret);
      if (described === undefined) throw unknownCall();
      return described;
    });
  }

  for (const url of ["", LOCATION]) app.options(url, async (_request, reply) => reply.code(204).send());
  refuseOtherMethods(app, "", endpointMethods);
  refuseOtherMethods(app, LOCATION, locationMethods);
}

/** Fastify does not parse, and so does not refuse, a request without content-type and body. */
function bodyOf(request: FastifyRequest, types: readonly string[]): string {
  if (!types.includes(mediaType(request))) {
    throw new EarshotError("CONTENT_TYPE", `expected a body of content-type ${types.join(" or ")}`);
  }
  return typeof request.body === "string" ? request.body : "";
}

function mediaType(request: FastifyRequest): string {
  return (request.headers["content-type"] ?? "").split(";")[0]!.trim().toLowerCase();
}

function unknownCall(): EarshotError {
  return new EarshotError("CALL_UNKNOWN", "there is no such call; it may have ended already");
}
