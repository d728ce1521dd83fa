/**
 * Flows in Redis: another relay has them when traffic moves to it, ended ones are gone, and whatever somebody puts there, or
 * does to Redis, gives nobody a flow and takes none from a call. Owners are not asked here, and clients send no check once
 * the traffic has moved, so nothing but Redis can have brought a flow to the other relay.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { flowBody, RECORD_KIND, sealRecord } from "../../src/redis/record.ts";
import { sealToken } from "../../src/token/token.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { eventually } from "../kit/eventually.ts";
import { RedisServer } from "../kit/redis-server.ts";
import { CLUSTER, type RelaysBehindVip, relaysBehindVip } from "../kit/relays-behind-vip.ts";
import { echoes } from "../kit/system.ts";
import { isCheck } from "../kit/vip.ts";

const PREFIX = "test:";
const KIND_AT = 34;
const keyOf = (path: Buffer): string => `${PREFIX}{${CLUSTER}}:flow:${path.toString("hex")}`;

async function sceneWithRedis(context: TestContext, ...args: string[]) {
  const redis = await RedisServer.start(...args);
  context.after(() => redis.close());
  const scene = await relaysBehindVip(context);
  scene.tap.loses = ({ datagram }) => datagram[KIND_AT] === FRAME_KIND.unknownPath;
  return { redis, scene, settings: { redis: { url: redis.url, prefix: PREFIX } } };
}

/** All records of flows. */
const records = (redis: RedisServer): Promise<string[]> => redis.client.keys(`${PREFIX}*flow:*`);

const restored = (scene: RelaysBehindVip, relay: number, flows = 1) =>
  eventually(
    `${flows} flows from redis`,
    () => scene.metrics(relay),
    (metrics) => metrics.sum("earshot_relay_redis_restored_total") === flows,
  );

for (const engine of ["native", "js"] as const) {
  test(`a relay that starts later has the flow by preload (${engine} engine)`, async (context) => {
    const { redis, scene, settings } = await sceneWithRedis(context);
    const first = await scene.relay({ engine, ...settings });
    const { client } = await scene.call();
    await eventually(
      "a record",
      () => records(redis),
      (keys) => keys.length === 1,
    );
    const ttl = await redis.client.ttl((await records(redis))[0]!);
    assert.ok(ttl > 60 && ttl <= 90, `${ttl} s`);
    scene.vip.loses = isCheck;
    await first.stop();
    await scene.relay({ engine, ...settings });
    scene.vip.choose = () => 1;
    await restored(scene, 1);
    await echoes(client, "by way of the second relay");
    const metrics = await scene.metrics(1);
    assert.equal(metrics.sum("earshot_relay_up_missed_total"), 0);
    assert.equal(metrics.sum("earshot_relay_assert_received_total"), 0);
  });
}

test("a relay that is there already has the flow by the change stream, and either can serve it", async (context) => {
  const { scene, settings } = await sceneWithRedis(context);
  await scene.relay(settings);
  await scene.relay(settings);
  const { client } = await scene.call();
  await restored(scene, 1);
  scene.vip.loses = isCheck;
  for (const relay of [1, 0, 1, 0]) {
    scene.vip.choose = () => relay;
    await echoes(client, `by way of relay ${relay}, after ${client.received.length} words`);
  }
});

test("without Redis the other relay has no flow until the next check", async (context) => {
  const { scene } = await sceneWithRedis(context);
  const first = await scene.relay();
  await scene.relay();
  const { client } = await scene.call();
  scene.vip.loses = isCheck;
  await first.stop();
  scene.vip.choose = () => 1;
  client.sendAudio({ payload: Buffer.from("lost"), timestamp: 0 });
  await eventually(
    "the loss",
    () => scene.metrics(1),
    (metrics) => metrics.sum("earshot_relay_up_drop_no_flow_total") > 0,
  );
  assert.equal((await scene.metrics(1)).sum("earshot_relay_flows"), 0);
});

test("a session that ends takes its record with it, and its flow at every relay", async (context) => {
  const { redis, scene, settings } = await sceneWithRedis(context);
  await scene.relay(settings);
  await scene.relay(settings);
  const { id } = await scene.call();
  await restored(scene, 1);
  await scene.transceiver.endCall(id);
  for (const relay of [0, 1]) {
    await eventually(
      `no flow at relay ${relay}`,
      () => scene.metrics(relay),
      (metrics) => metrics.sum("earshot_relay_flows") === 0,
    );
  }
  assert.deepEqual(await records(redis), []);
});

test("the flow of a transceiver that was replaced is not restored", async (context) => {
  const { redis, scene, settings } = await sceneWithRedis(context);
  const first = await scene.relay(settings);
  await scene.call();
  await eventually(
    "a record",
    () => records(redis),
    (keys) => keys.length === 1,
  );
  const [record] = await records(redis);
  const value = await redis.client.getBuffer(record!);
  await first.stop();
  await scene.replaceTransceiver();
  await redis.client.set(record!, value!);
  await scene.relay(settings);
  await eventually(
    "the end of the wait",
    () => scene.metrics(1),
    (metrics) => metrics.sum("earshot_relay_redis_rejected_total", 'reason="transceiver"') === 1,
    20_000,
  );
  assert.equal((await scene.metrics(1)).sum("earshot_relay_flows"), 0);
});

