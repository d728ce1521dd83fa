/**
 * A relay under load with everything around it: the real control plane and engine in a process of its own, an echo transceiver
 * in another, flows with real tokens and passwords, and the generator. What comes out is figures that must add up.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type DerivedKeys, deriveKeys } from "../../src/keys/key-ring.ts";
import { NEW_FLOW_RATES, type NewFlowRates } from "../../src/relay/limits.ts";
import { Metrics } from "../../test/kit/metrics.ts";
import { flowLines } from "./flow-lines.ts";
import {
  buildLoadTools,
  type EchoCounts,
  EchoTransceiver,
  type EstablishedOptions,
  type EstablishedResult,
  type EstablishedTarget,
  type FirstPackets,
  type FirstPacketsResult,
  type FloodResult,
  runEstablished,
  runFirstPackets,
  runLoad,
} from "./load-tools.ts";
import { threadCpuNs, threadsNamed, udpSockets } from "./proc.ts";
import type { RelayHostOptions, RelayHostRequest, RelayHostSnapshot, RelayHostStarted } from "./relay-host.ts";
import { type Seat, seatedWith } from "./seat.ts";

export type FloodKind = "unclassified" | "random" | "forged" | "replay";

export interface LoadRigOptions {
  readonly engine: "native" | "js";
  readonly workers: number;
  /** CPU number for each worker, or none. */
  readonly cpus?: readonly number[];
  readonly flows: number;
  readonly network: Network;
  /** Of everything but the workers. */
  readonly seat?: Seat;
  /** Of the relay's process; the others' CPU, and no priority, if absent. */
  readonly relaySeat?: Seat;
  /** Those of an operator who asks for nothing if absent. */
  readonly newFlowRates?: NewFlowRates;
  readonly flowCapacity?: number;
  readonly receiveBufferBytes?: number;
  /** Workers go before everything else on their CPUs. Needs root. */
  readonly realtimeWorkers?: boolean;
  /** The transceiver also sends what a relay has to drop. */
  readonly mischief?: boolean;
}

/** Where the relay is, which networks flows come from, and which ones floods. */
export interface Network {
  readonly relay: string;
  /** First octet; the machine's local table must have all of them. */
  readonly clients: number;
  readonly strangers: string;
}

/** Needs no preparation. Strangers get answers delivered to nobody. */
export const LOOPBACK: Network = { relay: "127.0.0.1", clients: 127, strangers: "127.128.0.0/9" };

const CLUSTER = 1;
const TRANSCEIVER = 1;
const FLOW_CAPACITY = 65_536;
const RECEIVE_BUFFER_BYTES = 4 << 20;
/** Below those that the kernel chooses from, and those that relay-host.ts does. */
const CLIENT_PORTS = { least: 10_000, most: 19_900 };
/** Counters that keep their values this long, with nothing left in a socket, have come to rest. */
const REST_MS = 100;
const SETTLED_WITHIN_MS = 10_000;

export interface Snapshot {
  readonly relay: Metrics;
  readonly loopDelayMs: RelayHostSnapshot["loopDelayMs"];
  readonly echo: EchoCounts;
  /** By the kernel, of the relay's public sockets and of the workers' trunk sockets. */
  readonly kernelDrops: { readonly public: number; readonly trunk: number };
}

export class LoadRig {
  readonly relayPid: number;
  /** Of the ingress. */
  readonly port: number;
  readonly address: string;
  /** Of all clients, so that flows of one run of the load are those of the next. */
  readonly clientPort = randomInt(CLIENT_PORTS.least, CLIENT_PORTS.most);
  readonly engine: "native" | "js";
  readonly keys: DerivedKeys;
  readonly transceiver: { readonly id: number; readonly epoch: bigint; readonly cluster: number };
  readonly flowsFile: string;
  /** Where each worker hears from transceivers. */
  readonly trunkPorts: readonly number[];
  readonly #options: LoadRigOptions;
  readonly #relay: ChildProcess;
  readonly #echo: EchoTransceiver;
  readonly #folder: string;

  private constructor(options: LoadRigOptions, parts: Parts, started: RelayHostStarted) {
    this.#options = options;
    this.#relay = parts.relay;
    this.#echo = parts.echo;
    this.#folder = parts.folder;
    this.keys = parts.keys;
    this.transceiver = { id: TRANSCEIVER, epoch: parts.epoch, cluster: CLUSTER };
    this.flowsFile = parts.flowsFile;
    this.relayPid = parts.relay.pid!;
    this.port = started.port;
    this.address = options.network.relay;
    this.engine = started.engine;
    this.trunkPorts = started.trunkPorts;
  }

  static async open(options: LoadRigOptions): Promise<LoadRig> {
    buildLoadTools();
    const { seat = {}, network } = options;
    const secret = randomBytes(32);
    const keys = deriveKeys({ id: 1, secret, signs: true });
    const epoch = BigInt(Date.now());
    const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-load-"));
    const flowsFile = path.join(folder, "flows");
    const transceiver = { cluster: CLUSTER, id: TRANSCEIVER, epoch };
    writeFileSync(flowsFile, flowLines(options.flows, network.clients, keys, transceiver), { mode: 0o600 });
    const { mischief } = options;
    const echo = await EchoTransceiver.start({ cluster: CLUSTER, id: TRANSCEIVER, epoch, keys, mischief, ...seat });
    const relay = startRelayHost(options.relaySeat ?? { cpu: seat.cpu });
    const host: RelayHostOptions = {
      engine: options.engine,
      workers: options.workers,
      cpus: options.cpus ?? [],
      address: network.relay,
      key: { id: keys.id, secret: secret.toString("base64") },
      cluster: CLUSTER,
      transceivers: [{ id: TRANSCEIVER, address: "127.0.0.1", port: echo.port }],
      flowCapacity: options.flowCapacity ?? FLOW_CAPACITY,
      newFlowRates: options.newFlowRates ?? NEW_FLOW_RATES,
      receiveBufferBytes: options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES,
    };
    const started = await ask<RelayHostStarted>(relay, { kind: "start", options: host });
    if (options.realtimeWorkers === true) {
      for (const thread of workerThreads(relay.pid!)) execFileSync("chrt", ["--fifo", "--pid", "5", String(thread)]);
    }
    return new LoadRig(options, { relay, echo, folder, keys, epoch, flowsFile }, started);
  }

