/**
 * Redis that moves while calls are on: a Sentinel makes another server the master, a slot of a Redis Cluster goes to another node. All
 * with real processes. The records of calls go where the keys are, and no call notices.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Redis } from "ioredis";
import { eventually } from "../kit/eventually.ts";
import { RedisServer } from "../kit/redis-server.ts";
import { CLUSTER, relaysBehindVip } from "../kit/relays-behind-vip.ts";
import { echoes } from "../kit/system.ts";

const PREFIX = "test:";
const PATIENCE_MS = 60_000;

function folder(context: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), "earshot-redis-"));
  context.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function server(context: TestContext, ...args: string[]): Promise<RedisServer> {
  const redis = await RedisServer.start(...args);
  context.after(() => redis.close());
  return redis;
}

const records = (client: Redis, count: number): Promise<string[]> =>
  eventually(
    `${count} records`,
    () => client.keys(`${PREFIX}{${CLUSTER}}:flow:*`),
    (keys) => keys.length === count,
    PATIENCE_MS,
  );

const info = (client: Redis, part: string, text: string): Promise<string> =>
  eventually(
    text,
    async () => String(await (part === "cluster" ? client.call("CLUSTER", "INFO") : client.info(part))),
    (said) => said.includes(text),
    PATIENCE_MS,
  );

test("a Sentinel makes another the master: records go there, and the call goes on", async (context) => {
  const master = await server(context);
  // What it gets from the master it puts into a file first.
  const place = ["--dir", folder(context)];
  const replica = await server(context, ...place, "--replicaof", "127.0.0.1", String(master.port));
  await info(replica.client, "replication", "master_link_status:up");
  const file = join(folder(context), "sentinel.conf");
  const rules = ["down-after-milliseconds voice 500", "failover-timeout voice 2000"].map(
    (rule) => `sentinel ${rule}\n`,
  );
  writeFileSync(file, `sentinel monitor voice 127.0.0.1 ${master.port} 1\n${rules.join("")}`);
  const sentinel = await RedisServer.startSentinel(file);
  context.after(() => sentinel.close());
  await info(sentinel.client, "sentinel", "slaves=1");

  const scene = await relaysBehindVip(context);
  await scene.relay({ redis: { url: `redis-sentinel://127.0.0.1:${sentinel.port}/voice`, prefix: PREFIX } });
  const { client } = await scene.call();
  await records(master.client, 1);
  await records(replica.client, 1);
  await master.kill();
  await echoes(client, "while nobody is the master");
  await info(replica.client, "replication", "role:master");
  await scene.call();
  await records(replica.client, 2);
  await echoes(client, "with the other master");
});

test("a slot of a Redis Cluster goes to another node: records go there, and the call goes on", async (context) => {
  const announced = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"];
  const nodes: RedisServer[] = [];
  for (let n = 0; n < 3; n++) nodes.push(await server(context, ...announced, "--dir", folder(context)));
  const [first, second, third] = nodes.map(({ client }) => client) as [Redis, Redis, Redis];
  for (const { port } of nodes.slice(1)) await first.call("CLUSTER", "MEET", "127.0.0.1", String(port));
  await first.call("CLUSTER", "ADDSLOTSRANGE", "0", "5460");
  await second.call("CLUSTER", "ADDSLOTSRANGE", "5461", "10922");
  await third.call("CLUSTER", "ADDSLOTSRANGE", "10923", "16383");
  for (const { client } of nodes) await info(client, "cluster", "cluster_state:ok");
  const slot = String(await first.call("CLUSTER", "KEYSLOT", `${PREFIX}{${CLUSTER}}:changes`));
  assert.ok(Number(slot) <= 5_460, "the slot is the first node's");

  const scene = await relaysBehindVip(context);
  // It knows but the one node that has not got the slot, and learns of the others.
  const url = `redis-cluster://127.0.0.1:${nodes[2]!.port}`;
  await scene.relay({ redis: { url, prefix: PREFIX } });
  const { client } = await scene.call();
  await records(first, 1);
  await move(slot, nodes[0]!, nodes[1]!);
  await scene.call();
  await records(second, 2);
  await echoes(client, "with the slot elsewhere");
  await scene.relay({ redis: { url, prefix: PREFIX } });
  await eventually(
    "the flows at a relay that starts",
    () => scene.metrics(1),
    (metrics) => metrics.sum("earshot_relay_redis_restored_total") === 2,
    PATIENCE_MS,
  );
});

/** As redis-cli's reshard does, with keys that are written meanwhile. */
async function move(slot: string, from: RedisServer, to: RedisServer): Promise<void> {
  const idOf = async ({ client }: RedisServer): Promise<string> => String(await client.call("CLUSTER", "MYID"));
  const [fromId, toId] = [await idOf(from), await idOf(to)];
  await to.client.call("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
  await from.client.call("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
  for (;;) {
    const keys = (await from.client.call("CLUSTER", "GETKEYSINSLOT", slot, "100")) as string[];
    if (keys.length === 0) break;
    await from.client.call("MIGRATE", "127.0.0.1", String(to.port), "", "0", "10000", "KEYS", ...keys);
  }
  for (const { client } of [to, from]) await client.call("CLUSTER", "SETSLOT", slot, "NODE", toId);
}
