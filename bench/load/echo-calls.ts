/**
 * Echo calls on one transceiver process: that process, the load that plays its clients and the relay between, and how a call
 * comes about. The two speak over loopback and are on CPUs of their own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { deriveKeys } from "../../src/keys/key-ring.ts";
import { packageRoot } from "../../src/package-root.ts";
import { LineProcess } from "./line-process.ts";
import { buildTools } from "./load-tools.ts";
import { seated } from "./seat.ts";
import type {
  SnapshotWishes,
  TransceiverHostOptions,
  TransceiverHostRequest,
  TransceiverHostSnapshot,
} from "./transceiver-host.ts";

export interface EchoCallsOptions {
  readonly trunkEnd: "native" | "js";
  /** Whether the load packs several clients' datagrams into one of the trunk, as a relay under heavy load does. */
  readonly packed: boolean;
  /** Both go before almost everything else on their CPUs. Needs root. */
  readonly urgent: boolean;
  readonly transceiverCpu: number;
  readonly loadCpu: number;
  /** Where a CPU profile goes, if one is wanted. */
  readonly profile: string | undefined;
}

interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

/** Of the time since the last reset, but for the first four. */
export interface CallsResult {
  readonly calls: number;
  readonly connected: number;
  readonly failed: number;
  /** Those that have had an echo. */
  readonly heard: number;
  readonly audioSent: number;
  readonly echoes: number;
  readonly framesSent: number;
  readonly datagramsSent: number;
  readonly notSent: number;
  readonly framesReceived: number;
  readonly datagramsReceived: number;
  readonly kernelDrops: number;
  /** From sending a packet until its echo is there. */
  readonly echoUs: Quantiles & { readonly p999: number };
  /** From the offer, of the calls that are new since the last reset. */
  readonly connectUs: Quantiles;
  readonly firstAudioUs: Quantiles;
}

const LOAD = fileURLToPath(new URL("build/load/calls", packageRoot));
const HOST = fileURLToPath(new URL("transceiver-host.js", import.meta.url));
const UFRAG = "load";
const PASSWORD = "ApasswordThatAllClientsOfTheLoadShare";
const MAX_CALLS = 10_000;
const ID = 1;
const CLUSTER = 1;

export class EchoCalls {
  readonly #host: ChildProcess;
  readonly #load: LineProcess<{ fingerprint: string }, CallsResult>;
  readonly #offer: string;

  private constructor(host: ChildProcess, load: LineProcess<{ fingerprint: string }, CallsResult>) {
    this.#host = host;
    this.#load = load;
    this.#offer = offerSdp(load.started.fingerprint);
  }

  static async open(options: EchoCallsOptions): Promise<EchoCalls> {
    buildTools("bench/load", "calls");
    const fleetKey = { id: 1, secret: randomBytes(32), signs: true };
    const epoch = BigInt(Date.now());
    const { trunkEnd } = options;
    const about = { id: ID, cluster: CLUSTER, epoch, fleetKey, trunkEnd, maxCalls: MAX_CALLS };
    const host = await startHost(about, options);
    try {
      const { id, trunkUp, trunkDown } = deriveKeys(fleetKey);
      const words = ["--port", host.port, "--id", ID, "--epoch", epoch, "--cluster", CLUSTER];
      const command = [LOAD, ...words.map(String), "--ufrag", UFRAG, "--password", PASSWORD];
      if (options.packed) command.push("--pack");
      const keys = `${id} ${trunkUp.toString("hex")} ${trunkDown.toString("hex")}`;
      const load = await LineProcess.start<{ fingerprint: string }, CallsResult>(
        inFront(options.urgent, command),
        { cpu: options.loadCpu },
        keys,
      );
      return new EchoCalls(host.child, load);
    } catch (error) {
      host.child.kill("SIGKILL");
      throw error;
    }
  }

  /** Opens a call; its client begins at once. */
  async call(): Promise<void> {
    const offeredNs = process.hrtime.bigint();
    const { answerSdp } = (await this.#ask({ type: "offer", sdp: this.#offer })) as { answerSdp: string };
    const [, ufrag] = /^a=ice-ufrag:(\S+)/m.exec(answerSdp)!;
    const [, password] = /^a=ice-pwd:(\S+)/m.exec(answerSdp)!;
    this.#load.tell(`call ${offeredNs} ${ufrag} ${password}`);
  }

  /** What both have counted since the last reset. To tell it takes the load some time, in which it reads nothing. */
  async snapshot(): Promise<{ load: CallsResult; transceiver: TransceiverHostSnapshot }> {
    const load = await this.#load.ask();
    return { load, transceiver: await this.#snapshot({}) };
  }

  /** The transceiver after a full collection, which stops it for a tenth of a second. */
  memory(): Promise<TransceiverHostSnapshot> {
    return this.#snapshot({ collects: true });
  }

  /** Both count anew. Gives what the transceiver had counted. */
  async reset(): Promise<TransceiverHostSnapshot> {
    const before = await this.#snapshot({ resets: true });
    this.#load.tell("reset");
    return before;
  }

  async #snapshot(wishes: SnapshotWishes): Promise<TransceiverHostSnapshot> {
    return (await this.#ask({ type: "snapshot", ...wishes })) as TransceiverHostSnapshot;
  }

  async close(): Promise<void> {
    await this.#load.stop();
    const ended = once(this.#host, "exit");
    this.#host.disconnect();
    await ended;
  }

  async #ask(request: TransceiverHostRequest): Promise<unknown> {
    const answered = once(this.#host, "message");
    this.#host.send(request);
    const [answer] = await answered;
    return answer;
  }
}

async function startHost(
  options: TransceiverHostOptions,
  { transceiverCpu, urgent, profile }: EchoCallsOptions,
): Promise<{ child: ChildProcess; port: number }> {
  const profiling = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
  const command = inFront(urgent, [process.execPath, ...profiling, HOST]);
  const [program, ...args] = seated(transceiverCpu, ...command) as [string, ...string[]];
  const child = spawn(program, args, {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced",
    env: { ...process.env, NODE_ENV: "production" },
  });
  child.send(options);
  const [started] = (await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code]) => {
      throw new Error(`the transceiver has ended with ${code}`);
    }),
  ])) as [{ port: number }];
  return { child, port: started.port };
}

/**
 * By weight, not with a realtime priority: among threads of that, one that collects garbage keeps the CPU for 100 ms (SCHED_RR),
 * or those that wait for each other in loops wait for ever (SCHED_FIFO).
 */
function inFront(urgent: boolean, command: readonly string[]): string[] {
  return urgent ? ["nice", "--adjustment=-20", ...command] : [...command];
}

/** Audio alone, as a browser offers it, with the credentials that all clients of the load share. */
function offerSdp(fingerprint: string): string {
  return [
    "v=0",
    "o=- 1 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 96",
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    `a=ice-ufrag:${UFRAG}`,
    `a=ice-pwd:${PASSWORD}`,
    `a=fingerprint:sha-256 ${fingerprint}`,
    "a=setup:actpass",
    "a=mid:0",
    "a=sendrecv",
    "a=rtcp-mux",
    "a=rtpmap:96 opus/48000/2",
    "a=ssrc:1 cname:load",
    "",
  ].join("\r\n");
}