  /** CPU time of all workers, in ns. The js engine's is not a thread of its own. */
  workerCpuNs(): number {
    return workerThreads(this.relayPid).reduce((sum, thread) => sum + threadCpuNs(this.relayPid, thread), 0);
  }

  /** Flows send for so long, and wait for their echoes. */
  established(seconds: number, options: EstablishedOptions = {}): Promise<EstablishedResult> {
    return runEstablished(this.#clients, seconds, options, this.#options.seat);
  }

  /** Some of the flows ask to be let in, and then once more. */
  firstPackets(options: FirstPackets): Promise<FirstPacketsResult> {
    return runFirstPackets(this.#clients, options, this.#options.seat);
  }

  /** Strangers send for so long, or so many; as fast as they can if no rate is given. */
  flood(kind: FloodKind, seconds: number, limits: { rate?: number; count?: number } = {}): Promise<FloodResult> {
    const flows = kind === "forged" || kind === "replay" ? this.flowsFile : undefined;
    // Strangers have machines of their own too: where they share ours, they take what is left of it.
    const options = { ...this.#target, ...limits, sources: this.#options.network.strangers, flows, seconds, nice: 19 };
    return runLoad(kind, options, { cpu: this.#options.seat?.cpu });
  }

  /** The relay stands still, and its sockets fill, until `body` is done. */
  async standingStill<Result>(body: () => Promise<Result>): Promise<Result> {
    process.kill(this.relayPid, "SIGSTOP");
    try {
      return await body();
    } finally {
      process.kill(this.relayPid, "SIGCONT");
    }
  }

  async snapshot(): Promise<Snapshot> {
    const { metrics, loopDelayMs } = await ask<RelayHostSnapshot>(this.#relay, { kind: "snapshot" });
    const sockets = udpSockets(this.relayPid);
    const drops = (...ports: readonly number[]) =>
      sockets.reduce((sum, { port, drops }) => (ports.includes(port) ? sum + drops : sum), 0);
    return {
      relay: new Metrics(metrics),
      loopDelayMs,
      echo: await this.#echo.counts(),
      kernelDrops: { public: drops(this.port), trunk: drops(...this.trunkPorts) },
    };
  }

  /** The figures once nothing is under way any more. */
  async settled(): Promise<Snapshot> {
    const deadline = performance.now() + SETTLED_WITHIN_MS;
    for (let before = ""; performance.now() < deadline; ) {
      const now = await this.snapshot();
      const waiting = udpSockets(this.relayPid).some(({ waiting }) => waiting > 0);
      const sum = now.relay.sumOfAll("earshot_relay_up_") + now.relay.sumOfAll("earshot_relay_frame_");
      const all = JSON.stringify([sum, now.relay.sum("earshot_relay_held"), now.echo.frames, now.kernelDrops]);
      if (!waiting && all === before) return now;
      before = all;
      await sleep(REST_MS);
    }
    throw new Error(`the relay has not come to rest within ${SETTLED_WITHIN_MS} ms`);
  }

  async close(): Promise<void> {
    const ended = once(this.#relay, "exit");
    this.#relay.send({ kind: "stop" } satisfies RelayHostRequest);
    await Promise.all([ended, this.#echo.stop()]);
    rmSync(this.#folder, { recursive: true });
  }

  get #clients(): EstablishedTarget {
    return { ...this.#target, flowsFile: this.flowsFile, clientPort: this.clientPort };
  }

  get #target(): { to: string; port: number } {
    return { to: this.address, port: this.port };
  }
}

interface Parts {
  readonly relay: ChildProcess;
  readonly echo: EchoTransceiver;
  readonly folder: string;
  readonly keys: DerivedKeys;
  readonly epoch: bigint;
  readonly flowsFile: string;
}

/** As native/core/worker.cc names them. */
const workerThreads = (pid: number): readonly number[] => threadsNamed(pid, /^earshot-w\d+$/);

function startRelayHost(seat: Seat): ChildProcess {
  const script = fileURLToPath(new URL("relay-host.js", import.meta.url));
  const [program, ...args] = seatedWith(seat, process.execPath, script) as [string, ...string[]];
  return spawn(program, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
}

/** Its answer. It ends instead if something is wrong, and says on stderr what. */
async function ask<Answer>(relay: ChildProcess, request: RelayHostRequest): Promise<Answer> {
  const ended = new AbortController();
  const onExit = () => ended.abort(new Error("the relay has ended"));
  relay.once("exit", onExit);
  try {
    const answer = once(relay, "message", { signal: ended.signal });
    relay.send(request);
    return (await answer)[0] as Answer;
  } finally {
    relay.off("exit", onExit);
  }
}
