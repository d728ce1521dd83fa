/**
 * What a call costs a transceiver: one process on one CPU, with more and more clients that have it echo their audio, 50 packets
 * a second each, until it can no more.
 *
 *   npm run bench:transceiver [-- --from 50 --step 100 --most 1000 --seconds 5 --trunk native|js --packed no|yes --urgent no|yes --profile FOLDER]
 */
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type CallsResult, EchoCalls } from "./load/echo-calls.ts";
import type { TransceiverHostSnapshot } from "./load/transceiver-host.ts";
import { type PartRun, type Report, runPart } from "./report/part.ts";

const LOAD_CPU = 0;
const TRANSCEIVER_CPU = 1;
/** Packets a second of each client. */
const RATE = 50;
/** New calls a second: clients come one by one, and find the others talking. */
const CALLS_PER_SECOND = 25;
/** What new calls leave behind, and what the compiler does, is over by then. */
const SETTLE_MS = 2_000;
const HEARD_WITHIN_MS = 20_000;
/** Beyond either of these it is not up to its load, and more would show nothing. */
const LIMIT_ECHO_MS = 100;
const LEAST_ECHOED = 0.98;

interface Plan {
  readonly steps: readonly number[];
  readonly seconds: number;
  readonly trunkEnd: "native" | "js";
  readonly packed: boolean;
  readonly urgent: boolean;
  readonly profile: string | undefined;
}

function plan({ smoke, options }: PartRun): Plan {
  const [from, step, most, seconds] = [options.from, options.step, options.most, options.seconds].map(Number) as [
    number,
    number,
    number,
    number,
  ];
  const steps = [from];
  for (let calls = Math.ceil((from + 1) / step) * step; calls <= most; calls += step) steps.push(calls);
  if (![from, step, most, seconds].every((value) => value > 0)) throw new Error("expected numbers above 0");
  const isYes = (name: string): boolean => {
    if (options[name] !== "yes" && options[name] !== "no") throw new Error(`--${name}: expected yes or no`);
    return options[name] === "yes";
  };
  if (options.trunk !== "native" && options.trunk !== "js") throw new Error("--trunk: expected native or js");
  const common = {
    trunkEnd: options.trunk,
    packed: isYes("packed"),
    urgent: isYes("urgent"),
    profile: options.profile === "" ? undefined : options.profile,
  } as const;
  return smoke ? { ...common, steps: [2, 4], seconds: 0.5 } : { ...common, steps, seconds };
}

interface Step {
  readonly calls: number;
  readonly load: CallsResult;
  /** Of the calls that were added. */
  readonly fresh: CallsResult;
  readonly transceiver: TransceiverHostSnapshot;
  /** After the collection before it. */
  readonly memory: TransceiverHostSnapshot;
  /** As the measuring began. */
  readonly before: TransceiverHostSnapshot;
}

/** Brings the number of calls to `calls`, and measures. */
async function measureStep(echo: EchoCalls, calls: number, have: number, seconds: number): Promise<Step> {
  await echo.reset();
  for (let n = have; n < calls; n++) {
    const nextMs = performance.now() + 1_000 / CALLS_PER_SECOND;
    await echo.call();
    await sleep(Math.max(0, nextMs - performance.now()));
  }
  const untilMs = performance.now() + HEARD_WITHIN_MS;
  let { load: fresh } = await echo.snapshot();
  while (fresh.heard < calls && performance.now() < untilMs) {
    await sleep(100);
    ({ load: fresh } = await echo.snapshot());
  }
  if (fresh.heard === 0) throw new Error(`of ${calls} calls none was heard: ${JSON.stringify(fresh)}`);
  await sleep(SETTLE_MS);
  const memory = await echo.memory();
  // Only the collections that come by themselves are measured.
  await sleep(SETTLE_MS);
  const before = await echo.reset();
  await sleep(seconds * 1_000);
  const { load, transceiver } = await echo.snapshot();
  return { calls, load, fresh, transceiver, memory, before };
}

const isOverloaded = ({ load, calls }: Step): boolean =>
  load.echoUs.p99 > LIMIT_ECHO_MS * 1_000 || load.echoes < LEAST_ECHOED * load.audioSent || load.heard < calls;

