/** The load tools of bench/load, as promises: builds them, runs the generator, and keeps an echo transceiver. */
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { DerivedKeys } from "../../src/keys/key-ring.ts";
import { packageRoot } from "../../src/package-root.ts";
import { LineProcess } from "./line-process.ts";
import { inNetwork, type Seat, seated } from "./seat.ts";

const at = (file: string): string => fileURLToPath(new URL(file, packageRoot));
const LOAD = at("build/load/load");
const ECHO = at("build/load/echo");
/** Beyond what a mode's own --seconds allow. */
const LONGEST_RUN_MS = 300_000;

/** Throws with the compiler's output. Safe to call from several processes at once. */
export function buildTools(folder: "bench/load" | "bench/native", target = "all"): void {
  mkdirSync(at("build"), { recursive: true });
  const { status, stdout, stderr, error } = spawnSync(
    "flock",
    [at("build/.load-lock"), "make", "--silent", "-C", at(folder), target],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`${folder} does not compile\n${error?.message ?? ""}${stdout}${stderr}`);
}

export const buildLoadTools = (): void => buildTools("bench/load");

export interface EstablishedResult {
  /** Binding requests before the measurement, those that were sent again too. */
  readonly setUpSent: number;
  readonly sent: number;
  readonly received: number;
  /** Sent, and not back when the lingering after the last one was over. */
  readonly lost: number;
  readonly duplicates: number;
  /** No echo, or at another client than it belongs to. */
  readonly strange: number;
  /** Of an earlier run with the same flows, which had not lingered long enough for it. */
  readonly ofOtherRuns: number;
  /** From another address or port than the load had been sent to. */
  readonly elsewhere: number;
  readonly checksSent: number;
  readonly checksAnswered: number;
  /** Flows that had nothing of what they sent in the last second. */
  readonly silentFlows: number;
  /** Flows of which nothing came back that was sent after they had moved. */
  readonly unansweredFlows: number;
  /** The longest silence of each flow. */
  readonly gapMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** From a flow's first datagram after it has moved until the first echo of one that was sent after that. */
  readonly movedMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Echoes that found no room at the generator, within `lost`. */
  readonly ownKernelDrops: number;
  readonly perSecond: number;
  /** How late the latest datagram was sent. */
  readonly latestUs: number;
  /** From sending until the echo is back in the kernel. */
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

export interface EstablishedOptions {
  /** Ask to be let in first, with Binding requests. */
  readonly setUp?: boolean | undefined;
  /** Per flow and second. */
  readonly rate?: number;
  /** Between two looks at the clock: what is due meanwhile is sent together. */
  readonly stepUs?: number;
  /** So long after the last datagram its echo may come. */
  readonly lingerMs?: number;
  /** So much longer while one is missing: where they wait in the kernel while nobody forwards, and time is not what counts. */
  readonly missingMs?: number;
  /** Each flow also sends its first request again that often. */
  readonly checkMs?: number | undefined;
  /** From so long after the beginning all flows send to {@link moveToPort}. */
  readonly moveAfterMs?: number | undefined;
  readonly moveToPort?: number | undefined;
}

export interface EstablishedTarget {
  readonly to: string;
  readonly port: number;
  readonly flowsFile: string;
  /** Of all clients; the load tool's own choice if absent. */
  readonly clientPort?: number;
}

const SET_UP_WITHIN_SECONDS = 20;

/** Clients that send at a steady rate for so long. */
export function runEstablished(
  { to, port, flowsFile, clientPort }: EstablishedTarget,
  seconds: number,
  options: EstablishedOptions = {},
  seat?: Seat,
): Promise<EstablishedResult> {
  const own = {
    ...{ to, port, flows: flowsFile, rate: options.rate, milliseconds: Math.round(seconds * 1000) },
    "set-up-seconds": options.setUp === true ? SET_UP_WITHIN_SECONDS : undefined,
    "step-us": options.stepUs,
    "linger-ms": options.lingerMs,
    "missing-ms": options.missingMs,
    "client-port": clientPort,
    "check-ms": options.checkMs,
    "move-after-ms": options.moveAfterMs,
    "move-to-port": options.moveToPort,
  };
  return runLoad("established", own, seat);
}

export interface FirstPackets {
  /** Lines of the flows file. */
  readonly first: number;
  readonly count: number;
  /** New flows per second; or as many as come while no more than so many wait for their answer. */
  readonly offer: { readonly perSecond: number } | { readonly underWay: number };
}

export interface Answers {
  readonly sent: number;
  readonly answered: number;
  /** From the first request to the last answer. */
  readonly perSecond: number;
  /** From sending a request until the kernel has its answer. */
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export interface FirstPacketsResult {
  readonly first: Answers;
  /** The same requests once more, when their flows are there. */
  readonly again: Answers;
  readonly ownKernelDrops: number;
}

export function runFirstPackets(
  { to, port, flowsFile, clientPort }: EstablishedTarget,
  { first, count, offer }: FirstPackets,
  seat?: Seat,
): Promise<FirstPacketsResult> {
  const limit = "perSecond" in offer ? { rate: offer.perSecond } : { "under-way": offer.underWay };
  return runLoad(
    "first-packets",
    { to, port, flows: flowsFile, "client-port": clientPort, first, count, ...limit },
    seat,
  );
}

export interface FloodResult {
  readonly sent: number;
  readonly refused: number;
  readonly seconds: number;
  readonly perSecond: number;
}

/** Runs the generator. Options without a value are flags; those that are undefined or false are left out. */
export async function runLoad<Result>(
  mode: string,
  options: Readonly<Record<string, string | number | boolean | undefined>>,
  { cpu, realtime, networkOf }: Seat = {},
  input?: string,
): Promise<Result> {
  const args = Object.entries({ ...options, realtime }).flatMap(([name, value]) => {
    if (value === undefined || value === false) return [];
    return value === true ? [`--${name}`] : [`--${name}`, String(value)];
  });
  const [program, ...rest] = inNetwork(networkOf, ...seated(cpu, LOAD, mode, ...args)) as [string, ...string[]];
  const running = promisify(execFile)(program, rest, { timeout: LONGEST_RUN_MS });
  running.child.stdin?.end(input ?? "");
  const { stdout } = await running;
  return JSON.parse(stdout) as Result;
}

export interface EchoCounts {
  /** Trunk datagrams. */
  readonly received: number;
  /** Not for it, or not authentic. */
  readonly refused: number;
  readonly frames: number;
  readonly unreadable: number;
  /** Binding requests, each answered with success. */
  readonly requests: number;
  readonly echoed: number;
  readonly pings: number;
  /** But for pongs. */
  readonly framesSent: number;
  /** Trunk datagrams to workers, and to a relay's control plane. */
  readonly sent: number;
  readonly sentToControl: number;
  readonly sendFailed: number;
  /** Paths that a relay asked about. */
  readonly asserted: number;
  /** Frames for paths whose relay is gone, to other relays. */
  readonly sought: number;
  readonly kernelDrops: number;
}

export interface EchoOptions extends Seat {
  readonly cluster: number;
  readonly id: number;
  readonly epoch: bigint;
  readonly keys: DerivedKeys;
  /** Also sends, after each batch, one of everything that a relay has to drop. */
  readonly mischief?: boolean | undefined;
  /** Answers no relay that asks about a path, and turns to no other when its relay is gone. */
  readonly forgetful?: boolean | undefined;
  /** Of the trunk: 127.0.0.1 and the kernel's choice if absent. Another address only in a network that a test has made. */
  readonly address?: string;
  readonly port?: number;
}

/** A transceiver that answers every Binding request and echoes the rest. */
export class EchoTransceiver {
  readonly #process: LineProcess<{ readonly port: number }, EchoCounts>;

  private constructor(process: LineProcess<{ readonly port: number }, EchoCounts>) {
    this.#process = process;
  }

  static async start(options: EchoOptions): Promise<EchoTransceiver> {
    const { cluster, id, epoch, keys } = options;
    const command = [ECHO, "--cluster", String(cluster), "--id", String(id), "--epoch", String(epoch)];
    if (options.realtime === true) command.push("--realtime");
    if (options.mischief === true) command.push("--mischief");
    if (options.forgetful === true) command.push("--forgetful");
    if (options.address !== undefined) command.push("--address", options.address);
    if (options.port !== undefined) command.push("--port", String(options.port));
    // On stdin, because everybody may read a command line.
    const secret = `${keys.id} ${keys.trunkUp.toString("hex")} ${keys.trunkDown.toString("hex")}`;
    return new EchoTransceiver(await LineProcess.start(command, options, secret));
  }

  get port(): number {
    return this.#process.started.port;
  }

  counts(): Promise<EchoCounts> {
    return this.#process.ask();
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }

  /** As a process dies that was not asked. */
  kill(): Promise<void> {
    return this.#process.kill();
  }
}
