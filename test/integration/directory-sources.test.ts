/** Transceivers that a relay finds by itself: by their heartbeats in Redis, and by name. Only who answers is used. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { stringify } from "yaml";
import { EarshotProcess, runEarshot } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { freeUdpPort } from "../kit/free-udp-port.ts";
import { RedisServer } from "../kit/redis-server.ts";

interface Place {
  keys: string;
  start(command: string, settings: Readonly<Record<string, unknown>>): Promise<EarshotProcess>;
}

function place(context: TestContext): Place {
  const folder = mkdtempSync(join(tmpdir(), "earshot-directory-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const keys = join(folder, "keys.json");
  runEarshot("keys", "new", "--out", keys);
  let files = 0;
  return {
    keys,
    start: async (command, settings) => {
      const file = join(folder, `${++files}.yaml`);
      writeFileSync(file, stringify({ http: "127.0.0.1:0", logLevel: "warn", ...settings }));
      const service = await EarshotProcess.start(command, "--keys", keys, "--config", file);
      context.after(() => service.kill());
      return service;
    },
  };
}

const live = (relay: EarshotProcess, count: number) =>
  eventually(
    `${count} live transceivers`,
    () => relay.metrics(),
    (metrics) => metrics.sum("earshot_relay_transceivers", 'state="live"') === count,
    20_000,
  );

test("a relay finds transceivers by their heartbeats, and keeps them when Redis dies", async (context) => {
  const redis = await RedisServer.start();
  context.after(() => redis.close());
  const { start } = place(context);
  const settings = { redis: redis.url, redisPrefix: "fleet:" };
  const relay = await start("relay", { ...settings, listen: "127.0.0.1:0", workers: 1 });
  const transceiver = { ...settings, trunk: "127.0.0.1:0", advertise: "127.0.0.1:3478" };
  await start("transceiver", { ...transceiver, id: 7 });
  await live(relay, 1);
  await redis.client.hset("fleet:{1}:transceivers", "9", "made up", "x", "y");
  await start("transceiver", { ...transceiver, id: 8 });
  await live(relay, 2);
  await redis.kill();
  await eventually(
    "redis away",
    () => relay.metrics(),
    (metrics) => metrics.sum("earshot_relay_redis_up") === 0,
  );
  await live(relay, 2);
});

test("a heartbeat from outside the allowed networks is not followed", async (context) => {
  const redis = await RedisServer.start();
  context.after(() => redis.close());
  const { start } = place(context);
  const relay = await start("relay", {
    redis: redis.url,
    listen: "127.0.0.1:0",
    workers: 1,
    directoryNetworks: "10.0.0.0/8",
  });
  await start("transceiver", { redis: redis.url, trunk: "127.0.0.1:0", advertise: "127.0.0.1:3478", id: 7 });
  await eventually(
    "the refusal",
    async () => relay.log,
    (log) => log.includes("outside the allowed networks"),
    20_000,
  );
  const metrics = await relay.metrics();
  for (const state of ["unanswered", "live"]) {
    assert.equal(metrics.sum("earshot_relay_transceivers", `state="${state}"`), 0, state);
  }
});

test("a relay finds transceivers by name", async (context) => {
  const { start } = place(context);
  const trunk = await freeUdpPort();
  // A name that every resolver knows.
  const dns = { directoryDns: `127.0.0.{id}:${trunk}`, directoryDnsIds: "1-2" };
  const relay = await start("relay", { ...dns, listen: "127.0.0.1:0", workers: 1 });
  await start("transceiver", { trunk: `127.0.0.1:${trunk}`, advertise: "127.0.0.1:3478" });
  await live(relay, 1);
});
