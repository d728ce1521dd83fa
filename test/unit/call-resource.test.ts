import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { FastifyInstance } from "fastify";
import { EarshotError } from "../../src/earshot-error.ts";
import { iceServerLink } from "../../src/signalling/links.ts";
import { checkIfMatch } from "../../src/signalling/preconditions.ts";
import {
  ANSWER,
  CALLS,
  FakeMaker,
  OFFER,
  overloaded,
  post,
  SDP,
  type SignallingServer,
  type SignallingWishes,
  serveSignalling,
  WHIP,
} from "../kit/signalling-server.ts";

const FRAGMENT = { "content-type": "application/trickle-ice-sdpfrag" };

const servers: FastifyInstance[] = [];
after(() => Promise.all(servers.map((app) => app.close())));

async function serve(wishes: SignallingWishes = {}): Promise<SignallingServer> {
  const server = await serveSignalling(wishes);
  servers.push(server.app);
  return server;
}

/** A server with one call. */
async function inCall(endpoint = CALLS, wishes: SignallingWishes = {}) {
  const server = await serve(wishes);
  const made = await server.app.inject(post(OFFER, SDP, endpoint));
  assert.equal(made.statusCode, 201);
  const url = String(made.headers.location);
  const etag = String(made.headers.etag);
  const patch = (payload: string, headers: Record<string, string>) =>
    server.app.inject({ method: "PATCH", url, payload, headers });
  return { ...server, made, url, etag, patch };
}

describe("a call that was made", () => {
  test("is told by Location, ETag and what it can be patched with", async () => {
    const { made, etag } = await inCall();
    assert.match(etag, /^"[A-Za-z0-9_-]{16}"$/);
    assert.equal(made.headers["accept-patch"], "application/trickle-ice-sdpfrag, application/sdp");
    assert.equal(made.headers.link, undefined);
    const { made: whip, url } = await inCall(WHIP);
    assert.equal(whip.headers["accept-patch"], "application/trickle-ice-sdpfrag");
    assert.match(url, /^\/whip\/[A-Za-z0-9_-]{22}$/);
  });

  test("at the WHIP endpoint is one-way, and is found there alone", async () => {
    const { app, maker, url } = await inCall(WHIP);
    assert.deepEqual(maker.wishes, [{ offerSdp: OFFER, ingest: true }]);
    const elsewhere = url.replace(WHIP, CALLS);
    for (const method of ["GET", "DELETE"] as const) {
      assert.equal((await app.inject({ method, url: elsewhere })).statusCode, 404);
    }
    assert.equal((await app.inject({ method: "DELETE", url })).statusCode, 200);
    assert.equal((await app.inject({ url: elsewhere })).statusCode, 404);
  });

  test("comes with STUN and TURN servers if some are configured, as OPTIONS does", async () => {
    const links = [
      iceServerLink({ url: "stun:stun.example.net" }),
      iceServerLink({ url: "turn:turn.example.net?transport=udp", username: 'u"1', credential: "p" }),
    ];
    const expected = [
      '<stun:stun.example.net>; rel="ice-server"',
      '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u\\"1"; credential="p"; credential-type="password"',
    ];
    for (const corsOrigin of [["*"], []]) {
      const { app, made } = await inCall(WHIP, { links, corsOrigin });
      assert.deepEqual(made.headers.link, expected);
      assert.deepEqual((await app.inject({ method: "OPTIONS", url: WHIP })).headers.link, expected);
    }
  });
});

