/**
 * What the control plane decides in a second, on one thread: new flows that it lets in, and requests that it refuses at each of
 * its steps. Admission, budgets and the native engine's table are the relay's own; the engine runs on loopback and forwards
 * what is let in to a port that nobody reads. Not in it: taking the misses from the workers' queues. A forged token does not
 * get this far but ends in the worker.
 */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { CONTROL_KIND, type ControlRecord } from "../src/engine/engine.ts";
import { KeyRing } from "../src/keys/key-ring.ts";
import { type AdmissionOptions, admitMiss, type MissDrop } from "../src/relay/admission.ts";
import { Budgets } from "../src/relay/budgets.ts";
import { KeyedHash } from "../src/relay/keyed-hash.ts";
import { BUDGETS, DRAIN_RECORDS, IN_USE_MS, PATHS_PER_FLOW, PATHS_PER_UFRAG } from "../src/relay/limits.ts";
import { UfragPaths } from "../src/relay/ufrag-paths.ts";
import { STUN_ATTRIBUTE, STUN_CLASS } from "../src/stun/stun-reader.ts";
import { u32, u64, writeStun } from "../src/stun/stun-writer.ts";
import { icePassword, sealToken } from "../src/token/token.ts";
import { pathBytes } from "../src/trunk/path.ts";
import { startIdleEngine } from "./load/idle-engine.ts";
import { runPart } from "./report/part.ts";
import { type Timed, timeInRounds } from "./report/timed.ts";

const CLUSTER = 1;
const TRANSCEIVER = 7;
const EPOCH = 1_790_000_000_000n;
/** Much more than CLIENTS: what has been removed is used again only when the worker has been on its CPU since. */
const CAPACITY = 1_048_576;
/** Different clients, each with a token of its own; more than the caches of a core hold. */
const CLIENTS = 8_192;
/** No budget may be what is measured, but where it is meant. */
const STEP_MS = 60_000;

const sink = createSocket("udp4");
sink.bind(0, "127.0.0.1");
await once(sink, "listening");
const ring = new KeyRing([{ id: 1, secret: randomBytes(32), signs: true }]);
const strangers = new KeyRing([{ id: 1, secret: randomBytes(32), signs: true }]);

const engine = await startIdleEngine({ epoch: EPOCH, cluster: CLUSTER, flowCapacity: CAPACITY, keys: ring });
const slot = engine.addTransceiver({
  id: TRANSCEIVER,
  epoch: EPOCH,
  address: "127.0.0.1",
  port: sink.address().port,
});

let nowMs = 0;
const hash = new KeyedHash();
const paths = new UfragPaths({
  engine,
  capacity: CAPACITY * PATHS_PER_FLOW,
  most: PATHS_PER_UFRAG,
  inUseMs: IN_USE_MS,
  onEvicted: () => {},
});
const admission: AdmissionOptions = {
  engine,
  cluster: CLUSTER,
  keys: () => ring,
  isTrunkEnd: () => false,
  findTransceiver: (id) => (id === TRANSCEIVER ? slot : undefined),
  now: Date.now,
  monotonicMs: () => nowMs,
  hash,
  budgets: new Budgets(BUDGETS, hash),
  paths,
};

interface Client {
  readonly ufrag: string;
  readonly miss: ControlRecord;
}

/** The nth client's check, as browsers send it. */
function client(n: number, keys: KeyRing, password?: string): Client {
  const ufrag = sealToken(
    { cluster: CLUSTER, transceiver: TRANSCEIVER, epoch: EPOCH, expiresAtMs: Date.now() + 3_600_000, nonce: n },
    keys.signing,
  );
  const payload = writeStun({
    class: STUN_CLASS.request,
    transactionId: randomBytes(12),
    attributes: [
      [STUN_ATTRIBUTE.username, Buffer.from(`${ufrag}:abcd`)],
      [STUN_ATTRIBUTE.iceControlling, u64(1n)],
      [STUN_ATTRIBUTE.priority, u32(1_845_501_695)],
    ],
    password: password ?? icePassword(ufrag, keys.signing),
  });
  const path = pathBytes(1, `10.${n & 63}.${(n >> 6) & 127}.${n & 255}`, 1_024 + n);
  return { ufrag, miss: { kind: CONTROL_KIND.miss, worker: 1, path, slot: 0, payload } };
}
const many = (make: (n: number) => Client): readonly Client[] => Array.from({ length: CLIENTS }, (_, n) => make(n));

let offersRefused = 0;

/** One sample is as many misses as the relay decides between two looks at the clock. */
function task(
  name: string,
  clients: readonly Client[],
  expected: MissDrop | undefined,
  { stepMs = STEP_MS, beforeAll = () => {} } = {},
): Timed {
  let next = 0;
  let batch: readonly Client[] = [];
  return {
    name,
    calls: DRAIN_RECORDS,
    run: () => {
      for (const { miss } of batch) {
        const outcome = admitMiss(miss, admission);
        if (outcome === expected) continue;
        if (outcome !== "miss_drop_offer_full") throw new Error(`${name}: ${outcome}`);
        offersRefused++;
      }
    },
    beforeAll,
    before: () => {
      nowMs += stepMs;
      batch = clients.slice(next, next + DRAIN_RECORDS);
      next = (next + DRAIN_RECORDS) % CLIENTS;
      for (const { ufrag, miss } of batch) {
        engine.end(miss.path, slot, ufrag);
        paths.remove(hash.ofUfrag(ufrag), miss.path);
      }
    },
  };
}

const good = many((n) => client(n, ring));
const one = client(0, ring);
const tasks = [
  task("let in: a new flow", good, undefined),
  task(
    "refused: forged token",
    many((n) => client(n, strangers)),
    "miss_drop_token",
  ),
  task(
    "refused: integrity wrong",
    many((n) => client(n, ring, "x".repeat(24))),
    "miss_drop_integrity",
  ),
  task("refused: token's budget used up", new Array<Client>(CLIENTS).fill(one), "miss_drop_budget_token", {
    stepMs: 0,
    beforeAll: () => {
      for (let n = 0; n < BUDGETS.token.burst; n++) admitMiss(one.miss, admission);
      while (admitMiss(one.miss, admission) === undefined);
    },
  }),
];

await runPart(
  {
    name: "admission",
    method:
      `The relay's own admission, budgets and native flow table on one thread; ${DRAIN_RECORDS} misses per sample of tinybench, ` +
      "median of the rounds' medians. The worker runs on another thread and forwards what is let in to a port that nobody reads.",
    doesNotShow: [
      "Taking the misses from the workers' queues, and the way of the first packet: `npm run bench:setup` has both.",
      "Forged tokens, which end in the worker and never get here: `npm run bench:micro` has their cost.",
      "Redis, a directory that changes, or clients that share a source prefix.",
    ],
  },
  async (report, { smoke }) => {
    const table = report.table("admission", "One miss, decided by the control plane");
    const times = await timeInRounds(tasks, smoke ? { rounds: 1, timeMs: 50 } : { rounds: 5, timeMs: 400 });
    for (const [i, { name }] of tasks.entries()) {
      const { median, p99 } = times[i]!;
      table.add({ outcome: name }, "median", "ns", median);
      table.add({ outcome: name }, "p99", "ns", p99);
      const perSecond = median.map((ns) => 1e9 / ns);
      table.add({ outcome: name }, "rate", "misses/s", perSecond);
    }
    if (offersRefused > 0) report.progress(`${offersRefused} were let in but found the queue back to the worker full`);
  },
);
await engine.stop();
sink.close();
