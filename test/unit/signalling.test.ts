import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, describe, test } from "node:test";
import type { FastifyInstance } from "fastify";
import { EarshotError } from "../../src/earshot-error.ts";
import { OpenCalls } from "../../src/signalling/open-calls.ts";
import {
  ANSWER,
  CALLS,
  FakeMaker,
  OFFER,
  post,
  SDP,
  type SignallingServer,
  type SignallingWishes,
  serveSignalling,
} from "../kit/signalling-server.ts";

const servers: FastifyInstance[] = [];
after(() => Promise.all(servers.map((app) => app.close())));

async function serve(wishes: SignallingWishes = {}): Promise<SignallingServer> {
  const server = await serveSignalling(wishes);
  servers.push(server.app);
  return server;
}

describe("POST of an offer", () => {
  test("makes a call: 201, the answer, and a secret Location", async () => {
    const { app, maker } = await serve();
    const response = await app.inject(post(OFFER, { "content-type": "application/sdp; charset=utf-8" }));
    assert.equal(response.statusCode, 201);
    assert.match(String(response.headers["content-type"]), /^application\/sdp/);
    assert.match(String(response.headers.location), /^\/v1\/realtime\/calls\/[A-Za-z0-9_-]{22}$/);
    assert.equal(response.headers["cache-control"], "no-store");
    assert.equal(response.headers["x-content-type-options"], "nosniff");
    assert.equal(response.body, ANSWER);
    assert.deepEqual(maker.wishes, [{ offerSdp: OFFER, ingest: false }]);
  });

  test("never gives two calls one Location", async () => {
    const { app } = await serve();
    const [first, second] = await Promise.all([app.inject(post(OFFER)), app.inject(post(OFFER))]);
    assert.notEqual(first.headers.location, second.headers.location);
  });

  const refused = [
    ["of another type", post("{}", { "content-type": "application/json" }), 415, "CONTENT_TYPE", /application\/sdp/],
    ["without a type", post(OFFER, {}), 415, "CONTENT_TYPE", /application\/sdp/],
    ["without type and body", { method: "POST", url: CALLS }, 415, "CONTENT_TYPE", /application\/sdp/],
    ["that is empty", post(""), 400, "SDP_INVALID", /the body is empty/],
    ["that is no SDP", post("hello"), 400, "SDP_INVALID", /the first line has to be "v=0", got "hello"/],
    ["with a broken line", post("v=0\r\nnonsense\r\n"), 400, "SDP_INVALID", /line 2 .* got "nonsense"/],
    ["without media", post("v=0\r\ns=-\r\n"), 400, "SDP_INVALID", /no "m=" line/],
    ["beyond 64 KiB", post(`${OFFER}a=${"x".repeat(65536)}`), 413, "BODY_TOO_LARGE", /64 KiB/],
  ] as const;
  for (const [what, request, status, code, message] of refused) {
    test(`${what} is refused with ${status}`, async () => {
      const { app, maker } = await serve();
      const response = await app.inject(request);
      assert.equal(response.statusCode, status);
      assert.match(String(response.headers["content-type"]), /^application\/json/);
      assert.equal(response.json().error.code, code);
      assert.match(response.json().error.message, message);
      assert.deepEqual(maker.wishes, []);
    });
  }

  const failures = [
    [new EarshotError("SDP_INVALID", "no a=ice-ufrag"), 400, "SDP_INVALID", undefined],
    [new EarshotError("SDP_UNSUPPORTED", "no codec in common"), 422, "SDP_UNSUPPORTED", undefined],
    [new EarshotError("OVERLOADED", "1000 calls"), 503, "OVERLOADED", "2"],
    [new EarshotError("CHILD_GONE", "restarting"), 503, "CHILD_GONE", "2"],
    [new EarshotError("CHILD_SILENT", "no answer"), 503, "CHILD_SILENT", "2"],
    [new EarshotError("NEVER_HEARD_OF", "private detail"), 500, "INTERNAL", undefined],
    [new Error("private detail"), 500, "INTERNAL", undefined],
  ] as const;
  for (const [failure, status, code, retryAfter] of failures) {
    test(`that fails with ${(failure as { code?: string }).code ?? "anything else"} is answered with ${status}`, async () => {
      const { app, maker } = await serve();
      maker.failure = failure;
      const response = await app.inject(post(OFFER));
      assert.equal(response.statusCode, status);
      assert.equal(response.json().error.code, code);
      assert.equal(response.headers["retry-after"], retryAfter);
      assert.doesNotMatch(response.body, /private detail/);
    });
  }
});

