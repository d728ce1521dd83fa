/**
 * What a relay adds to a round trip: clients send at steady rates over loopback, straight to an echo, through each classical
 * forwarder, and through Earshot with its real control plane. Every side is up all the time and measured in turn, at the same
 * rates, with the same clients, on the same two CPUs: what forwards has one of its own, everything else shares the other.
 *
 *   npm run bench:latency [-- --rounds 3 --seconds 1.5]
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { missingRival, PlainEcho, RIVALS, startRival } from "./forwarders/rivals.ts";
import { LOOPBACK, LoadRig } from "./load/load-rig.ts";
import { type EstablishedOptions, type EstablishedResult, runEstablished } from "./load/load-tools.ts";
import type { Seat } from "./load/seat.ts";
import { type PartRun, type Report, runPart } from "./report/part.ts";

const DIRECT = "direct";
const EARSHOT = "Earshot native";
const FORWARDER_CPU = 1;
const OTHERS_CPU = 0;
const FLOWS = 1_000;
/** Per second, over all flows. */
const RATES = [1_000, 20_000, 100_000];
/** At most so many bytes of receive buffer for every side, and never more than the kernel gives to those who may not force it. */
const RECEIVE_BUFFER_BYTES = 4 << 20;
/** About what is due in one step at the highest rate is two datagrams. */
const STEP_US = 20;
const LINGER_MS = 250;
/** After a run that lost something: what is still in a queue must not be in the next side's way. */
const DRAIN_MS = 500;
/** A quantile that fewer datagrams lie beyond is chance. */
const BEYOND = 10;

interface Side {
  readonly name: string;
  run(seconds: number, options: EstablishedOptions): Promise<EstablishedResult>;
}

interface Plan {
  readonly flows: number;
  readonly rates: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
}

const plan = ({ smoke, options }: PartRun): Plan =>
  smoke
    ? { flows: 100, rates: [5_000], rounds: 1, seconds: 0.2 }
    : { flows: FLOWS, rates: RATES, rounds: Number(options.rounds), seconds: Number(options.seconds) };

/** As root all that is measured goes before everything else on its CPU, so that other work on the machine is not in it. */
function seats(): { forwarder: Seat; others: Seat } {
  if (availableParallelism() < 2) throw new Error("this benchmark needs two CPUs: one forwards, one does the rest");
  const realtime = process.getuid?.() === 0;
  return { forwarder: { cpu: FORWARDER_CPU, realtime }, others: { cpu: OTHERS_CPU, realtime } };
}

function receiveBufferBytes(): number {
  return Math.min(RECEIVE_BUFFER_BYTES, Number(readFileSync("/proc/sys/net/core/rmem_max", "latin1")));
}

