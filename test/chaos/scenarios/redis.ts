/**
 * What Redis is good for, and what it cannot hurt. Owners are forgetful and clients send no checks in all of this, so nothing
 * but the table and Redis can place a packet.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { EstablishedResult } from "../../../bench/load/load-tools.ts";
import { eventually } from "../../kit/eventually.ts";
import { freeUdpPort } from "../../kit/free-udp-port.ts";
import type { Metrics } from "../../kit/metrics.ts";
import { RedisServer } from "../../kit/redis-server.ts";
import { type ChaosRelay, ChaosRig } from "../rig.ts";
import { type ChaosOptions, type Finding, finding, type Scenario, timed } from "../scenario.ts";
import { SlowProxy } from "../slow-proxy.ts";

const FLOW_KEY = "earshot:{1}:flow:";
const CAPACITY = 131_072;

async function withRedis<Result>(
  options: ChaosOptions,
  body: (rig: ChaosRig, redis: RedisServer) => Promise<Result>,
): Promise<Result> {
  const redis = await RedisServer.start();
  try {
    return await ChaosRig.with(options, { forgetful: true }, (rig) => body(rig, redis));
  } finally {
    await redis.close();
  }
}

const has = (relay: ChaosRelay, name: string, value: number, labels = ""): Promise<Metrics> =>
  eventually(
    `${value} ${name}`,
    () => relay.process.metrics(),
    (metrics) => metrics.sum(`earshot_relay_${name}`, labels) >= value,
    60_000,
  );

export const relayGoneWithRedis: Scenario = {
  name: "relay host gone, Redis up",
  short: false,
  async run(options) {
    const standing = await moved(options, false);
    const findings = [
      finding("flows served by the other relay", answered(options, standing), standing.unansweredFlows === 0),
      timed(options, "from a flow's first datagram there, at most 1 s", standing.movedMs.max, 1_000),
    ];
    if (options.short) return findings;
    const fresh = await moved(options, true);
    return [
      ...findings,
      finding("the same by one that has just started", answered(options, fresh), fresh.unansweredFlows === 0),
      timed(options, "from a flow's first datagram there, at most 1 s", fresh.movedMs.max, 1_000),
      ...(await startedUnderTraffic(options)),
    ];
  },
};

const answered = ({ flows }: ChaosOptions, { unansweredFlows }: EstablishedResult): string =>
  `${flows - unansweredFlows} of ${flows}`;

function moved(options: ChaosOptions, isFresh: boolean): Promise<EstablishedResult> {
  return withRedis(options, async (rig, redis) => {
    const first = await rig.startRelay({ redis: redis.url });
    const standing = isFresh ? undefined : await rig.startRelay({ redis: redis.url });
    await rig.load(first, { seconds: 0, setUp: true });
    await has(first, "redis_written_total", options.flows);
    if (standing !== undefined) await has(standing, "redis_restored_total", options.flows);
    await first.process.kill();
    const second = standing ?? (await rig.startRelay({ redis: redis.url }));
    return rig.load(second, { seconds: 2, moveAfterMs: 1, moveToPort: second.port });
  });
}

/** The other relay starts while the traffic is there already: what it could not place, with holding and without. */
async function startedUnderTraffic(options: ChaosOptions): Promise<readonly Finding[]> {
  const held = await unplacedAtStart(options, {});
  const dropped = await unplacedAtStart(options, { redisHoldMs: 0 });
  const text = ({ lost, came }: Unplaced) => `${lost} of ${came}`;
  return [
    finding("one that starts under that traffic: datagrams that it dropped", text(held), held.lost < dropped.lost),
    finding("control: without holding", text(dropped), dropped.lost > 0),
  ];
}

interface Unplaced {
  readonly lost: number;
  /** In the load's time. */
  readonly came: number;
}

function unplacedAtStart(options: ChaosOptions, settings: Readonly<Record<string, unknown>>): Promise<Unplaced> {
  return withRedis(options, async (rig, redis) => {
    const first = await rig.startRelay({ redis: redis.url });
    await rig.load(first, { seconds: 0, setUp: true });
    await has(first, "redis_written_total", options.flows);
    await first.process.kill();
    const port = await freeUdpPort();
    const loading = rig.load({ ...first, port }, { seconds: 5 });
    const second = await rig.startRelay({ redis: redis.url, listen: `127.0.0.1:${port}`, ...settings });
    await loading;
    const metrics = await second.process.metrics();
    return {
      lost: metrics.sumOfAll("earshot_relay_up_drop_"),
      came: metrics.sum("earshot_relay_up_received_total"),
    };
  });
}

