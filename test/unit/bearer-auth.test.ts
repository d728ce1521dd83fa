import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { FastifyInstance } from "fastify";
import { SignJWT, UnsecuredJWT } from "jose";
import { pino } from "pino";
import { BearerAuth, type BearerAuthOptions } from "../../src/signalling/bearer-auth.ts";
import { BearerTokens } from "../../src/signalling/bearer-tokens.ts";
import { JwtVerifier } from "../../src/signalling/jwt-verifier.ts";
import { eventually } from "../kit/eventually.ts";
import { CALLS, OFFER, post, SDP, serveSignalling, WHIP } from "../kit/signalling-server.ts";

const folder = mkdtempSync(join(tmpdir(), "earshot-auth-"));
const opened: (BearerAuth | undefined)[] = [];
const servers: FastifyInstance[] = [];
after(async () => {
  rmSync(folder, { recursive: true });
  for (const auth of opened) auth?.stop();
  for (const app of servers) await app.close();
});

let files = 0;
function file(text: string): string {
  const name = join(folder, `${files++}`);
  writeFileSync(name, text);
  return name;
}

const LOG: string[] = [];
const logger = pino({ level: "info" }, { write: (line: string) => void LOG.push(line) });

async function open(options: Partial<BearerAuthOptions>): Promise<BearerAuth> {
  const auth = await BearerAuth.open({ logger, pollMs: 10, ...options });
  opened.push(auth);
  assert.ok(auth);
  return auth;
}

const ONE = "tokenNumberOne-1234";
const OTHER = "tokenNumberTwo.5678==";

describe("a list of tokens", () => {
  test("lets those in that are listed, comments and empty lines apart", () => {
    const tokens = new BearerTokens("t", `# people\n${ONE}\r\n\n  ${OTHER}  \n`);
    const known = [ONE, OTHER, "# people", "", ONE.slice(0, -1), `${ONE}x`, ONE.toUpperCase()].map((token) =>
      tokens.has(token),
    );
    assert.deepEqual(known, [true, true, false, false, false, false, false]);
  });

  const refused = [
    ["nothing", "# nobody\n", /t: expected one token on each line, got none/],
    ["a short one", `${ONE}\nsecret`, /t, line 2: expected a token of 16 to 512/],
    ["one with a space", `my secret token 1234`, /t, line 1: expected a token/],
  ] as const;
  for (const [what, text, message] of refused) {
    test(`with ${what} is refused, and not shown`, () =>
      assert.throws(
        () => new BearerTokens("t", text),
        (error: Error & { code: string }) => {
          assert.equal(error.code, "AUTH_FILE_INVALID");
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /secret/);
          return true;
        },
      ));
  }
});

describe("JSON web tokens", () => {
  const secret = randomBytes(32);
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const ed = generateKeyPairSync("ed25519");
  const pem = rsa.publicKey.export({ type: "spki", format: "pem" }) as string;
  const jwk = { kty: "oct", k: secret.toString("base64url") };
  const set = JSON.stringify({
    keys: [
      { ...ec.publicKey.export({ format: "jwk" }), kid: "ec" },
      { ...ed.publicKey.export({ format: "jwk" }), kid: "ed" },
      { ...jwk, kid: "hs" },
    ],
  });
  const rules = { issuer: "https://login.example.org", audience: "earshot" };
  const claims = { iss: rules.issuer, aud: [rules.audience, "other"] };
  const make = (alg: string, key: Parameters<SignJWT["sign"]>[0], change: object = {}, expires = "5m") =>
    new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg }).setExpirationTime(expires).sign(key);

  const accepted = [
    ["HS256 with a JWK", JSON.stringify(jwk), () => make("HS256", secret)],
    ["RS256 with PEM", pem, () => make("RS256", rsa.privateKey)],
    ["PS256 with PEM", pem, () => make("PS256", rsa.privateKey)],
    ["ES256 of a set", set, () => make("ES256", ec.privateKey)],
    ["EdDSA of a set", set, () => make("EdDSA", ed.privateKey)],
    ["HS256 of a set", set, () => make("HS256", secret)],
  ] as const;
  for (const [what, keys, token] of accepted) {
    test(`of ${what} are taken`, async () => {
      assert.equal(await new JwtVerifier("k", keys, rules).refusal(await token()), undefined);
      assert.equal(await new JwtVerifier("k", keys, {}).refusal(await token()), undefined);
    });
  }

  const refused = [
    ["of another secret", () => make("HS256", randomBytes(32))],
    ["signed with the public key as if it were a secret", () => make("HS256", Buffer.from(pem))],
    ["of another issuer", () => make("HS256", secret, { iss: "https://evil.example.org" })],
    ["for another audience", () => make("HS256", secret, { aud: "other" })],
    ["that are not valid yet", () => make("HS256", secret, { nbf: Math.floor(Date.now() / 1000) + 60 })],
    ["without an expiry", () => new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(secret)],
    ["without a signature", async () => new UnsecuredJWT(claims).setExpirationTime("5m").encode()],
    ["that are none", async () => "abc.def.ghi"],
  ] as const;
  for (const [what, token] of refused) {
    test(`${what} are refused`, async () => {
      for (const keys of [set, pem, JSON.stringify(jwk)]) {
        const refusal = await new JwtVerifier("k", keys, rules).refusal(await token());
        assert.equal(refusal, "the token is not valid here");
      }
    });
  }

  test("are tried with each key that they may be of, and with no other", async () => {
    const another = randomBytes(32);
    const keys = [
      { kty: "oct", k: another.toString("base64url") },
      { ...jwk, kid: "now" },
    ];
    const verifier = new JwtVerifier("k", JSON.stringify({ keys }), {});
    const sign = (kid: string | undefined, key: Buffer) =>
      new SignJWT({})
        .setProtectedHeader({ alg: "HS256", ...(kid !== undefined && { kid }) })
        .setExpirationTime("5m")
        .sign(key);
    const refusals = [];
    for (const token of [sign(undefined, secret), sign("now", secret), sign("now", another), sign("before", secret)]) {
      refusals.push(await verifier.refusal(await token));
    }
    assert.deepEqual(refusals, [undefined, undefined, undefined, "the token is not valid here"]);
  });

  test("that have expired are refused with that reason", async () => {
    const verifier = new JwtVerifier("k", set, rules);
    assert.equal(await verifier.refusal(await make("HS256", secret, {}, "1m ago")), "the token has expired");
  });

  const files = [
    ["no keys", JSON.stringify({ keys: [] }), /at least one key, got an empty one/],
    ["no JSON", "secret", /a JWK, a JWK set or a public key in PEM, got none of these/],
    ["a short secret", JSON.stringify({ kty: "oct", k: "c2VjcmV0" }), /at least 32 bytes in base64url, got 6/],
    ["a key of no kind", JSON.stringify({ kty: "secret" }), /kty oct, RSA, EC or OKP/],
    ["a private key", rsa.privateKey.export({ type: "pkcs8", format: "pem" }) as string, /got a private one/],
    ["a private JWK", JSON.stringify(ec.privateKey.export({ format: "jwk" })), /got a private one/],
    [
      "a curve that is not used",
      generateKeyPairSync("ec", { namedCurve: "P-521" }).publicKey.export({ type: "spki", format: "pem" }) as string,
      /expected RSA, P-256, P-384 or Ed25519/,
    ],
    ["a broken PEM", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", /got one that cannot be read/],
  ] as const;
  for (const [what, text, message] of files) {
    test(`a key file with ${what} is refused`, () =>
      assert.throws(() => new JwtVerifier("k", text, {}), { code: "AUTH_FILE_INVALID", message }));
  }
});

