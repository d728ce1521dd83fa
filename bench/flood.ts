/**
 * What floods from strangers do to calls that are on. 2,000 established flows at 50 datagrams a second each, first alone, then
 * during floods of random datagrams, of Binding requests with forged tokens, and of one valid request replayed from
 * everywhere; then what a worker spends on each kind of datagram alone. Needs root: it makes a network namespace of its
 * own, whose only interface is `lo`, and forges sources there. Nothing can leave it, and it ends with this process.
 *
 *   node dist/bench/flood.js [--runs 3] [--seconds 10] [--flows 2000] [--moderate 50000] [--buffer-mib 4] [--workers 1] [--undisturbed]
 *
 * It shows what one machine does that plays everybody at once. The worker has a CPU of its own; generators, transceiver
 * and the relay's control plane share another, where clients and transceiver go before all others, and strangers take what is
 * left. "As fast as possible" is therefore what is left of one CPU, and no network card is in it. With --undisturbed the
 * worker goes before all others on its CPU too: for a machine on which other things run meanwhile.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { balance } from "./load/balance.ts";
import { type FloodKind, LoadRig, type LoadRigOptions, type Network, type Snapshot } from "./load/load-rig.ts";
import type { EstablishedResult, FloodResult } from "./load/load-tools.ts";
import { backlogDrops } from "./load/proc.ts";
import { origin, originText } from "./report/origin.ts";
import { median } from "./report/summary.ts";

/** Addresses for documentation and for benchmarks (RFC 5737, RFC 2544), and a private network. */
const NETWORK: Network = { relay: "192.0.2.1", clients: 10, strangers: "198.18.0.0/15" };
const NETWORK_COMMANDS = [
  "link set lo up",
  "address add 192.0.2.1/32 dev lo",
  "route add local 10.0.0.0/8 dev lo",
  // Answers to strangers leave the relay, and end there: what is sent to `lo` and is not local goes nowhere.
  "route add 198.18.0.0/15 dev lo",
];

const KINDS: readonly FloodKind[] = ["random", "forged", "replay"];
const COST_KINDS: readonly FloodKind[] = ["unclassified", "random", "forged"];
const COST_DATAGRAMS = 200_000;
/** At most, to send them. */
const COST_SECONDS = 10;
/** At 832 bytes for a queued datagram of that size there is room for twice as many. */
const COST_BUFFER_BYTES = 192 << 20;
/** A flood is on before the first measured datagram, and after the last one's echo. */
const LEAD_MS = 1_000;
const TAIL_SECONDS = 3;
/** Not looked at, at each end of a measurement, for how busy a worker is. */
const EDGE_MS = 500;
const WORKER_CPU = 1;
const OTHERS_CPU = 0;

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    seconds: { type: "string", default: "10" },
    flows: { type: "string", default: "2000" },
    moderate: { type: "string", default: "50000" },
    workers: { type: "string", default: "1" },
    "buffer-mib": { type: "string", default: "4" },
    undisturbed: { type: "boolean", default: false },
    inside: { type: "boolean", default: false },
  },
});
const seconds = Number(values.seconds);

interface Row {
  readonly what: string;
  readonly flood: FloodResult | undefined;
  /** Flood datagrams that the relay read, per second; among them those of flows whose echo was lost later. */
  readonly readPerSecond: number;
  readonly kernelDrops: { readonly public: number; readonly trunk: number; readonly backlog: number };
  readonly established: EstablishedResult;
  readonly workerLoad: number;
  readonly loopDelayMs: Snapshot["loopDelayMs"];
  readonly missed: number;
  /** Each is zero when every datagram is accounted for. */
  readonly differences: readonly number[];
}

function rigOptions(): LoadRigOptions {
  return {
    engine: "native",
    workers: Number(values.workers),
    cpus: new Array(Number(values.workers)).fill(WORKER_CPU),
    flows: Number(values.flows),
    network: NETWORK,
    seat: { cpu: OTHERS_CPU, realtime: true },
    receiveBufferBytes: Number(values["buffer-mib"]) << 20,
    realtimeWorkers: values.undisturbed,
  };
}

async function phase(rig: LoadRig, what: string, kind?: FloodKind, rate?: number): Promise<Row> {
  const before = await rig.settled();
  const backlogBefore = backlogDrops();
  const flooding = kind && rig.flood(kind, seconds + LEAD_MS / 1000 + TAIL_SECONDS, rate === undefined ? {} : { rate });
  await sleep(LEAD_MS);
  const measuring = rig.established(seconds);
  await sleep(EDGE_MS);
  const [cpuBefore, startedMs] = [rig.workerCpuNs(), performance.now()];
  await sleep(seconds * 1000 - 2 * EDGE_MS);
  const workerLoad = (rig.workerCpuNs() - cpuBefore) / ((performance.now() - startedMs) * 1e6);
  const established = await measuring;
  const { loopDelayMs } = await rig.snapshot();
  const flood = await flooding;
  const after = await rig.settled();
  const backlog = backlogDrops() - backlogBefore;

  const grown = (name: string) => after.relay.sum(`earshot_relay_${name}`) - before.relay.sum(`earshot_relay_${name}`);
  const kernelDrops = {
    public: after.kernelDrops.public - before.kernelDrops.public,
    trunk: after.kernelDrops.trunk - before.kernelDrops.trunk,
    backlog,
  };
  const sent = established.sent + (flood?.sent ?? 0);
  const received = grown("up_received_total");
  return {
    what,
    flood,
    readPerSecond: flood ? (received - established.received) / flood.seconds : 0,
    kernelDrops,
    established,
    workerLoad,
    loopDelayMs,
    missed: grown("up_missed_total"),
    differences: [
      ...Object.values(balance(after.relay)),
      sent - received - kernelDrops.public - backlog,
      after.echo.sent - before.echo.sent - grown("down_received_total") - kernelDrops.trunk,
    ],
  };
}

