/** The ways in which Redis is run: alone, with users, watched by a Sentinel, as a cluster; and one that answers too much. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pino } from "pino";
import { MOST_REPLY_BYTES } from "../../src/redis/limits.ts";
import { RedisLink } from "../../src/redis/redis-link.ts";
import { eventually } from "../kit/eventually.ts";
import { RedisServer } from "../kit/redis-server.ts";
import { until } from "../kit/until.ts";

function open(context: TestContext, url: string): RedisLink {
  const link = new RedisLink({ url, prefix: "p:", cluster: 3, logger: pino({ level: "silent" }) });
  context.after(() => link.close());
  link.open();
  return link;
}

const isThere = (link: RedisLink) =>
  until(
    () => link.isReady,
    () => "redis is not there",
  );

/** Everything that Earshot does with Redis. */
async function serves(link: RedisLink): Promise<void> {
  await isThere(link);
  const keys = Array.from({ length: 300 }, (_, i) => link.key(`flow:${i}`));
  await link.together((pipeline) => {
    for (const key of keys) pipeline.set(key, "value");
    pipeline.hset(link.key("hash"), "field", "value");
    pipeline.xadd(link.key("stream"), "*", "c", "first");
  });
  const found = new Set<string>();
  for await (const some of link.keysOf("flow:", 100)) for (const key of some) found.add(key);
  assert.deepEqual([...found].sort(), [...keys].sort());
  const values = await link.values([keys[0]!, link.key("none"), link.key("hash"), keys[1]!], 3);
  assert.deepEqual(values.map(String), ["val", "", "", "val"]);
  const whole = await link.wholeValues([keys[0]!, link.key("none"), link.key("hash"), keys[1]!]);
  assert.deepEqual(whole.map(String), ["value", "", "", "value"]);
  assert.deepEqual([...(await link.fields(link.key("hash")))].map(String), ["field,value"]);
  const end = await link.streamEnd(link.key("stream"));
  await link.together((pipeline) => pipeline.xadd(link.key("stream"), "*", "c", "second"));
  const news = await link.streamAfter(link.key("stream"), end, 10);
  assert.deepEqual(
    news.map(({ value }) => String(value)),
    ["second"],
  );
  assert.equal(await link.streamEnd(link.key("nothing")), "0-0");
}

async function server(context: TestContext, ...args: string[]): Promise<RedisServer> {
  const redis = await RedisServer.start(...args);
  context.after(() => redis.close());
  return redis;
}

test("one server", async (context) => serves(open(context, (await server(context)).url)));

test("a user with a password, who may do no more than he needs", async (context) => {
  const redis = await server(context);
  const rights = ["~p:*", "-@all", "+@connection", "+info", "+set", "+getrange", "+mget", "+del", "+expire"];
  const more = ["+scan", "+xadd", "+xrange", "+xrevrange", "+hset", "+hgetall"];
  await redis.client.call("ACL", "SETUSER", "relay", "on", ">se:cret", ...rights, ...more);
  await redis.client.call("ACL", "SETUSER", "default", "off");
  await serves(open(context, `redis://relay:se%3Acret@127.0.0.1:${redis.port}`));
  const wrong = open(context, `redis://relay:wrong@127.0.0.1:${redis.port}`);
  await assert.rejects(wrong.values(["key"], 1), { code: "REDIS_AWAY" });
});

test("a master that a Sentinel watches", async (context) => {
  const redis = await server(context);
  const folder = mkdtempSync(join(tmpdir(), "earshot-sentinel-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "sentinel.conf");
  writeFileSync(file, `sentinel monitor voice 127.0.0.1 ${redis.port} 1\n`);
  const sentinel = await RedisServer.startSentinel(file);
  context.after(() => sentinel.close());
  await serves(open(context, `redis-sentinel://127.0.0.1:${sentinel.port}/voice`));
});

test("a Redis Cluster", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "earshot-cluster-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const announced = ["--cluster-announce-ip", "127.0.0.1"];
  const redis = await server(context, "--cluster-enabled", "yes", "--dir", folder, ...announced);
  await redis.client.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  await eventually(
    "a cluster that works",
    async () => String(await redis.client.call("CLUSTER", "INFO")),
    (info) => info.includes("cluster_state:ok"),
  );
  await serves(open(context, `redis-cluster://127.0.0.1:${redis.port}`));
});

test("an answer without end is cut off, and Redis is used again", async (context) => {
  const redis = await server(context);
  const link = open(context, redis.url);
  await isThere(link);
  await redis.client.hset(link.key("hash"), "field", Buffer.alloc(2 * MOST_REPLY_BYTES));
  await assert.rejects(link.fields(link.key("hash")));
  await redis.client.del(link.key("hash"));
  await serves(link);
});