describe("PATCH with a fragment", () => {
  test("that brings candidates is answered with 204 and no ETag", async () => {
    const { patch, maker, etag } = await inCall();
    const response = await patch("a=candidate", { ...FRAGMENT, "if-match": etag });
    assert.deepEqual([response.statusCode, response.body, response.headers.etag], [204, "", undefined]);
    assert.deepEqual(maker.fragments, [{ fragment: "a=candidate", mayRepeat: false }]);
  });

  test("that restarts ICE is answered with a fragment and the ETag of the new ICE session", async () => {
    const { patch, maker, etag } = await inCall();
    const response = await patch("new", { ...FRAGMENT, "if-match": "*" });
    assert.equal(response.statusCode, 200);
    assert.match(String(response.headers["content-type"]), /^application\/trickle-ice-sdpfrag/);
    assert.equal(response.body, "a=ice-ufrag:fresh\r\n");
    assert.deepEqual(maker.fragments, [{ fragment: "new", mayRepeat: true }]);
    const renewed = String(response.headers.etag);
    assert.notEqual(renewed, etag);
    const late = await patch("a=candidate", { ...FRAGMENT, "if-match": etag });
    assert.deepEqual([late.statusCode, late.json().error.code], [412, "PRECONDITION_FAILED"]);
    assert.equal((await patch("a=candidate", { ...FRAGMENT, "if-match": renewed })).statusCode, 204);
    assert.equal(maker.fragments.length, 2);
  });

  const refused = [
    ["without If-Match", { ...FRAGMENT }, "x", 428, "PRECONDITION_REQUIRED"],
    ["with another tag", { ...FRAGMENT, "if-match": '"other"' }, "x", 412, "PRECONDITION_FAILED"],
    ["with a tag that is none", { ...FRAGMENT, "if-match": "other" }, "x", 412, "PRECONDITION_FAILED"],
    ["of another type", { "content-type": "application/json", "if-match": "*" }, "{}", 415, "CONTENT_TYPE"],
    ["without a type", { "if-match": "*" }, "x", 415, "CONTENT_TYPE"],
    ["beyond 16 KiB", { ...FRAGMENT, "if-match": "*" }, "x".repeat(16_385), 413, "BODY_TOO_LARGE"],
  ] as const;
  for (const [what, headers, payload, status, code] of refused) {
    test(`${what} is refused with ${status}`, async () => {
      const { patch, maker } = await inCall();
      const response = await patch(payload, headers);
      assert.deepEqual([response.statusCode, response.json().error.code], [status, code]);
      assert.equal(
        response.headers["accept-patch"],
        status === 415 ? "application/trickle-ice-sdpfrag, application/sdp" : undefined,
      );
      assert.deepEqual(maker.fragments, []);
    });
  }

  test("that is malformed is 400, to no call 404, and without a transceiver 503", async () => {
    const { patch, app, maker } = await inCall();
    const headers = { ...FRAGMENT, "if-match": "*" };
    maker.failure = new EarshotError("FRAGMENT_INVALID", "malformed");
    assert.equal((await patch("x", headers)).statusCode, 400);
    maker.failure = new EarshotError("CHILD_GONE", "gone");
    const gone = await patch("x", headers);
    assert.deepEqual([gone.statusCode, gone.headers["retry-after"]], [503, "2"]);
    const unknown = await app.inject({ method: "PATCH", url: `${CALLS}/nobody`, payload: "x", headers });
    assert.deepEqual([unknown.statusCode, unknown.json().error.code], [404, "CALL_UNKNOWN"]);
  });
});

describe("PATCH with a whole offer", () => {
  test("is answered with an answer and the ETag of the ICE session", async () => {
    const { patch, maker, etag } = await inCall();
    const response = await patch(OFFER, { ...SDP, "if-match": etag });
    assert.deepEqual([response.statusCode, response.body, response.headers.etag], [200, ANSWER, etag]);
    assert.match(String(response.headers["content-type"]), /^application\/sdp/);
    assert.deepEqual(maker.updates, [OFFER]);
  });

  test("has the same preconditions, and a first look at the offer", async () => {
    const { patch, maker, etag } = await inCall();
    assert.equal((await patch(OFFER, SDP)).statusCode, 428);
    assert.equal((await patch("no sdp", { ...SDP, "if-match": etag })).statusCode, 400);
    assert.deepEqual(maker.updates, []);
  });

  test("is not for WHIP, which has fragments alone", async () => {
    const { patch, maker } = await inCall(WHIP);
    const response = await patch(OFFER, { ...SDP, "if-match": "*" });
    assert.deepEqual([response.statusCode, response.headers["accept-patch"]], [415, "application/trickle-ice-sdpfrag"]);
    assert.deepEqual(maker.updates, []);
  });
});

describe("If-Match", () => {
  const cases = [
    ["*", "any"],
    [' "now" ', "tag"],
    ['"before", "now"', "tag"],
    ['W/"now"', "PRECONDITION_FAILED"],
    ['"no"w"', "PRECONDITION_FAILED"],
    ["", "PRECONDITION_FAILED"],
    [undefined, "PRECONDITION_REQUIRED"],
  ] as const;
  for (const [header, outcome] of cases) {
    test(`${header} is ${outcome}`, () => {
      const check = () => checkIfMatch(header, '"now"');
      if (outcome === "any" || outcome === "tag") assert.equal(check(), outcome);
      else assert.throws(check, { code: outcome });
    });
  }
});

describe("GET of a Location", () => {
  test("says how the call is", async () => {
    const { app, url } = await inCall();
    const response = await app.inject({ url });
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers["cache-control"], "no-store");
    assert.deepEqual(response.json(), {
      state: "connected",
      createdAt: "1970-01-01T00:00:00.000Z",
      connectedAt: "1970-01-01T00:00:01.500Z",
      backend: "echo",
      client: { address: "203.0.113.9", port: 4444 },
      frames: { received: 50, sent: 49 },
      messages: { received: 2, sent: 1 },
    });
  });

  test("says for a minute why it ended, and then nothing", async () => {
    let nowMs = 1_000_000;
    const { app, maker, calls, url } = await inCall(CALLS, { now: () => nowMs });
    calls.ended(maker, "call-1", "max-duration");
    const ended = { state: "ended", reason: "max-duration", endedAt: "1970-01-01T00:16:40.000Z" };
    assert.deepEqual((await app.inject({ url })).json(), ended);
    nowMs += 59_999;
    assert.deepEqual((await app.inject({ url })).json(), ended);
    nowMs += 1;
    assert.equal((await app.inject({ url })).statusCode, 404);
  });

  test("is 404 for nobody's, and says so of a lost transceiver's", async () => {
    const { app, maker, calls, url } = await inCall();
    assert.equal((await app.inject({ url: `${CALLS}/nobody` })).statusCode, 404);
    calls.makerGone(maker);
    assert.equal((await app.inject({ url })).json().reason, "transceiver-gone");
    assert.equal((await app.inject({ method: "DELETE", url })).statusCode, 404);
  });
});

