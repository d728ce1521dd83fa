/**
 * A relay under load, as a process of its own: the real `Relay` with a fixed directory. It does what its parent asks over
 * IPC, says what its counters and its event loop's delays are, and ends with its parent.
 */
import { randomInt } from "node:crypto";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { pino } from "pino";
import { EarshotError } from "../../src/earshot-error.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import type { NewFlowRates } from "../../src/relay/limits.ts";
import { Relay } from "../../src/relay/relay.ts";

export interface RelayHostOptions {
  readonly engine: "native" | "js";
  readonly workers: number;
  /** CPU number for each worker, or none. */
  readonly cpus: readonly number[];
  /** The one ingress; the kernel chooses its port. */
  readonly address: string;
  /** In base64. */
  readonly key: { readonly id: number; readonly secret: string };
  readonly cluster: number;
  readonly transceivers: readonly { readonly id: number; readonly address: string; readonly port: number }[];
  readonly flowCapacity: number;
  readonly newFlowRates: NewFlowRates;
  readonly receiveBufferBytes: number;
}

export type RelayHostRequest =
  | { readonly kind: "start"; readonly options: RelayHostOptions }
  | { readonly kind: "snapshot" }
  | { readonly kind: "stop" };

export interface RelayHostStarted {
  readonly engine: "native" | "js";
  /** Of the ingress. */
  readonly port: number;
  /** Of each worker. */
  readonly trunkPorts: readonly number[];
}

export interface RelayHostSnapshot {
  /** Prometheus text. */
  readonly metrics: string;
  /** How late the event loop's timers were since the last snapshot, ms. */
  readonly loopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** It looks that often, and what it records includes that wait. */
const RESOLUTION_MS = 1;
const READY_WITHIN_MS = 5_000;
/** Below those that the kernel chooses from. */
const TRUNK_PORTS = { least: 20_000, most: 32_000 };

const loopDelay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let relay: Relay | undefined;

/** On a trunk port that is known, so that what is sent to workers can be told from what is sent to the control plane. */
async function open(options: RelayHostOptions, trunkPort: number): Promise<Relay> {
  const { engine, workers, cpus, cluster, flowCapacity, newFlowRates, receiveBufferBytes } = options;
  const opened = new Relay({
    listen: [{ id: 1, address: options.address, port: 0 }],
    trunk: { address: "127.0.0.1", port: trunkPort },
    engine,
    lanes: workers,
    workers,
    cpus,
    gatherUs: 50,
    keys: new KeyRing([{ id: options.key.id, secret: Buffer.from(options.key.secret, "base64"), signs: true }]),
    cluster,
    flowCapacity,
    newFlowRates,
    receiveBufferBytes,
    logger: pino({ level: "warn" }, pino.destination({ dest: 2, sync: true })),
  });
  await opened.start();
  return opened;
}

async function start(options: RelayHostOptions): Promise<RelayHostStarted> {
  let trunkPort = 0;
  while (relay === undefined) {
    trunkPort = randomInt(TRUNK_PORTS.least, TRUNK_PORTS.most);
    try {
      relay = await open(options, trunkPort);
    } catch (error) {
      if (!(error instanceof EarshotError) || error.code !== "EADDRINUSE") throw error;
    }
  }
  relay.setDirectory(options.transceivers);
  const deadline = performance.now() + READY_WITHIN_MS;
  while (!relay.ready()) {
    if (performance.now() > deadline) throw new Error("no transceiver has answered");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  loopDelay.enable();
  const trunkPorts = Array.from({ length: relay.workers }, (_, w) => trunkPort + w + 1);
  return { engine: relay.engineKind, port: relay.ingresses[0]!.port, trunkPorts };
}

async function snapshot(): Promise<RelayHostSnapshot> {
  const late = (ns: number) => Math.max(0, ns / 1e6 - RESOLUTION_MS);
  const loopDelayMs = {
    p50: late(loopDelay.percentile(50)),
    p99: late(loopDelay.percentile(99)),
    max: late(loopDelay.max),
  };
  const metrics = await relay!.registry.metrics();
  loopDelay.reset();
  return { metrics, loopDelayMs };
}

async function answer(request: RelayHostRequest): Promise<void> {
  if (request.kind === "start") process.send?.(await start(request.options));
  else if (request.kind === "snapshot") process.send?.(await snapshot());
  else process.disconnect();
}

process.on("message", (request: RelayHostRequest) => {
  answer(request).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.once("disconnect", () => {
  void (relay?.stop() ?? Promise.resolve()).then(() => process.exit(0));
});
