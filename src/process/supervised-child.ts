/**
 * The front's side of one service that lives in a child process: starts it, asks it, has another process take its place
 * when it dies, exchanges it for one of the code that is on disk now, and stops it.
 *
 *   idle --start--> starting --ready--> up --died--> [takeover] --> starting ...
 *   up --upgrade--> sealed old, new one starting --healthy--> up, the old one ends
 *                                      \--not so--> killed, and the old one takes over again
 *   any state --stop--> stopped
 *
 * A child that fails before it was ready for the first time is not started again: `start` rejects with its error.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { EarshotError } from "../earshot-error.ts";
import { Child } from "./child.ts";
import type { Calls, ErrorMessage, Events } from "./messages.ts";

/** A child that lived this long since it was ready died of something that may not come again: the next one starts at once. */
const STEADY_MS = 1000;
/** Else, from the second time on: long enough that a child that fails at once does not burn a CPU. */
const RESPAWN_MS = 1000;
/** A healthy child is ready in well under a second; allocating a large flow table can take a few. */
const READY_WITHIN_MS = 20_000;
const ASK_TIMEOUT_MS = 10_000;
/** Stopping workers takes milliseconds. One that takes longer hangs, and its place is taken by force. */
const SEAL_WITHIN_MS = 2000;
/** The same where it has to write down what it hands over: a second for some millions of flows. */
const HAND_OVER_WITHIN_MS = 20_000;
/** What a new version may take to be as healthy as the old one was: a relay has to hear from a transceiver first. */
const HEALTHY_WITHIN_MS = 5000;
const HEALTH_POLL_MS = 20;
/** The standby starts when what it stands by for is over its own start, so that they do not share a CPU. */
const STANDBY_AFTER_MS = 300;

/** What an upgrade takes beside two processes, where the new version does not go on with the very things that the old one has. */
export interface Exchange {
  /** Before the new process is made: what it inherits after the `descriptors`. */
  readonly begin: () => readonly number[];
  /**
   * Both have said what they are, and the old one serves. Returns what it is told as it lets go and what `init` is given for the
   * new one, or undefined if they need nothing. Throws an `EarshotError` if the new one cannot follow the old one.
   */
  readonly agree: (old: unknown, candidate: unknown) => unknown;
  /** Whether the new one serves from now on. */
  readonly end: (isUpgraded: boolean) => void;
}

export interface ChildOptions<Ready, E extends Events> {
  /** For logs, metrics and errors. */
  readonly name: string;
  /** The module that the process runs. */
  readonly entry: URL;
  readonly logger: Logger;
  /**
   * Made anew for each start, so that a restarted child gets what has become known since. `handOver` is what an exchange has agreed
   * on, if the child begins with what another has handed over.
   */
  readonly init: (handOver?: unknown) => unknown;
  readonly exchange?: Exchange;
  /** What each process inherits; asked before each fork. */
  readonly descriptors?: () => readonly number[];
  /** Keeps a second process that has its modules loaded and takes over within milliseconds. */
  readonly standby?: boolean;
  /** Called each time that the child is ready, with how often it has been started again. */
  readonly onReady: (ready: Ready, restarts: number) => void;
  readonly onGone?: () => void;
  readonly onEvent?: <N extends keyof E & string>(name: N, value: E[N]) => void;
  /** Called when a child ended instead of becoming ready, before another one is tried. */
  readonly onFailed?: (failure: ErrorMessage | undefined) => void;
}

export class SupervisedChild<Ready, C extends Calls, E extends Events> {
  readonly name: string;
  readonly #options: ChildOptions<Ready, E>;
  #active: Child<Ready, C, E> | undefined;
  #standby: Child<Ready, C, E> | undefined;
  #stopped = false;
  #upgrading = false;
  /** What the new version said of itself as it ended. */
  #whyNotUpgraded: string | undefined;
  #restarts = 0;
  #upgrades = 0;
  #quickDeaths = 0;
  #readyAt = Number.NEGATIVE_INFINITY;
  #respawn: NodeJS.Timeout | undefined;
  #standbyTimer: NodeJS.Timeout | undefined;
  #firstReady: { resolve: (ready: Ready) => void; reject: (error: EarshotError) => void } | undefined;

  constructor(options: ChildOptions<Ready, E>) {
    this.name = options.name;
    this.#options = options;
  }

  get up(): boolean {
    return this.#active?.up === true;
  }

  /** How often it was started again after it had died. */
  get restarts(): number {
    return this.#restarts;
  }

  /** How often it was exchanged for another version. */
  get upgrades(): number {
    return this.#upgrades;
  }

  get pid(): number | undefined {
    return this.#active?.pid;
  }

