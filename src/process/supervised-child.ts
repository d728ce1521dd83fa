/**
 * The front's side of one child process: starts it, asks it, starts it again after it died, and stops it.
 *
 *   idle --start--> starting --ready--> up --died--> waiting --1 s--> starting ...
 *   any state --stop--> stopped
 *
 * A child that fails before it was ready for the first time is not started again: `start` rejects with its error.
 */
import { type ChildProcess, fork } from "node:child_process";
import type { Logger } from "pino";
import { EarshotError } from "../earshot-error.ts";
import type { Calls, ErrorMessage, Events, ToChild, ToFront } from "./messages.ts";
import { Requests } from "./requests.ts";

/** Long enough that a child that fails at once does not burn a CPU, short enough that few callers notice. */
const RESPAWN_MS = 1000;
/** Stop is to be complete within a second; what is left of it is the front's own. */
const KILL_AFTER_MS = 800;
/** A healthy child is ready in well under a second; allocating a large flow table can take a few. */
const READY_WITHIN_MS = 20_000;
const ASK_TIMEOUT_MS = 10_000;

export interface ChildOptions<Ready, E extends Events> {
  /** For logs, metrics and errors. */
  readonly name: string;
  /** The module that the process runs. */
  readonly entry: URL;
  readonly logger: Logger;
  /** Made anew for each start, so that a restarted child gets what has become known since. */
  readonly init: () => unknown;
  /** Called each time that the child is ready, with how often it has been so before. */
  readonly onReady: (ready: Ready, restarts: number) => void;
  readonly onGone?: () => void;
  readonly onEvent?: <N extends keyof E & string>(name: N, value: E[N]) => void;
}

export class SupervisedChild<Ready, C extends Calls, E extends Events> {
  readonly name: string;
  readonly #options: ChildOptions<Ready, E>;
  readonly #requests: Requests;
  #process: ChildProcess | undefined;
  #up = false;
  #stopped = false;
  #restarts = 0;
  #respawn: NodeJS.Timeout | undefined;
  #firstReady: { resolve: (ready: Ready) => void; reject: (error: EarshotError) => void } | undefined;

  constructor(options: ChildOptions<Ready, E>) {
    this.name = options.name;
    this.#options = options;
    this.#requests = new Requests(options.name, (message) => this.#tell(message));
  }

  get up(): boolean {
    return this.#up;
  }

  /** How often it was started again. */
  get restarts(): number {
    return this.#restarts;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Resolves when the child is ready for the first time; rejects with its error if it never is. */
  start(): Promise<Ready> {
    return new Promise((resolve, reject) => {
      this.#firstReady = { resolve, reject };
      this.#spawn();
    });
  }

  ask<N extends keyof C & string>(
    name: N,
    argument: C[N]["argument"],
    timeoutMs = ASK_TIMEOUT_MS,
  ): Promise<C[N]["reply"]> {
    if (!this.#up) return Promise.reject(this.#goneError());
    return this.#requests.ask(name, argument, timeoutMs) as Promise<C[N]["reply"]>;
  }

  /** Asks the child to stop, and kills it if it has not within 800 ms. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#respawn);
    this.#firstReady?.reject(new EarshotError("STOPPED", `stopped before the ${this.name} was ready`));
    this.#firstReady = undefined;
    const child = this.#process;
    if (child === undefined) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    this.#tell({ type: "stop" });
    const killer = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
    await exited;
    clearTimeout(killer);
  }

  #spawn(): void {
    const child = fork(this.#options.entry, [], {
      serialization: "advanced",
      // A child's stdout is not for us to promise anything on: whatever a library prints there goes to stderr.
      stdio: ["ignore", 2, 2, "ipc"],
    });
    this.#process = child;
    let failure: ErrorMessage | undefined;
    const slow = setTimeout(() => {
      failure = { code: "CHILD_SILENT", message: `the ${this.name} was not ready within ${READY_WITHIN_MS} ms` };
      child.kill("SIGKILL");
    }, READY_WITHIN_MS);

    child.on("message", (message: ToFront) => {
      if (message.type === "reply" || message.type === "refusal") this.#requests.settle(message);
      else if (message.type === "event") this.#options.onEvent?.(message.name as never, message.value as never);
      else if (message.type === "failed") failure = message.error;
      else {
        clearTimeout(slow);
        this.#ready(message.ready as Ready);
      }
    });
    child.on("error", (error) => {
      failure = { code: "CHILD_PROCESS", message: `the ${this.name} process: ${error.message}` };
      // A process that could not be made has no exit either.
      if (child.pid === undefined) this.#exited(failure, "never started");
    });
    child.on("exit", (code, signal) => {
      clearTimeout(slow);
      this.#exited(failure, signal ?? `code ${code}`);
    });
    this.#tell({ type: "init", init: this.#options.init() });
  }

  #ready(ready: Ready): void {
    if (this.#stopped) return;
    this.#up = true;
    this.#options.onReady(ready, this.#restarts);
    this.#firstReady?.resolve(ready);
    this.#firstReady = undefined;
  }

  #exited(failure: ErrorMessage | undefined, how: string): void {
    this.#process = undefined;
    if (this.#up) this.#options.onGone?.();
    this.#up = false;
    this.#requests.rejectAll(this.#goneError());
    if (this.#stopped) return;
    if (this.#firstReady !== undefined) {
      this.#stopped = true;
      const error = failure ?? { code: "CHILD_EXIT", message: `the ${this.name} ended (${how}) before it was ready` };
      this.#firstReady.reject(new EarshotError(error.code, error.message));
      this.#firstReady = undefined;
      return;
    }
    const { logger } = this.#options;
    logger.error(
      { child: this.name, how, error: failure },
      `${this.name} ended, starting it again in ${RESPAWN_MS} ms`,
    );
    this.#respawn = setTimeout(() => {
      this.#restarts++;
      this.#spawn();
    }, RESPAWN_MS);
  }

  #goneError(): EarshotError {
    return new EarshotError("CHILD_GONE", `the ${this.name} is not running; it is being started again`);
  }

  /** The callback takes the error of a channel that has just closed; the exit event follows and says the rest. */
  #tell(message: ToChild): void {
    this.#process?.send(message, () => {});
  }
}
