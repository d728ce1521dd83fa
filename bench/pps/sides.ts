/** What bench:pps compares: each side as one or more processes that forward, and what the driver has to know of them. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/package-root.ts";
import { missingRival, PlainEcho, type RivalCounts, startRival } from "../forwarders/rivals.ts";
import { LineProcess } from "../load/line-process.ts";
import type { Missing } from "../report/result.ts";

export const SIDES = ["floor", "classical native", "Earshot native", "classical JS", "Earshot JS", "nginx"] as const;
export type SideName = (typeof SIDES)[number];

export interface SideOptions {
  readonly upstreamPort: number;
  readonly upstreams: number;
  readonly clientPort: number;
  readonly flows: number;
  readonly workers: number;
  /** One for each worker. */
  readonly cpus: readonly number[];
}

export interface Side {
  readonly pids: readonly number[];
  readonly port: number;
  /** Where it takes trunk datagrams, if it does; and their key in hexadecimal. */
  readonly trunkPorts: readonly number[];
  readonly trunkDown: string | undefined;
  readonly bytesPerFlow: number | undefined;
  counts(): Promise<RivalCounts | undefined>;
  stop(): Promise<void>;
}

/** How a side takes what comes from behind: driver.cc explains the words. */
export const BEHIND: Readonly<Record<SideName, "plain" | "numbered" | "trunk">> = {
  floor: "plain",
  "classical native": "numbered",
  "Earshot native": "trunk",
  "classical JS": "numbered",
  "Earshot JS": "trunk",
  nginx: "plain",
};
/** A forwarder that makes a flow of a client's first datagram has to see each client once, in order. */
export const LEARNS: ReadonlySet<SideName> = new Set(["classical native", "classical JS", "nginx"]);

const EARSHOT_NATIVE = fileURLToPath(new URL("build/pps/earshot_native", packageRoot));
const EARSHOT_JS = fileURLToPath(new URL("earshot-js.js", import.meta.url));
const CLASSICAL = fileURLToPath(new URL("build/load/classical", packageRoot));
/** node:dgram and nginx get what net.core.rmem_max allows. */
const ASKED_BYTES = 4 << 20;
const FORCED_BYTES = 256 << 20;
/** Realtime: before all that is not, as if its CPU had nothing else to do; and before the driver's, which sleeps meanwhile. */
const PRIORITY = { side: 5, driver: 1 } as const;

export function missingSide(side: SideName): Missing | undefined {
  return side === "nginx" ? missingRival("nginx") : undefined;
}

export async function startSide(name: SideName, options: SideOptions): Promise<Side> {
  const side = await start(name, options);
  for (const pid of side.pids) prioritise(pid, "side");
  return side;
}

/** Throws without root. */
export function prioritise(pid: number, who: keyof typeof PRIORITY): void {
  const { status, stderr } = spawnSync("chrt", ["--all-tasks", "--fifo", "--pid", String(PRIORITY[who]), String(pid)]);
  if (status !== 0) throw new Error(`no realtime priority, which needs root: ${stderr}`);
}

function start(name: SideName, options: SideOptions): Promise<Side> {
  const cpu = options.cpus[0]!;
  switch (name) {
    case "floor":
      return floor(cpu);
    case "classical native":
      return classicalNative(options);
    case "Earshot native":
      return earshot([EARSHOT_NATIVE, "--workers", String(options.workers)], FORCED_BYTES, options);
    case "Earshot JS":
      return earshot([process.execPath, EARSHOT_JS], ASKED_BYTES, options);
    default:
      return rival(name, options);
  }
}

const NO_TRUNK = { trunkPorts: [], trunkDown: undefined, bytesPerFlow: undefined } as const;

async function floor(cpu: number): Promise<Side> {
  const echo = await PlainEcho.start({ discard: true, cpu });
  return {
    ...NO_TRUNK,
    pids: [echo.pid],
    port: echo.port,
    counts: async () => {
      const received = await echo.received();
      return { upReceived: received, upForwarded: received, downReceived: 0, downForwarded: 0, dropped: 0 };
    },
    stop: () => echo.stop(),
  };
}

async function rival(kind: "classical JS" | "nginx", options: SideOptions): Promise<Side> {
  const { upstreamPort, upstreams, flows, cpus } = options;
  const started = await startRival(kind, {
    upstreamPort,
    upstreams,
    receiveBufferBytes: ASKED_BYTES,
    flows,
    ...(cpus[0] === undefined ? {} : { cpu: cpus[0] }),
  });
  return { ...NO_TRUNK, pids: [started.pid], port: started.port, counts: started.counts, stop: started.stop };
}

/** One process for each worker, on one port with SO_REUSEPORT. */
async function classicalNative(options: SideOptions): Promise<Side> {
  const { upstreamPort, upstreams, flows, workers, cpus } = options;
  const processes: LineProcess<{ readonly port: number }, RivalCounts>[] = [];
  for (let w = 0; w < workers; w++) {
    const command = [
      ...[CLASSICAL, "--address", "127.0.0.1", "--upstream-port", String(upstreamPort)],
      ...["--upstreams", String(upstreams), "--flows", String(flows)],
      ...["--receive-buffer-bytes", String(FORCED_BYTES), "--port", String(processes[0]?.started.port ?? 0)],
      ...(workers > 1 ? ["--reuse-port"] : []),
    ];
    processes.push(await LineProcess.start(command, { cpu: cpus[w] }));
  }
  return {
    ...NO_TRUNK,
    pids: processes.map(({ pid }) => pid),
    port: processes[0]!.started.port,
    counts: async () => sum(await Promise.all(processes.map((each) => each.ask()))),
    stop: async () => {
      await Promise.all(processes.map((each) => each.stop()));
    },
  };
}

function sum(all: readonly RivalCounts[]): RivalCounts {
  const total = (name: keyof RivalCounts): number => all.reduce((n, counts) => n + counts[name], 0);
  return {
    upReceived: total("upReceived"),
    upForwarded: total("upForwarded"),
    downReceived: total("downReceived"),
    downForwarded: total("downForwarded"),
    dropped: total("dropped"),
  };
}

interface EarshotStarted {
  readonly port: number;
  readonly trunkPorts: readonly number[];
  readonly trunkDown: string;
  readonly bytesPerFlow?: number;
}

async function earshot(command: readonly string[], bufferBytes: number, options: SideOptions): Promise<Side> {
  const { upstreamPort, upstreams, clientPort, flows, workers, cpus } = options;
  const running = await LineProcess.start<EarshotStarted, RivalCounts>(
    [
      ...command,
      ...["--upstream-port", String(upstreamPort), "--upstreams", String(upstreams)],
      ...["--client-port", String(clientPort), "--flows", String(flows), "--receive-buffer-bytes", String(bufferBytes)],
    ],
    // Several workers share the CPUs: the kernel spreads them.
    workers === 1 ? { cpu: cpus[0] } : {},
  );
  const { port, trunkPorts, trunkDown, bytesPerFlow } = running.started;
  return {
    pids: [running.pid],
    port,
    trunkPorts,
    trunkDown,
    bytesPerFlow,
    counts: () => running.ask(),
    stop: () => running.stop(),
  };
}
