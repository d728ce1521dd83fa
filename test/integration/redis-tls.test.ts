/**
 * Redis by TLS, with relays as processes and a redis-server that speaks it. A server that cannot show that it is the right one is
 * warned of and never used: no record, no password and nothing in the clear gets to it, and calls go on without.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pino } from "pino";
import { RedisLink } from "../../src/redis/redis-link.ts";
import { type Certificate, CertificateAuthority } from "../kit/certificates.ts";
import { EarshotProcess, runEarshot } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { freeUdpPort } from "../kit/free-udp-port.ts";
import { freeTcpPort, RedisServer } from "../kit/redis-server.ts";
import { echoes } from "../kit/system.ts";
import { Vip } from "../kit/vip.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const LOCAL = "127.0.0.1:0";
const PATIENCE_MS = 60_000;
const PASSWORD = "word";
/** What docs/recovery.md says that a user needs. */
const RIGHTS =
  "~earshot:* -@all +@connection +info +set +getrange +mget +del +expire +scan +xadd +xrange +xrevrange +hset +hgetall";

/** A server with that certificate, which lets in only a user with few rights; and its URL for a client that calls it `localhost`. */
async function tlsServer(context: TestContext, { certificate, key }: Certificate) {
  const port = await freeTcpPort();
  const tls = ["--tls-port", String(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", certificate];
  const redis = await RedisServer.start(...tls, "--tls-cert-file", certificate, "--tls-key-file", key);
  context.after(() => redis.close());
  await redis.client.call("ACL", "SETUSER", "earshot", "on", `>${PASSWORD}`, ...RIGHTS.split(" "));
  return { redis, url: `rediss://earshot:${PASSWORD}@localhost:${port}` };
}

/** A transceiver behind one address, and relays that come to be behind it. */
async function scene(context: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "earshot-tls-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const keys = join(folder, "keys.json");
  runEarshot("keys", "new", "--out", keys);
  const trunk = await freeUdpPort();
  const vip = await Vip.open();
  context.after(() => vip.close());
  const advertised = ["--trunk", `127.0.0.1:${trunk}`, "--advertise", `127.0.0.1:${vip.port}`];
  const transceiver = await EarshotProcess.start("transceiver", "--keys", keys, "--http", LOCAL, ...advertised);
  context.after(() => transceiver.kill());

  /** One more relay, which trusts that authority, if any, beside those that everybody trusts. It gets the next call. */
  const relay = async (redis: string, authority?: string): Promise<EarshotProcess> => {
    const port = await freeUdpPort();
    const config = join(folder, `relay-${port}.json`);
    writeFileSync(config, JSON.stringify({ redis, directory: [{ id: 1, address: "127.0.0.1", port: trunk }] }));
    if (authority !== undefined) process.env.NODE_EXTRA_CA_CERTS = authority;
    const listen = ["--listen", `127.0.0.1:${port}`, "--workers", "1"];
    const relay = EarshotProcess.start("relay", "--keys", keys, "--http", LOCAL, "--config", config, ...listen);
    delete process.env.NODE_EXTRA_CA_CERTS;
    const started = await relay;
    context.after(() => started.kill());
    vip.relays = [port];
    await eventually(
      "a relay that is ready",
      () => fetch(`${started.url}/readyz`),
      ({ status }) => status === 200,
      PATIENCE_MS,
    );
    return started;
  };

  const call = async (): Promise<WeriftClient> => {
    const client = new WeriftClient({ data: false });
    context.after(() => client.close());
    const headers = { "content-type": "application/sdp" };
    const body = await client.offer();
    const answer = await fetch(`${transceiver.url}/v1/realtime/calls`, { method: "POST", headers, body });
    assert.equal(answer.status, 201);
    await client.accept(await answer.text());
    await client.connected();
    return client;
  };
  return { relay, call };
}

test("a relay uses a Redis by TLS, as a user with few rights, if it trusts its certificate", async (context) => {
  const authority = new CertificateAuthority();
  context.after(() => authority.close());
  const { redis, url } = await tlsServer(context, authority.issue("localhost"));
  const { relay, call } = await scene(context);
  const first = await relay(url, authority.certificate);
  await call();
  await eventually(
    "its record",
    () => redis.client.keys("earshot:{1}:flow:*"),
    ({ length }) => length === 1,
    PATIENCE_MS,
  );
  assert.equal((await first.metrics()).sum("earshot_relay_redis_up"), 1);
  const second = await relay(url, authority.certificate);
  await eventually(
    "the flow at another relay",
    () => second.metrics(),
    (metrics) => metrics.sum("earshot_relay_redis_restored_total") === 1,
    PATIENCE_MS,
  );
});

test("a Redis that is not proved to be the right one is not used, and calls go on", async (context) => {
  const authority = new CertificateAuthority();
  context.after(() => authority.close());
  const { relay, call } = await scene(context);
  const cases = [
    { what: "of an authority that nobody knows", issued: authority.issue("localhost"), says: "unable to verify" },
    {
      what: "that has expired",
      issued: authority.issue("localhost", -1),
      knows: true,
      says: "certificate has expired",
    },
    { what: "of another host", issued: authority.issue("elsewhere"), knows: true, says: "does not match certificate" },
  ];
  for (const { what, issued, knows, says } of cases) {
    const { redis, url } = await tlsServer(context, issued);
    const started = await relay(url, knows === true ? authority.certificate : undefined);
    await eventually(
      `a warning of a certificate ${what}`,
      async () => started.log,
      (log) => log.includes("redis is away") && log.includes(says),
      PATIENCE_MS,
    );
    assert.ok(!started.log.includes(PASSWORD), "the password is in no line");
    await echoes(await call(), `beside a certificate ${what}`);
    assert.equal((await started.metrics()).sum("earshot_relay_redis_up"), 0);
    assert.deepEqual(await redis.client.keys("*"), []);
    const logins = String(await redis.client.info("commandstats"));
    assert.ok(!logins.includes("cmdstat_auth"), "nobody has told it a password");
    await started.stop();
  }
});

test("where TLS is asked for, nothing is ever said in the clear", async (context) => {
  const said: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    // As a server that knows no TLS: an error, and the end.
    socket.once("data", (bytes) => {
      said.push(bytes);
      socket.end("-ERR unknown command\r\n");
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => server.close());
  const lines: string[] = [];
  const logger = pino({ level: "warn" }, { write: (line: string) => lines.push(line) });
  const url = `rediss://earshot:${PASSWORD}@localhost:${(server.address() as AddressInfo).port}`;
  const link = new RedisLink({ url, prefix: "p:", cluster: 1, logger });
  context.after(() => link.close());
  link.open();
  await eventually(
    "several attempts",
    async () => said.length,
    (attempts) => attempts >= 3,
    PATIENCE_MS,
  );
  for (const bytes of said) {
    assert.equal(bytes[0], 0x16, "a TLS handshake");
    assert.ok(!bytes.includes(PASSWORD));
  }
  assert.equal(lines.length, 1, "one warning for all of them");
  assert.match(lines[0]!, /redis is away/);
});