async function measure(report: Report, run: PartRun): Promise<void> {
  if (availableParallelism() < 2) throw new Error("this benchmark needs two CPUs: one is the transceiver's");
  const { steps, seconds, ...how } = plan(run);
  const echo = await EchoCalls.open({
    ...how,
    transceiverCpu: TRANSCEIVER_CPU,
    loadCpu: LOAD_CPU,
  });
  const done: Step[] = [];
  try {
    for (const calls of steps) {
      report.progress(`transceiver: ${calls} calls`);
      const step = await measureStep(echo, calls, done.at(-1)?.calls ?? 0, seconds);
      done.push(step);
      if (isOverloaded(step)) break;
    }
  } finally {
    await echo.close();
  }
  fill(report, done);
}

function fill(report: Report, steps: readonly Step[]): void {
  const cost = report.table("cost", `CPU and delay, ${RATE} packets/s each way and call`);
  const setUp = report.table("set-up", `Set-up of the calls that were added, ${CALLS_PER_SECOND} a second`);
  for (const { calls, load, fresh, transceiver, before } of steps) {
    const row = { calls };
    const counted = (name: string) => transceiver.counters[name]! - before.counters[name]!;
    cost.add(row, "CPU", "%", [transceiver.cpuUs / transceiver.wallMs / 10]);
    cost.add(row, "CPU per echo", "us", [transceiver.cpuUs / load.echoes]);
    cost.add(row, "echo p50", "ms", [load.echoUs.p50 / 1_000]);
    cost.add(row, "echo p99", "ms", [load.echoUs.p99 / 1_000]);
    cost.add(row, "echo p99.9", "ms", [load.echoUs.p999 / 1_000]);
    cost.add(row, "loop delay p50", "ms", [transceiver.loopDelayMs.p50]);
    cost.add(row, "loop delay p99", "ms", [transceiver.loopDelayMs.p99]);
    cost.add(row, "echoed", "%", [(100 * load.echoes) / load.audioSent]);
    cost.add(row, "stale", "packets", [counted("client_drop_stale_total")]);
    cost.add(row, "kernel drops", "packets", [counted("trunk_kernel_drops_total")]);
    cost.add(row, "frames per datagram down", "", [load.framesReceived / load.datagramsReceived]);
    setUp.add(row, "offer to DTLS p50", "ms", [fresh.connectUs.p50 / 1_000]);
    setUp.add(row, "offer to DTLS p99", "ms", [fresh.connectUs.p99 / 1_000]);
    setUp.add(row, "offer to echo p50", "ms", [fresh.firstAudioUs.p50 / 1_000]);
    setUp.add(row, "offer to echo p99", "ms", [fresh.firstAudioUs.p99 / 1_000]);
  }
  const memory = report.table("memory", "Memory after a full collection, and what a call adds to it");
  const [first] = steps;
  for (const { calls, memory: at } of steps) {
    const row = { calls };
    memory.add(row, "RSS", "MB", [at.rssBytes / 1e6]);
    memory.add(row, "heap and buffers", "MB", [at.heapBytes / 1e6]);
    if (calls === first!.calls) continue;
    const more = calls - first!.calls;
    memory.add(row, "RSS per call", "kB", [(at.rssBytes - first!.memory.rssBytes) / more / 1e3]);
    memory.add(row, "heap and buffers per call", "kB", [(at.heapBytes - first!.memory.heapBytes) / more / 1e3]);
  }
}

await runPart(
  {
    name: "transceiver",
    options: {
      from: "50",
      step: "100",
      most: "1000",
      seconds: "5",
      trunk: "native",
      packed: "no",
      urgent: "no",
      profile: "",
    },
    method:
      "One transceiver process on a CPU of its own, with the echo backend; a load generator on another, which plays the clients and the " +
      "relay between: real ICE checks, DTLS handshakes and SRTP (AEAD_AES_128_GCM, OpenSSL), frames on the trunk over loopback, one in a datagram " +
      "unless --packed. Calls are added 25 a second. A delay is from handing a packet to the trunk until its echo is read, both by the " +
      "load's clock; echoes are told apart by their timestamps. CPU is the whole process's, garbage collection included. With --urgent " +
      "(which needs root) both have the highest priority on their CPUs.",
    doesNotShow: [
      "The relay, and any network: what they add is in the other parts.",
      "Video, data channels, RTCP from clients, losses and retransmission; a backend that does more than echo.",
      "The signalling's HTTP and IPC: the offer goes straight to the process.",
      "Several transceivers that share caches and memory bandwidth.",
    ],
  },
  measure,
);
