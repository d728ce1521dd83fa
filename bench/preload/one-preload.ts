/**
 * One preload, for bench/preload.bench.ts: a process that starts, as a relay does, with nothing compiled and an empty table. Prints
 * what it took as JSON.
 *
 *   node one-preload.js URL PREFIX FLOWS SECRET
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { FlowStore } from "../../src/redis/flow-store.ts";
import { RedisLink } from "../../src/redis/redis-link.ts";
import { KeyedHash } from "../../src/relay/keyed-hash.ts";
import { IN_USE_MS, PATHS_PER_FLOW, PATHS_PER_UFRAG } from "../../src/relay/limits.ts";
import { UfragPaths } from "../../src/relay/ufrag-paths.ts";
import { startIdleEngine } from "../load/idle-engine.ts";
import { CAPACITY, CLUSTER, EPOCH, type Loaded, TRANSCEIVER } from "./preload-flows.ts";

const [url, prefix, flows, secret] = process.argv.slice(2) as [string, string, string, string];
const ring = new KeyRing([{ id: 1, secret: Buffer.from(secret, "hex"), signs: true }]);
const logger = pino({ level: "silent" });

async function load(): Promise<Loaded> {
  const engine = await startIdleEngine({ epoch: EPOCH, cluster: CLUSTER, flowCapacity: CAPACITY, keys: ring });
  const slot = engine.addTransceiver({ id: TRANSCEIVER, epoch: EPOCH, address: "127.0.0.1", port: 9 });
  const capacity = Math.ceil(CAPACITY * PATHS_PER_FLOW);
  const paths = new UfragPaths({ engine, capacity, most: PATHS_PER_UFRAG, inUseMs: IN_USE_MS, onEvicted: () => {} });
  const hash = new KeyedHash();
  const link = new RedisLink({ url, prefix, cluster: CLUSTER, logger });
  const store = new FlowStore({
    link,
    engine,
    cluster: CLUSTER,
    flowCapacity: CAPACITY,
    keys: () => ring,
    isTrunkEnd: () => false,
    slotOf: () => slot,
    endOf: () => ({ id: TRANSCEIVER, epoch: EPOCH }),
    hasTransceivers: () => true,
    onRestored: (path, of, ufrag) => paths.add({ ufrag, hash: hash.ofUfrag(ufrag), slot: of }, path),
    logger,
  });
  link.open();
  while (!link.isReady) await sleep(5);
  const held = monitorEventLoopDelay({ resolution: 1 });
  const before = process.cpuUsage();
  held.enable();
  store.start();
  while (store.preload === undefined) await sleep(20);
  held.disable();
  const { user, system } = process.cpuUsage(before);
  if (engine.flowCounts().flows !== Number(flows))
    throw new Error(`${engine.flowCounts().flows} of ${flows} flows came`);
  await store.stop();
  await link.close();
  await engine.stop();
  return { ms: store.preload.tookMs, cpuMs: (user + system) / 1_000, heldMs: held.max / 1e6 };
}

console.log(JSON.stringify(await load()));
