/**
 * A relay that has just started holds the first datagrams of calls that it does not know while it looks them up in Redis. The
 * preload is withheld by an ACL user that may not SCAN, owners are not asked and clients send no checks, so that nothing but a
 * look-up can place a datagram.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { RelayOptions } from "../../src/relay/relay.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { assertUpBalanced } from "../kit/accounting.ts";
import { eventually } from "../kit/eventually.ts";
import type { Metrics } from "../kit/metrics.ts";
import { RedisServer } from "../kit/redis-server.ts";
import { CLUSTER, type RelaysBehindVip, relaysBehindVip } from "../kit/relays-behind-vip.ts";
import { echoes } from "../kit/system.ts";
import { isCheck } from "../kit/vip.ts";
import type { WeriftClient } from "../kit/werift-client.ts";

const PREFIX = "test:";
const KIND_AT = 34;
/** Longer than any test. */
const HOLD_MS = 600_000;
const WITHIN_MS = 30_000;

interface Moved {
  readonly scene: RelaysBehindVip;
  readonly redis: RedisServer;
  readonly client: WeriftClient;
  /** Of the call's flow, in Redis. */
  readonly key: string;
  /** What the next relay is told. */
  readonly settings: Partial<RelayOptions>;
}

/** A call whose relay is gone; its record is in Redis, where the next relay may look single ones up. */
async function movedCall(context: TestContext, engine: "native" | "js", holdMs: number): Promise<Moved> {
  const redis = await RedisServer.start();
  context.after(() => redis.close());
  await redis.client.acl("SETUSER", "noscan", "on", ">secret", "~*", "+@all", "-scan");
  const scene = await relaysBehindVip(context);
  scene.tap.loses = ({ datagram }) => datagram[KIND_AT] === FRAME_KIND.unknownPath;
  const first = await scene.relay({ redis: { url: redis.url, prefix: PREFIX } });
  const { client } = await scene.call();
  const [key] = await eventually(
    "a record",
    () => redis.client.keys(`${PREFIX}{${CLUSTER}}:flow:*`),
    (keys) => keys.length === 1,
    WITHIN_MS,
  );
  scene.vip.loses = isCheck;
  scene.vip.choose = () => 1;
  await first.stop();
  const url = `redis://noscan:secret@127.0.0.1:${redis.port}`;
  return { scene, redis, client, key: key!, settings: { engine, redis: { url, prefix: PREFIX, holdMs } } };
}

const until = (scene: RelaysBehindVip, what: string, enough: (metrics: Metrics) => boolean): Promise<Metrics> =>
  eventually(what, () => scene.metrics(1), enough, WITHIN_MS);
const up = (metrics: Metrics, name: string): number => metrics.sum(`earshot_relay_up_${name}_total`);

for (const engine of ["native", "js"] as const) {
  test(`the first packets of a call that moves there arrive (${engine} engine)`, async (context) => {
    const { scene, client, settings } = await movedCall(context, engine, HOLD_MS);
    await scene.relay(settings);
    await Promise.all(["one", "two", "three"].map((mark) => echoes(client, mark)));
    const metrics = await until(scene, "nothing under way", (now) => now.sum("earshot_relay_held") === 0);
    assert.equal(metrics.sumOfAll("earshot_relay_up_drop_"), 0);
    assert.ok(up(metrics, "held") > 0);
    assert.equal(metrics.sum("earshot_relay_redis_lookups_found_total"), 1);
    assert.equal(metrics.sum("earshot_relay_redis_preload_flows"), 0);
    assertUpBalanced(metrics);
  });

  test(`control: without holding they are lost (${engine} engine)`, async (context) => {
    const { scene, client, settings } = await movedCall(context, engine, 0);
    await scene.relay(settings);
    client.sendAudio({ payload: Buffer.from("lost"), timestamp: 0 });
    const metrics = await until(scene, "the loss", (now) => up(now, "drop_no_flow") > 0);
    assert.deepEqual([up(metrics, "held"), up(metrics, "forwarded"), metrics.sum("earshot_relay_flows")], [0, 0, 0]);
  });

  test(`a record that somebody has tampered with places nothing (${engine} engine)`, async (context) => {
    const { scene, redis, client, key, settings } = await movedCall(context, engine, HOLD_MS);
    const forged = (await redis.client.getBuffer(key))!;
    forged[20]! ^= 1;
    await redis.client.set(key, forged);
    await scene.relay(settings);
    client.sendAudio({ payload: Buffer.from("for nobody"), timestamp: 0 });
    await until(scene, "the drop", (now) => up(now, "drop_hold_unknown") > 0);
    const metrics = await until(scene, "nothing under way", (now) => now.sum("earshot_relay_held") === 0);
    assert.ok(metrics.sum("earshot_relay_redis_rejected_total", 'reason="mac"') > 0);
    assert.deepEqual([up(metrics, "forwarded"), metrics.sum("earshot_relay_flows")], [0, 0]);
    assert.equal(metrics.sum("earshot_relay_redis_lookups_found_total"), 0);
    assertUpBalanced(metrics);
  });
}

test("a relay stops holding as soon as it has read all of Redis, and drops what it held for nobody", async (context) => {
  const { scene, redis, client, key } = await movedCall(context, "native", HOLD_MS);
  await redis.client.del(key);
  await scene.relay({ redis: { url: redis.url, prefix: PREFIX, holdMs: HOLD_MS } });
  await until(scene, "the end of holding", (now) => now.sum("earshot_relay_redis_holding") === 0);
  const before = up(await scene.metrics(1), "held");
  client.sendAudio({ payload: Buffer.from("for nobody"), timestamp: 0 });
  const metrics = await until(scene, "the loss", (now) => up(now, "drop_no_flow") > 0);
  assert.deepEqual([up(metrics, "held"), up(metrics, "forwarded")], [before, 0]);
  assertUpBalanced(metrics);
});

test("a relay that stops while it holds counts what it held", async (context) => {
  const { scene, redis, client, settings } = await movedCall(context, "native", HOLD_MS);
  const relay = await scene.relay(settings);
  redis.pause();
  client.sendAudio({ payload: Buffer.from("too late"), timestamp: 0 });
  await until(scene, "something held", (now) => up(now, "held") > 0);
  const stopping = relay.stop();
  redis.resume();
  await stopping;
  const metrics = await scene.metrics(1);
  assert.equal(metrics.sum("earshot_relay_held"), 0);
  assertUpBalanced(metrics);
});
