/**
 * How soon a relay lets new calls in, and how many a second: clients send their first Binding request through the whole relay,
 * which is a miss in the worker, admission by the real control plane, an installed flow and an offer back to the worker; a
 * transceiver answers it. The same request once more, when the flow is there, is the measure of everything that is not set-up.
 *
 *   npm run bench:setup [-- --rounds 3]
 */
import { availableParallelism } from "node:os";
import { LOOPBACK, LoadRig } from "./load/load-rig.ts";
import type { Answers, FirstPackets, FirstPacketsResult } from "./load/load-tools.ts";
import { type PartRun, type Report, runPart } from "./report/part.ts";

/** Of the control plane alone; worker, clients and transceiver share the other one. */
const CONTROL_CPU = 1;
const OTHERS_CPU = 0;
/** New flows per second. Far below what the control plane can do, and closer to it. */
const RATES = [200, 2_000, 10_000];
/** Requests that wait for their answer where clients send as fast as they are let in. Fewer than the worker's queue holds. */
const UNDER_WAY = [1, 16, 256];
const NO_LIMIT = 1_000_000;

interface Plan {
  readonly rounds: number;
  readonly rates: readonly number[];
  /** At most, of each rate. */
  readonly seconds: number;
  /** At each of {@link UNDER_WAY}. */
  readonly flows: number;
}

const plan = ({ smoke, options }: PartRun): Plan =>
  smoke
    ? { rounds: 1, rates: [1_000], seconds: 0.2, flows: 200 }
    : { rounds: Number(options.rounds), rates: RATES, seconds: 1, flows: 5_000 };

/** Flows that nobody has used before. */
class FreshFlows {
  #next = 0;
  take(count: number): { first: number; count: number } {
    const first = this.#next;
    this.#next += count;
    return { first, count };
  }
}

async function measured(rig: LoadRig, packets: FirstPackets): Promise<FirstPacketsResult> {
  const result = await rig.firstPackets(packets);
  if (result.first.answered === 0 || result.again.answered === 0)
    throw new Error(`of ${packets.count} requests none was answered: ${JSON.stringify(result)}`);
  return result;
}

interface Measured {
  readonly open: readonly { readonly perSecond: number; readonly results: FirstPacketsResult[] }[];
  readonly closed: readonly { readonly underWay: number; readonly results: FirstPacketsResult[] }[];
}

async function inRounds(rig: LoadRig, { rounds, rates, seconds, flows }: Plan, report: Report): Promise<Measured> {
  const fresh = new FreshFlows();
  // The control plane's code gets warm.
  await measured(rig, { ...fresh.take(flows), offer: { underWay: UNDER_WAY.at(-1)! } });
  const closed = UNDER_WAY.map((underWay) => ({ underWay, results: [] as FirstPacketsResult[] }));
  const open = rates.map((perSecond) => ({ perSecond, results: [] as FirstPacketsResult[] }));
  for (let round = 0; round < rounds; round++) {
    report.progress(`setup: round ${round + 1} of ${rounds}`);
    for (const { underWay, results } of closed)
      results.push(await measured(rig, { ...fresh.take(flows), offer: { underWay } }));
    for (const { perSecond, results } of open)
      results.push(await measured(rig, { ...fresh.take(perSecond * seconds), offer: { perSecond } }));
  }
  return { open, closed };
}

function fill(report: Report, { open, closed }: Measured): void {
  const times = report.table("first-packet", "From sending a Binding request until its answer is back");
  for (const { perSecond, results } of open) {
    const packets = [
      ["first: sets its flow up", results.map(({ first }) => first)],
      ["the same again", results.map(({ again }) => again)],
    ] as const;
    for (const [packet, answers] of packets) {
      const row = { "new flows/s": perSecond, packet };
      const add = (column: string, unit: string, value: (all: Answers) => number) =>
        times.add(row, column, unit, answers.map(value));
      add("p50", "us", ({ p50Us }) => p50Us);
      add("p99", "us", ({ p99Us }) => p99Us);
      add("not answered", "%", ({ sent, answered }) => (100 * (sent - answered)) / sent);
    }
  }
  const rate = report.table("new-flows", "As fast as clients are let in");
  for (const { underWay, results } of closed) {
    const add = (column: string, unit: string, value: (result: FirstPacketsResult) => number) =>
      rate.add({ "requests under way": underWay }, column, unit, results.map(value));
    add("new flows", "flows/s", ({ first }) => first.perSecond);
    add("p50", "us", ({ first }) => first.p50Us);
    add("p99", "us", ({ first }) => first.p99Us);
    add("the same again", "requests/s", ({ again }) => again.perSecond);
  }
}

async function measure(report: Report, run: PartRun): Promise<void> {
  if (availableParallelism() < 2) throw new Error("this benchmark needs two CPUs: one is the control plane's");
  const chosen = plan(run);
  const openFlows = chosen.rates.reduce((sum, rate) => sum + rate * chosen.seconds, 0);
  const flows = chosen.flows + chosen.rounds * (UNDER_WAY.length * chosen.flows + openFlows);
  const realtime = process.getuid?.() === 0;
  const rig = await LoadRig.open({
    engine: "native",
    workers: 1,
    cpus: [OTHERS_CPU],
    flows,
    // New flows are tentative, and may take a quarter of the table.
    flowCapacity: 4 * flows,
    newFlowRates: { total: NO_LIMIT, perPrefix: NO_LIMIT },
    network: LOOPBACK,
    seat: { cpu: OTHERS_CPU, realtime },
    relaySeat: { cpu: CONTROL_CPU, realtime },
  });
  try {
    if (rig.engine !== "native") throw new Error("the native engine does not load here: run `npm run build:native`");
    fill(report, await inRounds(rig, chosen, report));
  } finally {
    await rig.close();
  }
}

await runPart(
  {
    name: "setup",
    options: { rounds: "3" },
    method:
      "Native engine, the relay's own control plane on a CPU of its own; worker, clients and an echo transceiver share another one. " +
      "Every client has an address, a token and a /24 of its own; budgets for new flows are out of the way. The time of an answer is when the " +
      "kernel has it. As root all of them go before everything else on their CPUs. Each figure is the median of the rounds.",
    doesNotShow: [
      "ICE, DTLS and the signalling before it: the transceiver is an echo that answers every Binding request at once.",
      "Redis, or a directory with many transceivers.",
      "What a relay does while media flows, or under attack: `npm run flood` has that.",
      "The rate that an operator gets by default: budgets hold new flows to 20,000 a second.",
      "A network: all of it is loopback.",
    ],
  },
  measure,
);