describe("making a call", () => {
  test("needs a token where there are some, at either endpoint; a Location needs none", async () => {
    const auth = await open({ tokensFile: file(`${ONE}\n`) });
    const { app, maker } = await serveSignalling({ more: { authorize: (header) => auth.authorize(header) } });
    servers.push(app);
    const call = (url: string, authorization?: string) =>
      app.inject(post(OFFER, { ...SDP, origin: "https://example.org", ...(authorization && { authorization }) }, url));
    for (const url of [CALLS, WHIP]) {
      for (const [authorization, code, challenge] of [
        [undefined, "AUTH_REQUIRED", 'Bearer realm="earshot"'],
        ["Basic dXNlcjpwYXNz", "AUTH_REQUIRED", 'Bearer realm="earshot"'],
        [`Bearer ${OTHER}`, "AUTH_REFUSED", 'Bearer realm="earshot", error="invalid_token"'],
      ] as const) {
        const response = await call(url, authorization);
        assert.deepEqual(
          [response.statusCode, response.json().error.code, response.headers["www-authenticate"]],
          [401, code, challenge],
        );
        assert.equal(response.headers["access-control-allow-origin"], "*");
      }
    }
    assert.deepEqual(maker.wishes, []);
    for (const url of [CALLS, WHIP]) {
      const made = await call(url, `bearer ${ONE}`);
      assert.equal(made.statusCode, 201);
      const location = String(made.headers.location);
      assert.equal((await app.inject({ method: "DELETE", url: location })).statusCode, 200);
    }
    const preflight = await app.inject({
      method: "OPTIONS",
      url: CALLS,
      headers: { origin: "https://example.org", "access-control-request-method": "POST" },
    });
    assert.equal(preflight.statusCode, 204);
  });

  test("is for those of the list and those with a JSON web token, where there are both", async () => {
    const secret = randomBytes(32);
    const auth = await open({
      tokensFile: file(`${ONE}\n`),
      jwtKeysFile: file(JSON.stringify({ kty: "oct", k: secret.toString("base64url") })),
    });
    const jwt = await new SignJWT({}).setProtectedHeader({ alg: "HS256" }).setExpirationTime("1m").sign(secret);
    await auth.authorize(`Bearer ${ONE}`);
    await auth.authorize(`Bearer ${jwt}`);
    await assert.rejects(auth.authorize(`Bearer ${OTHER}`), { code: "AUTH_REFUSED" });
  });

  test("is open to all without a file, and fails at the start for one that is missing", async () => {
    assert.equal(await BearerAuth.open({ logger }), undefined);
    await assert.rejects(BearerAuth.open({ logger, tokensFile: join(folder, "gone") }), { code: "AUTH_FILE_MISSING" });
  });

  test("follows the file as it changes, and keeps to what it had while that is of no use", async () => {
    const tokensFile = file(`${ONE}\n`);
    const auth = await open({ tokensFile });
    const may = (token: string) =>
      auth.authorize(`Bearer ${token}`).then(
        () => true,
        () => false,
      );
    writeFileSync(tokensFile, `${OTHER}\n`);
    await eventually(
      "the change",
      () => may(OTHER),
      (allowed) => allowed,
    );
    assert.equal(await may(ONE), false);
    LOG.length = 0;
    writeFileSync(tokensFile, "short\n");
    await eventually(
      "the complaint",
      async () => LOG.join(""),
      (log) => log.includes("AUTH_FILE_INVALID"),
    );
    assert.equal(await may(OTHER), true);
    writeFileSync(tokensFile, `${ONE}\n`);
    await eventually(
      "the way back",
      () => may(ONE),
      (allowed) => allowed,
    );
    assert.equal(LOG.filter((line) => line.includes("AUTH_FILE_INVALID")).length, 1);
    assert.ok(!LOG.join("").includes(ONE) && !LOG.join("").includes("short"));
  });
});
