/** One measurement of bench:pps: a driver, a side of its own processes, and the proof that it forwarded everything. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/package-root.ts";
import { LineProcess } from "../load/line-process.ts";
import { median } from "../report/summary.ts";
import { BEHIND, LEARNS, prioritise, type Side, type SideName, startSide } from "./sides.ts";

export interface Conditions {
  readonly direction: "up" | "down" | "mixed";
  readonly bytes: number;
  readonly flows: number;
  readonly transceivers: number;
  readonly workers: number;
  /** Packets/s; 0 is a backlog. */
  readonly rate: number;
}

export interface Measured {
  /** CPU time of all threads. */
  readonly nsPerPacket: number;
  /** Of the busiest thread alone, which bounds what all can forward together. */
  readonly busiestNsPerPacket: number;
  /** Towards what is behind; undefined where nothing went there. */
  readonly framesPerDatagram: number | undefined;
  readonly bytesPerFlow: number | undefined;
}

interface DriverResult {
  readonly sent: number;
  readonly arrivedBehind: number;
  readonly arrivedAtClients: number;
  readonly rounds: readonly { readonly nsPerPacket: number; readonly busiestNsPerPacket: number }[];
}

const DRIVER = fileURLToPath(new URL("build/pps/driver", packageRoot));
/** The relay's end of the trunk packs until a datagram has 1,400 bytes; so does, here, the other end. */
const TRUNK_BYTES = 1400;
const TRUNK_OVERHEAD_BYTES = 40;
const FRAME_OVERHEAD_BYTES = 12;
/** What a socket of 4 MiB holds, less a quarter for what is not measured: the kernel doubles what it is asked for. */
const QUEUE_BYTES = 6 << 20;

/** What the kernel takes of a receive buffer for a datagram: a power of two for its bytes, and its own structures. */
const queuedBytes = (bytes: number): number => 2 ** Math.ceil(Math.log2(bytes + 380)) + 320;

/** Throws with the compiler's output. */
export function buildPpsTools(): void {
  mkdirSync(fileURLToPath(new URL("build", packageRoot)), { recursive: true });
  const { status, stdout, stderr, error } = spawnSync("make", ["--silent", "--jobs=2", "-C", "bench/pps"], {
    cwd: fileURLToPath(packageRoot),
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`bench/pps does not compile\n${error?.message ?? ""}${stdout}${stderr}`);
}

export async function measure(name: SideName, conditions: Conditions, rounds: number): Promise<Measured> {
  const { direction, bytes, flows, transceivers, workers, rate } = conditions;
  const frames = Math.max(1, Math.floor((TRUNK_BYTES - TRUNK_OVERHEAD_BYTES) / (bytes + FRAME_OVERHEAD_BYTES)));
  const packets = Math.min(6000, Math.floor(QUEUE_BYTES / queuedBytes(bytes)));
  const driver = await LineProcess.start<{ readonly upstreamPort: number; readonly clientPort: number }, DriverResult>([
    ...[DRIVER, "--direction", direction, "--behind", BEHIND[name], "--flows", String(flows), "--bytes", String(bytes)],
    ...["--transceivers", String(transceivers), "--frames", String(frames), "--rounds", String(rounds)],
    ...["--packets", String(packets), "--rate", String(rate)],
    ...(LEARNS.has(name) ? ["--prime"] : []),
  ]);
  // Under a steady load it never sleeps, and would stand in everybody's way.
  if (rate === 0) prioritise(driver.pid, "driver");
  const { upstreamPort, clientPort } = driver.started;
  const cpus = Array.from({ length: workers }, (_, w) => w);
  let side: Side | undefined;
  try {
    side = await startSide(name, { upstreamPort, clientPort, upstreams: transceivers, flows, workers, cpus });
    const { pids, port, trunkPorts, trunkDown } = side;
    const result = await driver.ask(`${pids} ${port} ${trunkPorts.length > 0 ? trunkPorts : "-"} ${trunkDown ?? "-"}`);
    await checkAll(name, conditions, side, result);
    const wentBehind = name !== "floor" && direction === "up";
    return {
      nsPerPacket: median(result.rounds.map((round) => round.nsPerPacket)),
      busiestNsPerPacket: median(result.rounds.map((round) => round.busiestNsPerPacket)),
      framesPerDatagram: wentBehind ? result.sent / result.arrivedBehind : undefined,
      bytesPerFlow: side.bytesPerFlow,
    };
  } finally {
    await side?.stop();
    await driver.stop();
  }
}

/** A forwarder that loses something has done less than the others: its figure would be none. */
async function checkAll(name: SideName, conditions: Conditions, side: Side, result: DriverResult): Promise<void> {
  const counts = await side.counts();
  const forwarded =
    counts === undefined ? result.arrivedBehind + result.arrivedAtClients : counts.upForwarded + counts.downForwarded;
  // Under a steady load the driver tells how many of the last datagrams found no room.
  const least = conditions.rate > 0 ? result.sent * 0.98 : result.sent;
  if (forwarded >= least) return;
  throw new Error(
    `${name} forwarded ${forwarded} of ${result.sent}: ${JSON.stringify({ conditions, counts, result })}`,
  );
}
