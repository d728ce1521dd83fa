/** Entry of the process under measurement: one Transceiver with its echo backend, and what the process says of itself. */
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { pino } from "pino";
import { type FleetKey, KeyRing } from "../../src/keys/key-ring.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";

export interface TransceiverHostOptions {
  readonly id: number;
  readonly cluster: number;
  readonly fleetKey: FleetKey;
  readonly epoch: bigint;
  readonly trunkEnd: "native" | "js";
  readonly maxCalls: number;
}

export type TransceiverHostRequest =
  | { readonly type: "offer"; readonly sdp: string }
  | ({ readonly type: "snapshot" } & SnapshotWishes);

export interface SnapshotWishes {
  /** Memory is told after a full collection. */
  readonly collects?: boolean;
  /** What is counted begins anew after it. */
  readonly resets?: boolean;
}

export interface TransceiverHostSnapshot {
  readonly wallMs: number;
  /** Of all threads since the last reset. */
  readonly cpuUs: number;
  readonly loopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** After a full collection. */
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly counters: Readonly<Record<string, number>>;
}

/** The load plays the ingress as well, so nothing is ever sent here. */
const ADVERTISED = { address: "192.0.2.1", port: 9 };
const HOUR_MS = 3_600_000;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
let cpu = process.cpuUsage();
let startedMs = performance.now();
let transceiver: Transceiver | undefined;

async function start({ fleetKey, maxCalls, ...options }: TransceiverHostOptions): Promise<unknown> {
  transceiver = new Transceiver({
    ...options,
    keys: new KeyRing([{ ...fleetKey, secret: Buffer.from(fleetKey.secret) }]),
    trunk: { address: "127.0.0.1", port: 0 },
    advertise: [ADVERTISED],
    maxCallMs: HOUR_MS,
    limits: { maxCalls },
    logger: pino({ level: "warn" }),
  });
  const { port } = await transceiver.start();
  return { port };
}

async function snapshot({ collects, resets }: SnapshotWishes): Promise<TransceiverHostSnapshot> {
  const used = process.cpuUsage(cpu);
  const wallMs = performance.now() - startedMs;
  const ms = (ns: number) => ns / 1e6;
  const loopDelayMs = { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) };
  const counters: Record<string, number> = {};
  for (const { name, values } of await transceiver!.registry.getMetricsAsJSON()) {
    if (values.length === 1) counters[name.replace("earshot_transceiver_", "")] = values[0]!.value;
  }
  if (collects) collect();
  if (resets) {
    delay.reset();
    cpu = process.cpuUsage();
    startedMs = performance.now();
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return {
    wallMs,
    cpuUs: used.user + used.system,
    loopDelayMs,
    rssBytes: rss,
    heapBytes: heapUsed + external,
    counters,
  };
}

process.once("message", (options: TransceiverHostOptions) => {
  start(options).then((started) => {
    process.send!(started);
    process.on("message", (request: TransceiverHostRequest) => {
      const answer = request.type === "offer" ? transceiver!.createCall(request.sdp) : snapshot(request);
      answer.then((value) => process.send!(value));
    });
  });
});
// So that a profile is written.
process.once("disconnect", () => process.exit(0));