describe("DELETE of a Location", () => {
  test("ends the call: 200, and 404 from then on", async () => {
    const { app, maker } = await serve();
    const url = String((await app.inject(post(OFFER))).headers.location);
    assert.equal((await app.inject({ method: "DELETE", url })).statusCode, 200);
    assert.deepEqual(maker.ended, ["call-1"]);
    const again = await app.inject({ method: "DELETE", url });
    assert.equal(again.statusCode, 404);
    assert.equal(again.json().error.code, "CALL_UNKNOWN");
  });

  test("that nobody was given is 404, however long", async () => {
    const { app } = await serve();
    for (const secret of ["x", "A".repeat(22), "B".repeat(500)]) {
      assert.equal((await app.inject({ method: "DELETE", url: `${CALLS}/${secret}` })).statusCode, 404);
    }
  });
});

describe("other requests", () => {
  const requests = [
    ["GET", "/nowhere", 404, "NOT_FOUND", undefined],
    ["GET", "/../package.json", 404, "NOT_FOUND", undefined],
    ["GET", "/%2e%2e/package.json", 404, "NOT_FOUND", undefined],
    ["GET", "/%zz", 400, "BAD_REQUEST", undefined],
    ["GET", CALLS, 405, "METHOD_NOT_ALLOWED", "POST, OPTIONS"],
    ["PUT", `${CALLS}/secret`, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, PATCH, DELETE, OPTIONS"],
    ["GET", "/whip", 405, "METHOD_NOT_ALLOWED", "POST, OPTIONS"],
    ["GET", "/whip/secret", 405, "METHOD_NOT_ALLOWED", "PATCH, DELETE, OPTIONS"],
    ["POST", "/metrics", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
    ["DELETE", "/", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
  ] as const;
  for (const [method, url, status, code, allow] of requests) {
    test(`${method} ${url} is answered with ${status}`, async () => {
      const { app } = await serve();
      const response = await app.inject({ method, url });
      assert.equal(response.statusCode, status);
      assert.equal(response.json().error.code, code);
      assert.equal(response.headers.allow, allow);
    });
  }

  test("what is no HTTP is answered with 400 in JSON", async () => {
    const { app } = await serve();
    await app.listen({ host: "127.0.0.1", port: 0 });
    const socket = connect((app.server.address() as { port: number }).port, "127.0.0.1");
    socket.end("nonsense\r\n\r\n");
    let text = "";
    socket.on("data", (data) => {
      text += data;
    });
    await once(socket, "close");
    assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.match(text, /\r\n\r\n\{"error":\{"code":"BAD_REQUEST",/);
  });
});

describe("CORS", () => {
  const preflight = (origin: string) =>
    ({
      method: "OPTIONS",
      url: CALLS,
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
      },
    }) as const;

  test("lets every origin call by default, and read what it needs", async () => {
    const { app } = await serve();
    const asked = await app.inject(preflight("https://example.org"));
    assert.equal(asked.statusCode, 204);
    assert.equal(asked.headers["access-control-allow-origin"], "*");
    assert.equal(asked.headers["access-control-allow-methods"], "POST, GET, PATCH, DELETE");
    assert.equal(asked.headers["access-control-allow-headers"], "authorization, content-type, if-match");
    const made = await app.inject(post(OFFER, { ...SDP, origin: "https://example.org" }));
    assert.equal(made.headers["access-control-allow-origin"], "*");
    assert.equal(
      made.headers["access-control-expose-headers"],
      "location, etag, link, accept-patch, retry-after, www-authenticate",
    );
  });

  test("lets a page read why it was refused", async () => {
    const { app } = await serve();
    const response = await app.inject(post("no sdp", { ...SDP, origin: "https://example.org" }));
    assert.equal(response.statusCode, 400);
    assert.equal(response.headers["access-control-allow-origin"], "*");
  });

  test("lets only the listed origins call", async () => {
    const { app } = await serve({ corsOrigin: ["https://a.example"] });
    const allowed = await app.inject(preflight("https://a.example"));
    assert.equal(allowed.headers["access-control-allow-origin"], "https://a.example");
    const other = await app.inject(preflight("https://b.example"));
    assert.equal(other.headers["access-control-allow-origin"], undefined);
  });

  test("can be switched off", async () => {
    const { app } = await serve({ corsOrigin: [] });
    const response = await app.inject(preflight("https://example.org"));
    assert.equal(response.statusCode, 204);
    assert.equal(response.headers["access-control-allow-origin"], undefined);
    assert.equal(response.headers["accept-post"], "application/sdp");
  });

  test("leaves metrics and health to pages of this server", async () => {
    const { app } = await serve();
    for (const url of ["/metrics", "/healthz", "/readyz", "/"]) {
      const response = await app.inject({ url, headers: { origin: "https://example.org" } });
      assert.equal(response.headers["access-control-allow-origin"], undefined, url);
    }
  });
});

describe("operations", () => {
  test("/healthz is 200 while the process lives", async () => {
    const { app } = await serve({ reasons: ["nothing works"] });
    const response = await app.inject({ url: "/healthz" });
    assert.deepEqual([response.statusCode, response.json()], [200, { status: "ok" }]);
  });

  test("/readyz is 200 only if there is no reason against it", async () => {
    const ready = await (await serve()).app.inject({ url: "/readyz" });
    assert.deepEqual([ready.statusCode, ready.json()], [200, { ready: true, reasons: [] }]);
    const not = await (await serve({ reasons: ["no transceiver is live"] })).app.inject({ url: "/readyz" });
    assert.deepEqual([not.statusCode, not.json()], [503, { ready: false, reasons: ["no transceiver is live"] }]);
  });

  test("/metrics adds the children's text, counts requests, and outlives a child that fails", async () => {
    const others = [
      async () => "# TYPE earshot_relay_flows gauge\nearshot_relay_flows 3\n",
      async () => {
        throw new Error("gone");
      },
    ];
    const { app } = await serve({ others });
    await app.inject(post(OFFER));
    await app.inject({ url: `/${"x".repeat(8)}` });
    const response = await app.inject({ url: "/metrics" });
    assert.equal(response.statusCode, 200);
    assert.match(String(response.headers["content-type"]), /^text\/plain; version=0\.0\.4/);
    assert.match(response.body, /^earshot_relay_flows 3$/m);
    assert.match(response.body, /^earshot_front_open_calls 1$/m);
    assert.match(
      response.body,
      /^earshot_front_http_requests_total\{route="\/v1\/realtime\/calls",method="POST",status="201"\} 1$/m,
    );
    assert.match(response.body, /^earshot_front_http_requests_total\{route="none",method="GET",status="404"\} 1$/m);
    const families = [...response.body.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]);
    assert.deepEqual(families, [...new Set(families)]);
  });
});

describe("the page", () => {
  const files = [
    ["/", /^text\/html/],
    ["/app.js", /javascript/],
    ["/style.css", /^text\/css/],
    ["/icon.svg", /^image\/svg/],
  ] as const;
  for (const [url, type] of files) {
    test(`${url} is served, and loads nothing from elsewhere`, async () => {
      const { app } = await serve();
      const response = await app.inject({ url });
      assert.equal(response.statusCode, 200);
      assert.match(String(response.headers["content-type"]), type);
      assert.match(String(response.headers["content-security-policy"]), /default-src 'none'; script-src 'self';/);
      assert.equal(response.headers["x-content-type-options"], "nosniff");
      assert.doesNotMatch(response.body, /(?:src|href)="(?:https?:)?\/\//);
    });
  }
});

describe("open calls", () => {
  test("vanish when the transceiver says that they are over", async () => {
    const { app, maker, calls } = await serve();
    const url = String((await app.inject(post(OFFER))).headers.location);
    calls.ended(maker, "call-1", "hang-up");
    assert.equal(calls.count, 0);
    assert.equal((await app.inject({ method: "DELETE", url })).statusCode, 404);
    assert.deepEqual(maker.ended, []);
  });

  test("vanish with their transceiver", async () => {
    const { app, maker, calls } = await serve();
    await app.inject(post(OFFER));
    await app.inject(post(OFFER));
    calls.makerGone(maker);
    assert.equal(calls.count, 0);
  });

  test("are not kept if they ended before their answer was taken in", async () => {
    const calls = new OpenCalls();
    const maker = new (class extends FakeMaker {
      override async createCall() {
        calls.ended(maker, "call-1", "hang-up");
        return { callId: "call-1", answerSdp: ANSWER, ufrag: "ufrag" };
      }
    })();
    await calls.create(maker, { offerSdp: OFFER, ingest: false });
    assert.equal(calls.count, 0);
    assert.equal(calls.countOf(maker), 0);
  });

  test("leave nothing behind when the client ends them while others begin", async () => {
    const calls = new OpenCalls();
    const maker = new FakeMaker();
    for (let i = 1; i <= 100; i++) {
      const overlapping = calls.create(maker, { offerSdp: OFFER, ingest: false });
      const { secret } = await calls.create(maker, { offerSdp: OFFER, ingest: false });
      await overlapping;
      await calls.end(secret);
      for (const callId of maker.ended.splice(0)) calls.ended(maker, callId, "end-call");
    }
    assert.deepEqual([calls.count, calls.countOf(maker)], [100, 100]);
  });
});

test("the log holds neither SDP nor Location", async () => {
  const lines: string[] = [];
  const { app, maker } = await serve({
    log: {
      write(line) {
        lines.push(line);
      },
    },
  });
  const url = String((await app.inject(post(OFFER))).headers.location);
  await app.inject({ method: "DELETE", url });
  maker.failure = new Error("boom");
  await app.inject(post(OFFER));
  const text = lines.join("");
  assert.match(text, /boom/);
  assert.ok(!text.includes(url) && !text.includes("m=audio"));
});
