/** Owns an `earshot` service as a child process, as an operator runs it: found by its banner, stopped by SIGINT. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { inNetwork } from "../../bench/load/seat.ts";
import { packageRoot } from "../../src/package-root.ts";
import { Metrics } from "./metrics.ts";

export const PROGRAM = fileURLToPath(new URL("dist/src/cli/main.js", packageRoot));
const BANNER_END = "Ctrl-C stops it.";
const READY_WITHIN_MS = 60_000;
const STOPPED_WITHIN_MS = 30_000;

export class EarshotProcess {
  /** Of its HTTP server, without a slash at the end. */
  readonly url: string;
  readonly banner: string;
  readonly #child: ChildProcess;
  readonly #log: () => string;

  private constructor(child: ChildProcess, banner: string, log: () => string) {
    this.#child = child;
    this.banner = banner;
    this.#log = log;
    const [url] = /http:\/\/[^\s/]+/.exec(banner) ?? [];
    assert.ok(url, `no URL in the banner:\n${banner}`);
    this.url = url;
  }

  /** Resolves when it has said that it is ready. `args` are those of the command line; give it ports of the kernel's choice. */
  static start(...args: string[]): Promise<EarshotProcess> {
    return EarshotProcess.run(PROGRAM, ...args);
  }

  /** The same on another host: in the network of the process with this id. */
  static startOn(networkOf: number | undefined, ...args: string[]): Promise<EarshotProcess> {
    return EarshotProcess.#started(inNetwork(networkOf, process.execPath, PROGRAM, ...args));
  }

  /** The same of a script that starts the program. */
  static run(script: string, ...args: string[]): Promise<EarshotProcess> {
    return EarshotProcess.#started([process.execPath, script, ...args]);
  }

  static async #started(command: readonly string[]): Promise<EarshotProcess> {
    const [program, ...args] = command as [string, ...string[]];
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdout.setEncoding("utf8");
    const banner = await new Promise<string>((resolve, reject) => {
      const fail = (why: string) => {
        child.kill("SIGKILL");
        reject(new Error(`${command.join(" ")}: ${why}\n${stdout}${stderr}`));
      };
      const timer = setTimeout(() => fail(`not ready within ${READY_WITHIN_MS} ms`), READY_WITHIN_MS);
      child.stdout.on("data", (text: string) => {
        stdout += text;
        if (!stdout.includes(BANNER_END)) return;
        clearTimeout(timer);
        resolve(stdout);
      });
      child.once("exit", (code, signal) => {
        clearTimeout(timer);
        fail(`ended with ${signal ?? `code ${code}`}`);
      });
    });
    return new EarshotProcess(child, banner, () => stderr);
  }

  /** What it has logged so far. */
  get log(): string {
    return this.#log();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Process ids of its own children. */
  children(): readonly number[] {
    const { pid } = this.#child;
    const list = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
    return list.split(" ").filter(Boolean).map(Number);
  }

  async metrics(): Promise<Metrics> {
    const response = await fetch(`${this.url}/metrics`);
    assert.equal(response.status, 200);
    return new Metrics(await response.text());
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** As a host dies: at once, with everything that it has not sent. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** How it ends, which something before has brought about. */
  async ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    return { code: child.exitCode, signal: child.signalCode };
  }

  /** Fails if it does not end by itself, with code 0. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) {
      assert.fail(`it had ended before, with ${child.signalCode ?? `code ${child.exitCode}`}:\n${this.log}`);
    }
    const killer = setTimeout(() => child.kill("SIGKILL"), STOPPED_WITHIN_MS);
    // Not SIGTERM, which waits for calls that are on.
    child.kill("SIGINT");
    const [code, signal] = await once(child, "exit");
    clearTimeout(killer);
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, this.log);
  }
}

/** A command that ends by itself; its stdout. */
export function runEarshot(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}