export const preload: Scenario = {
  name: "preload from Redis",
  short: false,
  async run(options) {
    const flows = 100_000;
    return withRedis(options, async (rig, redis) => {
      await fill(redis, rig.flowRecords(flows));
      const relay = await rig.startRelay({ redis: redis.url, flowCapacity: CAPACITY });
      const metrics = await has(relay, "redis_preload_flows", 1).then(() => has(relay, "redis_restored_total", flows));
      const tookMs = metrics.sum("earshot_relay_redis_preload_seconds") * 1_000;
      const cpuS = metrics.sum("earshot_relay_process_cpu_seconds_total");
      return [
        finding("the relay's CPU time until then", `${cpuS.toFixed(1)} s`, true),
        finding(
          "100,000 flows in the table",
          `${metrics.sum("earshot_relay_flows")}`,
          metrics.sum("earshot_relay_flows") === flows,
        ),
        timed(options, "in about a second", tookMs, 2_000),
      ];
    });
  },
};

async function fill(redis: RedisServer, records: ReadonlyMap<string, Buffer>): Promise<void> {
  let pipeline = redis.client.pipeline();
  for (const [name, record] of records) {
    pipeline.set(FLOW_KEY + name, record, "EX", 90);
    if (pipeline.length < 1_000) continue;
    await pipeline.exec();
    pipeline = redis.client.pipeline();
  }
  await pipeline.exec();
}

/** Client datagrams and frames that found no flow: what the table could place is never among them. */
export const unplaced = (metrics: Metrics): number =>
  ["up_drop_no_flow", "up_drop_tentative", "frame_drop_unknown_path", "frame_drop_not_owner"].reduce(
    (sum, name) => sum + metrics.sum(`earshot_relay_${name}_total`),
    0,
  );

export const redisTrouble: Scenario = {
  name: "Redis stops, is slow, flushed, killed, full of lies",
  short: true,
  async run(options) {
    const spellMs = options.short ? 1_500 : 30_000;
    const poisoned = options.short ? 10_000 : 100_000;
    return withRedis(options, async (rig, redis) => {
      const proxy = await SlowProxy.open(redis.port);
      try {
        const relay = await rig.startRelay({ redis: `redis://127.0.0.1:${proxy.port}`, flowCapacity: CAPACITY });
        await rig.load(relay, { seconds: 0, setUp: true });
        await has(relay, "redis_written_total", options.flows);
        const before = await relay.process.metrics();
        const seconds = Math.ceil((3 * spellMs) / 1_000) + (options.short ? 3 : 15);
        const loading = rig.load(relay, { seconds });
        redis.pause();
        await sleep(spellMs);
        redis.resume();
        proxy.delayMs = 700;
        await sleep(spellMs);
        proxy.delayMs = 0;
        await redis.client.flushall();
        await redis.kill();
        proxy.cut = true;
        await redis.startAgain();
        await fill(redis, rig.poisonedRecords(poisoned));
        // Only now does the relay reach it again, and loads all of that.
        proxy.cut = false;
        // Those of a transceiver that is gone wait for it a while longer.
        const after = await has(relay, "redis_rejected_total", (poisoned * 4) / 5);
        const result = await loading;
        const rest = await relay.process.metrics();
        const lost = result.lost - result.ownKernelDrops - rest.sum("earshot_relay_kernel_drops_total");
        const grown =
          (after.sum("earshot_relay_process_resident_memory_bytes") -
            before.sum("earshot_relay_process_resident_memory_bytes")) /
          2 ** 20;
        return [
          finding(
            "packets that the table could not place: none",
            `${unplaced(rest) - unplaced(before)}`,
            unplaced(rest) === unplaced(before),
          ),
          finding(
            "packets lost, but for a machine that is too busy: none",
            `${Math.max(0, lost)} of ${result.sent}`,
            lost <= 0,
          ),
          timed(options, "longest gap of a flow, at most 300 ms", result.gapMs.max, 300),
          finding(
            `of ${poisoned} poisoned values used: none`,
            `${rest.sum("earshot_relay_flows") - options.flows}`,
            rest.sum("earshot_relay_flows") === options.flows,
          ),
          finding("memory grown, at most 128 MiB", `${grown.toFixed(0)} MiB`, grown <= 128),
        ];
      } finally {
        proxy.close();
      }
    });
  },
};
