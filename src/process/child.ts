/**
 * The front's side of one child process, from its fork to its exit. Whether another one follows is not decided here.
 *
 *   loading --warm--> waiting --begin--> starting --ready--> up --seal--> waiting ...
 *   any state --exit--> gone
 */
import { type ChildProcess, fork } from "node:child_process";
import { EarshotError } from "../earshot-error.ts";
import { type Calls, type ErrorMessage, type Events, SEAL, type ToChild, type ToFront } from "./messages.ts";
import { Requests } from "./requests.ts";

/** Stop is to be complete within a second; what is left of it is the front's own. */
const KILL_AFTER_MS = 800;

export interface ChildProcessOptions<E extends Events> {
  /** For logs, metrics and errors. */
  readonly name: string;
  /** The module that the process runs. */
  readonly entry: URL;
  /** Open descriptors that it inherits, as {@link FIRST_DESCRIPTOR} and those that follow. */
  readonly descriptors: readonly number[];
  readonly onEvent: ((name: keyof E & string, value: never) => void) | undefined;
  /** Called once. `failure` is what it said of itself, or what the front knows. */
  readonly onExit: (how: string, failure: ErrorMessage | undefined) => void;
}

/** After stdin, stdout, stderr and the channel. */
export const FIRST_DESCRIPTOR = 4;

export class Child<Ready, C extends Calls, E extends Events> {
  readonly name: string;
  /** When its modules are loaded, with what it says of itself. Rejects if it ends before. */
  readonly warm: Promise<unknown>;
  readonly #options: ChildProcessOptions<E>;
  readonly #process: ChildProcess;
  readonly #requests: Requests;
  readonly #exited: Promise<void>;
  #state: "idle" | "starting" | "up" | "gone" = "idle";
  #failure: ErrorMessage | undefined;
  #starting: { resolve: (ready: Ready) => void; reject: (error: EarshotError) => void } | undefined;

  constructor(options: ChildProcessOptions<E>) {
    this.name = options.name;
    this.#options = options;
    this.#requests = new Requests(options.name, (message) => this.#tell(message));
    const child = fork(options.entry, [], {
      serialization: "advanced",
      // A child's stdout is not for us to promise anything on: whatever a library prints there goes to stderr.
      stdio: ["ignore", 2, 2, "ipc", ...options.descriptors],
    });
    this.#process = child;
    let exited = () => {};
    this.#exited = new Promise((resolve) => {
      exited = resolve;
    });
    this.warm = new Promise((resolve, reject) => {
      child.on("message", (message: ToFront) => {
        if (message.type === "warm") resolve(message.about);
        else this.#hear(message);
      });
      const end = (how: string) => {
        if (this.#state === "gone") return;
        this.#end(how);
        reject(this.#endedError(how));
        exited();
      };
      child.on("error", (error) => {
        this.#failure = { code: "CHILD_PROCESS", message: `the ${this.name} process: ${error.message}` };
        // A process that could not be made has no exit either.
        if (child.pid === undefined) end("never started");
      });
      child.on("exit", (code, signal) => end(signal ?? `code ${code}`));
    });
    // Most children are told to begin at once, and nobody waits for this.
    this.warm.catch(() => {});
  }

  get pid(): number | undefined {
    return this.#state === "gone" ? undefined : this.#process.pid;
  }
  get up(): boolean {
    return this.#state === "up";
  }
  get gone(): boolean {
    return this.#state === "gone";
  }

  /** Resolves when it serves. One that cannot, or is not ready in time, ends. */
  begin(init: unknown, withinMs: number): Promise<Ready> {
    return new Promise((resolve, reject) => {
      if (this.#state !== "idle") return reject(this.goneError());
      this.#state = "starting";
      const slow = setTimeout(() => {
        this.#failure = { code: "CHILD_SILENT", message: `the ${this.name} was not ready within ${withinMs} ms` };
        this.kill();
      }, withinMs);
      this.#starting = {
        resolve: (ready) => {
          clearTimeout(slow);
          resolve(ready);
        },
        reject: (error) => {
          clearTimeout(slow);
          reject(error);
        },
      };
      this.#tell({ type: "init", init });
    });
  }

  ask<N extends keyof C & string>(name: N, argument: C[N]["argument"], timeoutMs: number): Promise<C[N]["reply"]> {
    if (this.#state !== "up") return Promise.reject(this.goneError());
    return this.#requests.ask(name, argument, timeoutMs) as Promise<C[N]["reply"]>;
  }

  /**
   * It stops serving, lets go of what only one process may have, and waits to begin again. Resolves with the reason if it could
   * not hand over what `handOver` asks for.
   */
  async seal(handOver: unknown, timeoutMs: number): Promise<ErrorMessage | undefined> {
    if (this.#state !== "up") throw this.goneError();
    this.#state = "starting";
    const why = await this.#requests.ask(SEAL, handOver, timeoutMs);
    this.#state = "idle";
    return why as ErrorMessage | undefined;
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** Asks it to stop, and kills it if it has not within 800 ms. */
  async stop(): Promise<void> {
    if (this.#state === "gone") return;
    this.#tell({ type: "stop" });
    const killer = setTimeout(() => this.kill(), KILL_AFTER_MS);
    await this.#exited;
    clearTimeout(killer);
  }

  goneError(): EarshotError {
    return new EarshotError("CHILD_GONE", `the ${this.name} is not running; it is being started again`);
  }

  #hear(message: ToFront): void {
    if (message.type === "reply" || message.type === "refusal") this.#requests.settle(message);
    else if (message.type === "event") this.#options.onEvent?.(message.name as never, message.value as never);
    else if (message.type === "failed") this.#failure = message.error;
    else if (message.type === "ready" && this.#starting !== undefined) {
      this.#state = "up";
      this.#starting.resolve(message.ready as Ready);
      this.#starting = undefined;
    }
  }

  #end(how: string): void {
    this.#state = "gone";
    this.#requests.rejectAll(this.goneError());
    this.#starting?.reject(this.#endedError(how));
    this.#starting = undefined;
    this.#options.onExit(how, this.#failure);
  }

  #endedError(how: string): EarshotError {
    const { code, message } = this.#failure ?? {
      code: "CHILD_EXIT",
      message: `the ${this.name} ended (${how}) before it was ready`,
    };
    return new EarshotError(code, message);
  }

  /** The callback takes the error of a channel that has just closed; the exit event follows and says the rest. */
  #tell(message: ToChild): void {
    this.#process.send(message, () => {});
  }
}