describe("OPTIONS", () => {
  for (const corsOrigin of [["*"], []]) {
    test(`says what can be sent ${corsOrigin.length > 0 ? "with" : "without"} CORS`, async () => {
      const { app, url } = await inCall(CALLS, { corsOrigin });
      const endpoint = await app.inject({ method: "OPTIONS", url: CALLS });
      assert.deepEqual(
        [endpoint.statusCode, endpoint.headers.allow, endpoint.headers["accept-post"]],
        [204, "POST, OPTIONS", "application/sdp"],
      );
      const location = await app.inject({ method: "OPTIONS", url });
      assert.deepEqual(
        [location.statusCode, location.headers.allow, location.headers["accept-patch"]],
        [204, "GET, HEAD, PATCH, DELETE, OPTIONS", "application/trickle-ice-sdpfrag, application/sdp"],
      );
    });
  }
});

describe("several transceivers behind one address", () => {
  test("share the calls, and each is told of its own", async () => {
    const makers = [new FakeMaker(), new FakeMaker(), new FakeMaker()];
    const { app, calls } = await serve({ makers });
    const locations: string[] = [];
    for (let i = 0; i < 9; i++) locations.push(String((await app.inject(post(OFFER))).headers.location));
    assert.deepEqual(
      makers.map(({ wishes }) => wishes.length),
      [3, 3, 3],
    );
    for (const url of locations) await app.inject({ method: "DELETE", url });
    assert.deepEqual(
      makers.map(({ ended }) => ended),
      Array.from({ length: 3 }, () => ["call-1", "call-2", "call-3"]),
    );
    assert.equal(calls.count, 0);
  });

  test("the one with the fewest calls gets the next", async () => {
    const makers = [new FakeMaker(), new FakeMaker()] as const;
    const { app, calls } = await serve({ makers });
    for (let i = 0; i < 4; i++) await app.inject(post(OFFER));
    calls.ended(makers[1], "call-1", "hang-up");
    calls.ended(makers[1], "call-2", "hang-up");
    for (let i = 0; i < 2; i++) await app.inject(post(OFFER));
    assert.deepEqual([makers[0].wishes.length, makers[1].wishes.length], [2, 4]);
  });

  test("one that is full, draining or gone is passed over, and asked again after a second", async () => {
    let nowMs = 0;
    const makers = [new FakeMaker(), new FakeMaker()] as const;
    const { app, calls } = await serve({ makers, now: () => nowMs });
    for (const failure of [overloaded(), new EarshotError("CHILD_GONE", "gone")]) {
      makers[0].failure = failure;
      const before = makers[1].wishes.length;
      for (let i = 0; i < 3; i++) assert.equal((await app.inject(post(OFFER))).statusCode, 201);
      assert.equal(makers[1].wishes.length, before + 3);
      nowMs += 1000;
    }
    makers[0].failure = undefined;
    assert.equal((await app.inject(post(OFFER))).statusCode, 201);
    assert.equal(makers[0].wishes.length, 1);
    calls.makerGone(makers[1]);
    assert.equal(calls.count, 1);
  });

  test("when all are full the answer is 503, until one is not", async () => {
    const makers = [new FakeMaker(), new FakeMaker()] as const;
    const { app } = await serve({ makers });
    for (const maker of makers) maker.failure = overloaded();
    for (let i = 0; i < 2; i++) {
      const response = await app.inject(post(OFFER));
      assert.deepEqual([response.statusCode, response.headers["retry-after"]], [503, "2"]);
    }
    makers[0].failure = undefined;
    assert.equal((await app.inject(post(OFFER))).statusCode, 201);
  });

  test("an offer that cannot be answered is shown to one alone", async () => {
    const makers = [new FakeMaker(), new FakeMaker()] as const;
    const { app } = await serve({ makers });
    makers[0].failure = new EarshotError("SDP_UNSUPPORTED", "no codec in common");
    assert.equal((await app.inject(post(OFFER))).statusCode, 422);
    assert.deepEqual(makers[1].wishes, []);
  });
});

test("calls beyond the rate are refused with 503, and cost no transceiver anything", async () => {
  let nowMs = 0;
  const { app, maker } = await serve({ maxNewCallsPerSecond: 3, now: () => nowMs });
  const statuses = async (count: number) => {
    const found: number[] = [];
    for (let i = 0; i < count; i++) found.push((await app.inject(post(OFFER))).statusCode);
    return found;
  };
  assert.deepEqual(await statuses(5), [201, 201, 201, 503, 503]);
  nowMs += 1000;
  assert.deepEqual(await statuses(4), [201, 201, 201, 503]);
  nowMs -= 5000;
  assert.deepEqual(await statuses(1), [503]);
  nowMs += 400;
  assert.deepEqual(await statuses(2), [201, 503]);
  assert.equal(maker.wishes.length, 7);
});
