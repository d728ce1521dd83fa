/** Owns a redis-server of its own, on loopback or on a host of a test's network: nothing of it stays on disk, and it can be stopped, killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Redis } from "ioredis";
import { inNetwork } from "../../bench/load/seat.ts";
import { eventually } from "./eventually.ts";

/** Where it runs. */
interface Place {
  readonly address: string;
  /** A process in that network; ours if absent. */
  readonly pid?: number;
}

const LOOPBACK: Place = { address: "127.0.0.1" };

export class RedisServer {
  readonly port: number;
  /** Somebody else's connection, who may do anything. */
  readonly client: Redis;
  readonly #args: readonly string[];
  readonly #place: Place;
  #child: ChildProcess;

  private constructor(port: number, args: readonly string[], place: Place) {
    this.port = port;
    this.#args = args;
    this.#place = place;
    this.#child = this.#spawn();
    this.client = new Redis({ host: place.address, port, lazyConnect: true, retryStrategy: () => 50 });
    this.client.on("error", () => {});
  }

  static start(...args: readonly string[]): Promise<RedisServer> {
    return RedisServer.startOn(LOOPBACK, ...args);
  }

  static async startOn(place: Place, ...args: readonly string[]): Promise<RedisServer> {
    return RedisServer.#started(await freeTcpPort(), ["--save", "", "--appendonly", "no", ...args], place);
  }

  /** On this port, which nobody has. */
  static async startAt(port: number): Promise<RedisServer> {
    return RedisServer.#started(port, ["--save", "", "--appendonly", "no"]);
  }

  /** Not a server but a Sentinel, which keeps its state in that file. */
  static async startSentinel(file: string): Promise<RedisServer> {
    return RedisServer.#started(await freeTcpPort(), [file, "--sentinel"]);
  }

  static async #started(port: number, args: readonly string[], place = LOOPBACK): Promise<RedisServer> {
    const server = new RedisServer(port, args, place);
    try {
      await server.#answers();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  get url(): string {
    return `redis://${this.#place.address}:${this.port}`;
  }

  /** It stands still: connections stay, and nothing is answered. */
  pause(): void {
    this.#child.kill("SIGSTOP");
  }
  resume(): void {
    this.#child.kill("SIGCONT");
  }

  /** As a process dies, with all that it held. */
  async kill(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  /** On the same port, empty. */
  async startAgain(): Promise<void> {
    this.#child = this.#spawn();
    await this.#answers();
  }

  async close(): Promise<void> {
    this.client.disconnect();
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
  }

  #spawn(): ChildProcess {
    const { address, pid } = this.#place;
    const own = ["--port", String(this.port), "--bind", address, "--protected-mode", "no", "--loglevel", "warning"];
    // A configuration file has to come first.
    const [program, ...args] = inNetwork(pid, "redis-server", ...this.#args, ...own) as [string, ...string[]];
    return spawn(program, args, { stdio: "ignore" });
  }

  async #answers(): Promise<void> {
    if (this.client.status === "wait") this.client.connect().catch(() => {});
    await eventually(
      "a redis-server",
      () => this.client.ping(),
      (answer) => answer === "PONG",
    );
  }
}

/** Free on 127.0.0.1 a moment ago. */
export async function freeTcpPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