test("what somebody put into Redis gives nobody a flow", async (context) => {
  const { redis, scene, settings } = await sceneWithRedis(context);
  const { keys } = scene;
  const now = Date.now();
  const ufragOf = (fields: { transceiver?: number; cluster?: number; expiresAtMs?: number }): string =>
    sealToken(
      { cluster: CLUSTER, transceiver: 12, epoch: scene.epoch, expiresAtMs: now + 60_000, nonce: 1, ...fields },
      keys.signing,
    );
  const record = (path: Buffer, ufrag: string, timeMs = now, kind: 1 | 2 | 3 = RECORD_KIND.flow, cluster = CLUSTER) =>
    sealRecord(keys.signing, cluster, path, {
      kind,
      timeMs,
      body: flowBody({ transceiver: 12, epoch: scene.epoch, ufrags: [ufrag] }),
    });
  const path = (host: number, ingress = 1): Buffer => pathBytes(ingress, `127.0.1.${host}`, 5_000);
  const good = ufragOf({});
  const flipped = record(path(2), good);
  flipped[20]! ^= 1;
  const otherKey = record(path(9), good);
  otherKey[2] = 63;
  const trunkEnd = pathBytes(1, "127.0.0.1", scene.tap.port);
  const bad: readonly (readonly [reason: string, path: Buffer, value: Buffer | string])[] = [
    ["malformed", path(1), "nonsense"],
    ["mac", path(2), flipped],
    ["mac", path(3), record(path(4), good)],
    ["stale", path(5), record(path(5), good, now - 200_000)],
    ["stale", path(6), record(path(6), good, now + 200_000)],
    ["token", path(7), record(path(7), ufragOf({ transceiver: 13 }))],
    ["token", path(8), record(path(8), ufragOf({ expiresAtMs: now - 300_000 }))],
    ["key", path(9), otherKey],
    ["token", path(10), record(path(10), ufragOf({ cluster: CLUSTER + 1 }))],
    ["mac", path(11), record(path(11), good, now, RECORD_KIND.flow, CLUSTER + 1)],
    ["malformed", path(12), Buffer.concat([record(path(12), good), Buffer.alloc(100)])],
    ["ingress", path(13, 2), record(path(13, 2), good)],
    ["malformed", path(14), record(path(14), good, now, RECORD_KIND.heartbeat)],
    ["source", trunkEnd, record(trunkEnd, good)],
    ["malformed", Buffer.from("060001", "hex"), record(Buffer.from("060001", "hex"), good)],
  ];
  for (const [, at, value] of bad) await redis.client.set(keyOf(at), value);
  await redis.client.rpush(keyOf(path(15)), "a list");
  await redis.client.set(keyOf(path(16)), "x".repeat(8 << 20));
  await redis.client.set(keyOf(path(17)), record(path(17), good));
  await redis.client.xadd(`${PREFIX}{${CLUSTER}}:changes`, "*", "c", "\u00ff".repeat(1_000));
  await scene.relay(settings);
  await restored(scene, 0);
  const metrics = await scene.metrics(0);
  const expected: Record<string, number> = { malformed: 1 };
  for (const [reason] of bad) expected[reason] = (expected[reason] ?? 0) + 1;
  for (const [reason, count] of Object.entries(expected)) {
    assert.equal(metrics.sum("earshot_relay_redis_rejected_total", `reason="${reason}"`), count, reason);
  }
  assert.equal(metrics.sum("earshot_relay_flows"), 1, "the good one among them");
});

test("a call goes on while Redis stands still, is flushed, dies and comes back", async (context) => {
  const { redis, scene, settings } = await sceneWithRedis(context);
  await scene.relay(settings);
  const { client } = await scene.call();
  await eventually(
    "a record",
    () => records(redis),
    (keys) => keys.length === 1,
  );
  const isUp = (up: number) =>
    eventually(
      `redis ${up === 1 ? "there" : "away"}`,
      () => scene.metrics(0),
      (metrics) => metrics.sum("earshot_relay_redis_up") === up,
    );
  redis.pause();
  await echoes(client, "while it stands still");
  await sleep(1_500);
  redis.resume();
  await redis.client.flushall();
  await echoes(client, "after it was flushed");
  await redis.kill();
  await isUp(0);
  await echoes(client, "after it died");
  await redis.startAgain();
  await isUp(1);
  await echoes(client, "after it came back");
  assert.equal((await scene.metrics(0)).sum("earshot_relay_flows", 'state="assured"'), 1);
});

test("a relay starts at once where Redis is not there", async (context) => {
  const scene = await relaysBehindVip(context);
  await scene.relay({ redis: { url: "redis://127.0.0.1:1", prefix: PREFIX } });
  const { client } = await scene.call();
  await echoes(client, "without it");
  assert.equal((await scene.metrics(0)).sum("earshot_relay_redis_up"), 0);
});