  /** Of the process that would take over. */
  get standbyPid(): number | undefined {
    return this.#standby?.pid;
  }

  /** Resolves when the child is ready for the first time; rejects with its error if it never is. */
  start(): Promise<Ready> {
    return new Promise((resolve, reject) => {
      this.#firstReady = { resolve, reject };
      this.#begin(this.#fork());
    });
  }

  ask<N extends keyof C & string>(
    name: N,
    argument: C[N]["argument"],
    timeoutMs = ASK_TIMEOUT_MS,
  ): Promise<C[N]["reply"]> {
    if (this.#active === undefined) return Promise.reject(this.#goneError());
    return this.#active.ask(name, argument, timeoutMs);
  }

  /** Asks the child to stop, and kills it if it has not within 800 ms. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#respawn);
    clearTimeout(this.#standbyTimer);
    this.#firstReady?.reject(new EarshotError("STOPPED", `stopped before the ${this.name} was ready`));
    this.#firstReady = undefined;
    await Promise.all([this.#active?.stop(), this.#standby?.stop()]);
  }

  /**
   * Has a process of the code that is on disk now take over. The old one serves until the new one has loaded, and takes over
   * again if the new one is not as healthy as it was in time. Rejects with UPGRADE_FAILED, and then the old one serves.
   */
  async upgrade(isHealthy: () => Promise<boolean>, withinMs = HEALTHY_WITHIN_MS): Promise<void> {
    const old = this.#active;
    if (this.#upgrading) throw new EarshotError("UPGRADE_FAILED", "an upgrade is under way: wait for its end");
    if (old?.up !== true) throw new EarshotError("UPGRADE_FAILED", this.#goneError().message);
    this.#upgrading = true;
    this.#whyNotUpgraded = undefined;
    let isUpgraded = false;
    try {
      const wasHealthy = await isHealthy();
      const candidate = await this.#load(old);
      await this.#handOver(old, candidate);
      await this.#prove(old, candidate, wasHealthy ? isHealthy : async () => true, withinMs);
      this.#upgrades++;
      isUpgraded = true;
    } finally {
      this.#upgrading = false;
      this.#options.exchange?.end(isUpgraded);
      // It is of another version than what serves, or has not been there.
      this.replaceStandby();
    }
  }

  /** The standby has inherited something that is not valid any more. */
  replaceStandby(): void {
    const standby = this.#standby;
    this.#standby = undefined;
    void standby?.stop();
    if (this.up) this.#prepareStandby();
  }

  /** The new process, as the standby: from now on it would take over if the old one died. */
  async #load(old: Child<Ready, C, E>): Promise<Child<Ready, C, E>> {
    const candidate = this.#fork(this.#options.exchange?.begin());
    const slow = setTimeout(() => candidate.kill(), READY_WITHIN_MS);
    try {
      await candidate.warm;
    } catch (error) {
      throw new EarshotError("UPGRADE_FAILED", `the new ${this.name} cannot be loaded: ${(error as Error).message}`);
    } finally {
      clearTimeout(slow);
    }
    if (this.#stopped || this.#active !== old || !old.up) {
      void candidate.stop();
      throw new EarshotError("UPGRADE_FAILED", `the ${this.name} ended during its upgrade`);
    }
    clearTimeout(this.#standbyTimer);
    void this.#standby?.stop();
    this.#standby = candidate;
    return candidate;
  }

  /** From here until the new process is ready nobody serves; what arrives waits. */
  async #handOver(old: Child<Ready, C, E>, candidate: Child<Ready, C, E>): Promise<void> {
    const handOver = await this.#agree(old, candidate);
    let whyNot: ErrorMessage | undefined;
    try {
      whyNot = await old.seal(handOver, handOver === undefined ? SEAL_WITHIN_MS : HAND_OVER_WITHIN_MS);
    } catch {
      old.kill(); // its end makes the candidate take over
      return;
    }
    if (this.#stopped || this.#active !== old) return;
    this.#options.onGone?.();
    const why = whyNot?.message ?? (candidate.gone ? "the new one ended before it could begin" : undefined);
    if (why !== undefined) {
      this.#begin(old);
      await this.#untilUp();
      throw new EarshotError("UPGRADE_FAILED", `the old ${this.name} goes on: ${why}`);
    }
    this.#standby = old;
    this.#begin(candidate, handOver);
  }

  async #agree(old: Child<Ready, C, E>, candidate: Child<Ready, C, E>): Promise<unknown> {
    const [oldAbout, about] = await Promise.all([old.warm, candidate.warm]);
    try {
      return this.#options.exchange?.agree(oldAbout, about);
    } catch (error) {
      throw new EarshotError("UPGRADE_FAILED", `the old ${this.name} goes on: ${(error as Error).message}`);
    }
  }

  async #untilUp(): Promise<void> {
    while (!this.#stopped && !this.up) await sleep(HEALTH_POLL_MS);
  }

  async #prove(
    old: Child<Ready, C, E>,
    candidate: Child<Ready, C, E>,
    isHealthy: () => Promise<boolean>,
    withinMs: number,
  ): Promise<void> {
    const end = Date.now() + withinMs;
    while (!candidate.gone && !this.#stopped && Date.now() < end) {
      // If the old one has died meanwhile there is none to go back to.
      const isLast = this.#standby === undefined;
      if (this.#active === candidate && candidate.up && (isLast || (await isHealthy().catch(() => false)))) return;
      await sleep(HEALTH_POLL_MS);
    }
    if (!candidate.gone) candidate.kill(); // its end makes the old one take over
    while (this.#active === candidate && !this.#stopped) await sleep(HEALTH_POLL_MS);
    await this.#untilUp();
    const why = this.#whyNotUpgraded ?? `it was not healthy within ${withinMs} ms`;
    const who = this.#active === old ? `the old ${this.name} has taken over` : `another ${this.name} has taken over`;
    throw new EarshotError("UPGRADE_FAILED", `${who} from the new one again: ${why}`);
  }

  #fork(further: readonly number[] = []): Child<Ready, C, E> {
    const { name, entry, descriptors, onEvent } = this.#options;
    const child: Child<Ready, C, E> = new Child({
      name,
      entry,
      descriptors: [...(descriptors?.() ?? []), ...further],
      onEvent: onEvent as ((name: keyof E & string, value: never) => void) | undefined,
      onExit: (how, failure) => this.#exited(child, how, failure),
    });
    return child;
  }

  #begin(child: Child<Ready, C, E>, handOver?: unknown): void {
    this.#active = child;
    this.#readyAt = Number.NEGATIVE_INFINITY;
    child.begin(this.#options.init(handOver), READY_WITHIN_MS).then(
      (ready) => this.#ready(ready),
      () => {}, // its end says why
    );
  }

  #ready(ready: Ready): void {
    if (this.#stopped) return;
    this.#readyAt = Date.now();
    this.#options.onReady(ready, this.#restarts);
    this.#firstReady?.resolve(ready);
    this.#firstReady = undefined;
    if (!this.#upgrading) this.#prepareStandby();
  }

  #prepareStandby(afterMs = STANDBY_AFTER_MS): void {
    if (this.#options.standby !== true || this.#stopped) return;
    clearTimeout(this.#standbyTimer);
    this.#standbyTimer = setTimeout(() => {
      if (!this.#upgrading) this.#standby ??= this.#fork();
    }, afterMs);
  }

  #exited(child: Child<Ready, C, E>, how: string, failure: ErrorMessage | undefined): void {
    if (child === this.#standby) {
      this.#standby = undefined;
      this.#prepareStandby(RESPAWN_MS);
      return;
    }
    if (child !== this.#active) return;
    this.#active = undefined;
    const wasUp = this.#readyAt > Number.NEGATIVE_INFINITY;
    if (wasUp) this.#options.onGone?.();
    if (this.#stopped) return;
    if (this.#firstReady !== undefined) {
      this.#stopped = true;
      const error = failure ?? { code: "CHILD_EXIT", message: `the ${this.name} ended (${how}) before it was ready` };
      this.#firstReady.reject(new EarshotError(error.code, error.message));
      this.#firstReady = undefined;
      return;
    }
    if (this.#upgrading) this.#whyNotUpgraded = failure?.message;
    // In an upgrade it is the new version's failure, and the old one's turn if that is still there.
    if (!wasUp && !(this.#upgrading && this.#standby !== undefined)) this.#options.onFailed?.(failure);
    const steady = wasUp && Date.now() - this.#readyAt >= STEADY_MS;
    this.#quickDeaths = steady ? 0 : this.#quickDeaths + 1;
    const afterMs = this.#quickDeaths > 1 && !this.#upgrading ? RESPAWN_MS : 0;
    this.#options.logger.error(
      { child: this.name, how, error: failure },
      `${this.name} ended, starting it again ${afterMs === 0 ? "at once" : `in ${afterMs} ms`}`,
    );
    if (afterMs === 0) this.#takeOver();
    else this.#respawn = setTimeout(() => this.#takeOver(), afterMs);
  }

  #takeOver(): void {
    this.#restarts++;
    const standby = this.#standby;
    this.#standby = undefined;
    this.#begin(standby ?? this.#fork());
  }

  #goneError(): EarshotError {
    return new EarshotError("CHILD_GONE", `the ${this.name} is not running; it is being started again`);
  }
}
