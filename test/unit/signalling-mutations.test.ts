/** Whatever HTTP request comes: it is answered with a status that the documentation has, and never with a bug. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { packageRoot } from "../../src/package-root.ts";
import { Random } from "../kit/mutations.ts";
import { spoiledSdp } from "../kit/sdp-mutations.ts";
import { CALLS, OFFER, serveSignalling, WHIP } from "../kit/signalling-server.ts";

const ROUNDS = 4_000;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
const TYPES = [
  "application/sdp",
  "application/trickle-ice-sdpfrag",
  "application/json",
  "text/plain;charset=x",
  "",
  "a/b;",
];
const CONDITIONS = ["*", '"x"', 'W/"x"', '"', '""', "*, *", '"a", "b"', "x".repeat(300)];
const TAILS = ["", "/", "/nobody", "/%00", "/..%2f..", `/${"x".repeat(200)}`, "?a=b", "//", "/a/b"];
const SUCCESSES = [200, 201, 204];

test("strange requests are answered as documented, and leave no call that has no Location", async () => {
  const { app, calls } = await serveSignalling();
  const random = new Random(11);
  const documented = [...readFileSync(new URL("docs/signalling.md", packageRoot), "utf8").matchAll(/^\| (\d{3}) \|/gm)];
  const expected = new Set([...SUCCESSES, ...documented.map(([, status]) => Number(status))]);
  assert.ok(expected.size > 10);
  const seen = new Set<number>();
  const locations = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    const known = locations.size > 0 && random.chance(30) ? random.pick([...locations]) : undefined;
    const url = known ?? `${random.pick([CALLS, WHIP])}${random.chance(40) ? "" : random.pick(TAILS)}`;
    const headers: Record<string, string> = {};
    if (random.chance(80)) headers["content-type"] = random.pick(TYPES);
    if (random.chance(60)) headers["if-match"] = random.pick(CONDITIONS);
    if (random.chance(20)) headers.origin = "https://example.org";
    if (random.chance(20)) headers.authorization = random.pick(["Bearer x", "Basic", ""]);
    const method = random.pick(METHODS);
    const payload = random.chance(80) ? (random.chance(50) ? OFFER : spoiledSdp(random, OFFER, [OFFER])) : "";
    const response = await app.inject({ method, url, headers, ...(method !== "GET" && { payload }) });
    assert.ok(expected.has(response.statusCode), `${response.statusCode} for ${method} ${url}`);
    seen.add(response.statusCode);
    if (response.statusCode >= 400 && method !== "HEAD") assert.equal(typeof response.json().error.code, "string");
    if (response.statusCode === 201) locations.add(String(response.headers.location));
    if (method === "DELETE" && response.statusCode === 200) locations.delete(url);
  }
  await app.close();
  assert.equal(calls.count, locations.size);
  for (const status of [200, 201, 204, 400, 404, 405, 412, 415, 428]) assert.ok(seen.has(status), `no ${status}`);
});