async function withSides(
  flows: number,
  report: Report,
  body: (sides: readonly Side[]) => Promise<void>,
): Promise<void> {
  const { forwarder, others } = seats();
  const buffer = { receiveBufferBytes: receiveBufferBytes() };
  const stops: (() => Promise<void>)[] = [];
  try {
    const rig = await LoadRig.open({
      engine: "native",
      workers: 1,
      cpus: [FORWARDER_CPU],
      relaySeat: { cpu: OTHERS_CPU, realtime: forwarder.realtime },
      flows,
      network: LOOPBACK,
      seat: others,
      ...buffer,
    });
    stops.push(() => rig.close());
    if (rig.engine !== "native") throw new Error("the native engine does not load here: run `npm run build:native`");
    const echo = await PlainEcho.start(others);
    stops.push(() => echo.stop());
    // Each side's clients have a port of their own: what comes too late is nobody else's.
    let clientPort = rig.clientPort;
    const to = (port: number): Side["run"] => {
      clientPort++;
      const target = { to: LOOPBACK.relay, port, flowsFile: rig.flowsFile, clientPort };
      return (seconds, options) => runEstablished(target, seconds, options, others);
    };
    const sides: Side[] = [{ name: DIRECT, run: to(echo.port) }];
    for (const kind of RIVALS) {
      const missing = missingRival(kind);
      if (missing !== undefined) {
        report.missing(missing);
        continue;
      }
      const rival = await startRival(kind, { ...forwarder, ...buffer, upstreamPort: echo.port, flows });
      stops.push(() => rival.stop());
      sides.push({ name: kind, run: to(rival.port) });
    }
    sides.push({ name: EARSHOT, run: (seconds, options) => rig.established(seconds, options) });
    await rig.established(0, { setUp: true, lingerMs: LINGER_MS });
    await body(sides);
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

/** Results by side and rate, one for each round. */
class Rounds {
  readonly #results = new Map<string, EstablishedResult[]>();

  add(side: Side, rate: number, result: EstablishedResult): void {
    if (result.received === 0) throw new Error(`${side.name} at ${rate}/s: nothing came back`);
    if (result.strange + result.duplicates > 0) throw new Error(`${side.name} at ${rate}/s: ${JSON.stringify(result)}`);
    const key = `${side.name} ${rate}`;
    this.#results.set(key, [...(this.#results.get(key) ?? []), result]);
  }
  of(side: string, rate: number): readonly EstablishedResult[] {
    return this.#results.get(`${side} ${rate}`)!;
  }
}

async function measure({ flows, rates, rounds, seconds }: Plan, sides: readonly Side[], report: Report): Promise<void> {
  const results = new Rounds();
  const run = async (side: Side, rate: number): Promise<EstablishedResult> => {
    const options = { rate: rate / flows, stepUs: STEP_US, lingerMs: LINGER_MS };
    const result = await side.run(seconds, options);
    if (result.lost > 0) await sleep(DRAIN_MS);
    return result;
  };
  // Flows are made, and code gets warm.
  for (const side of sides) await run(side, rates[0]!);
  for (let round = 0; round < rounds; round++) {
    report.progress(`latency: round ${round + 1} of ${rounds}`);
    for (const rate of rates) {
      for (const side of sides) results.add(side, rate, await run(side, rate));
    }
  }

  const added = report.table(
    "added",
    "Added round trip: through the forwarder, minus the direct path in the same round",
  );
  const whole = report.table("round-trip", "Whole round trip, echo included");
  for (const rate of rates) {
    const quantiles = [
      ["p50", 0.5, (result: EstablishedResult) => result.p50Us],
      ["p99", 0.01, (result: EstablishedResult) => result.p99Us],
      ["p99.9", 0.001, (result: EstablishedResult) => result.p999Us],
    ] as const;
    for (const { name } of sides) {
      const row = { "packets/s": rate, through: name };
      const all = results.of(name, rate);
      const direct = results.of(DIRECT, rate);
      for (const [quantile, beyond, value] of quantiles) {
        if (all.some(({ received }) => received * beyond < BEYOND)) continue;
        whole.add(row, quantile, "us", all.map(value));
        const extra = all.map((result, round) => value(result) - value(direct[round]!));
        if (name !== DIRECT) added.add(row, quantile, "us", extra);
      }
      const lost = all.map((result) => (100 * result.lost) / result.sent);
      whole.add(row, "lost", "%", lost);
      if (name !== DIRECT) added.add(row, "lost", "%", lost);
      whole.add(
        row,
        "sent",
        "packets/s",
        all.map(({ perSecond }) => perSecond),
      );
      whole.add(
        row,
        "latest sending",
        "us late",
        all.map(({ latestUs }) => latestUs),
      );
    }
  }
}

await runPart(
  {
    name: "latency",
    options: { rounds: "3", seconds: "1.5" },
    method:
      `${FLOWS} clients on loopback send 120-byte datagrams at a steady rate and get each back from an echo; the time is from before ` +
      "sending until the kernel has the echo. One thread forwards, on a CPU of its own; clients, echo and Earshot's control plane are on the " +
      "other one. As root all of them go before everything else on their CPUs. Sides are measured in turn within each round; each figure is the median of the rounds. " +
      "Classical forwarders add 4 bytes to a datagram, nginx has a socket for each client, Earshot seals its trunk datagrams and " +
      "its flows were let in with real tokens. Receive buffers are equal.",
    doesNotShow: [
      "A network: no card, driver, interrupt or cable is in it, so that the direct path is much shorter than any real one.",
      "Jitter of clients: datagrams are spread evenly over time, which no set of callers does.",
      "Anything under load on the machine that you run it on: a busy machine shows in the spread and in p99.9.",
      "What several workers or cores do; one thread forwards on every side.",
      "What is lost has no round trip: where more than a little is lost, the quantiles are those of what was left.",
    ],
  },
  async (report, run) => {
    const chosen = plan(run);
    await withSides(chosen.flows, report, (sides) => measure(chosen, sides, report));
  },
);