async function floodRun(): Promise<Row[]> {
  const rig = await LoadRig.open(rigOptions());
  try {
    await rig.established(1, { setUp: true });
    const rows = [await phase(rig, "no flood")];
    for (const kind of KINDS) {
      rows.push(await phase(rig, kind, kind, Number(values.moderate)));
      rows.push(await phase(rig, kind, kind));
    }
    return rows;
  } finally {
    await rig.close();
  }
}

/**
 * ns of a worker's CPU for each datagram, by kind. They wait in its socket before it begins, so that it reads whole batches:
 * at a low rate waking up costs several times as much as the datagram.
 */
async function costRun(): Promise<number[]> {
  const rig = await LoadRig.open({ ...rigOptions(), workers: 1, flows: 1, receiveBufferBytes: COST_BUFFER_BYTES });
  try {
    const costs: number[] = [];
    for (const kind of COST_KINDS) {
      const before = await rig.settled();
      const cpuBefore = rig.workerCpuNs();
      await rig.standingStill(() => rig.flood(kind, COST_SECONDS, { count: COST_DATAGRAMS }));
      const after = await rig.settled();
      const cpuNs = rig.workerCpuNs() - cpuBefore;
      const read = (snapshot: Snapshot) => snapshot.relay.sum("earshot_relay_up_received_total");
      costs.push(cpuNs / (read(after) - read(before)));
    }
    return costs;
  } finally {
    await rig.close();
  }
}

const COLUMNS: readonly [title: string, width: number, value: (row: Row) => number, digits: number][] = [
  ["flood/s", 9, (row) => row.flood?.perSecond ?? 0, 0],
  ["read/s", 9, (row) => row.readPerSecond, 0],
  ["public", 9, (row) => row.kernelDrops.public, 0],
  ["trunk", 7, (row) => row.kernelDrops.trunk, 0],
  ["backlog", 8, (row) => row.kernelDrops.backlog, 0],
  ["missed/s", 9, (row) => row.missed / (row.flood?.seconds ?? seconds), 0],
  ["lost %", 8, (row) => (100 * row.established.lost) / row.established.sent, 3],
  ["p50 us", 8, (row) => row.established.p50Us, 0],
  ["p99 us", 8, (row) => row.established.p99Us, 0],
  ["p99.9 us", 9, (row) => row.established.p999Us, 0],
  ["worker %", 9, (row) => 100 * row.workerLoad, 0],
  ["loop p99", 9, (row) => row.loopDelayMs.p99, 1],
  ["loop max", 9, (row) => row.loopDelayMs.max, 1],
  ["diff", 5, (row) => Math.max(...row.differences.map(Math.abs)), 0],
];

function line(what: string, cells: readonly string[]): string {
  return what.padEnd(10) + cells.map((cell, i) => cell.padStart(COLUMNS[i]![1])).join("");
}

async function main(): Promise<void> {
  for (const command of NETWORK_COMMANDS) execFileSync("ip", command.split(" "));
  const args = process.argv.slice(2).filter((arg) => arg !== "--inside");
  console.log(originText(origin(["npm run flood", ...(args.length > 0 ? ["--", ...args] : [])].join(" "))));
  console.log(
    `flows    ${values.flows} x 50/s of 120 bytes; ${values.workers} worker on CPU ${WORKER_CPU}, all else on CPU ${OTHERS_CPU}; ` +
      `receive buffers ${values["buffer-mib"]} MiB; ${values.undisturbed ? "worker undisturbed; " : ""}medians of ${values.runs} runs of ${seconds} s\n`,
  );
  console.log(
    line(
      "",
      COLUMNS.map(([title]) => title),
    ),
  );
  const runs: Row[][] = [];
  const costs: number[][] = [];
  for (let run = 0; run < Number(values.runs); run += 1) {
    runs.push(await floodRun());
    costs.push(await costRun());
  }
  for (const [i, { what }] of runs[0]!.entries()) {
    const rows = runs.map((run) => run[i]!);
    console.log(
      line(
        what,
        COLUMNS.map(([, , value, digits]) => median(rows.map(value)).toFixed(digits)),
      ),
    );
  }
  const latestUs = Math.max(...runs.flat().map(({ established }) => established.latestUs));
  const ownDrops = runs.flat().reduce((sum, { established }) => sum + established.ownKernelDrops, 0);
  console.log(
    `\nthe generator sent at most ${(latestUs / 1000).toFixed(1)} ms late, and had no room for ${ownDrops} echoes`,
  );
  console.log(
    `\nns of a worker's CPU for each of ${COST_DATAGRAMS} datagrams that wait for it, the kernel's part included`,
  );
  for (const [i, kind] of COST_KINDS.entries()) {
    console.log(
      `${kind.padEnd(14)}${median(costs.map((run) => run[i]!))
        .toFixed(0)
        .padStart(6)}`,
    );
  }
}

if (values.inside) {
  await main();
} else {
  if (process.getuid?.() !== 0)
    throw new Error("this benchmark forges sources and makes a network namespace: run it as root");
  if (availableParallelism() < 2)
    throw new Error("this benchmark needs two CPUs: one for the worker, one for the rest");
  const own = [fileURLToPath(import.meta.url), ...process.argv.slice(2), "--inside"];
  const { status } = spawnSync("unshare", ["--net", process.execPath, ...own], { stdio: "inherit" });
  process.exitCode = status ?? 1;
}
