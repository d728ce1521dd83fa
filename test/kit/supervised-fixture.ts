/** A child process for the tests of supervision: it does as its init message and its requests tell it. */
import { setTimeout as sleep } from "node:timers/promises";
import { EarshotError } from "../../src/earshot-error.ts";
import { hostChild, type Open } from "../../src/process/child-host.ts";

export interface FixtureInit {
  readonly logLevel: string;
  readonly behaviour: "serve" | "fail" | "exit" | "never-stop";
  /** What another process has handed over. */
  readonly handedOver?: unknown;
}

export interface FixtureReady {
  readonly pid: number;
  readonly handedOver: unknown;
}

/** What a process that is sealed is told: it says so, or fails. */
export interface FixtureHandOver {
  readonly what: string;
  readonly how?: "fail" | "die";
  /** It takes until that process has ended. */
  readonly outlives?: number | undefined;
}

export type FixtureCalls = {
  echo: { argument: unknown; reply: unknown };
  refuse: { argument: undefined; reply: undefined };
  break: { argument: undefined; reply: undefined };
  hang: { argument: undefined; reply: undefined };
  tell: { argument: string; reply: undefined };
};

export type FixtureEvents = { told: string };

const open: Open<FixtureInit, FixtureReady, FixtureCalls, FixtureEvents> = async (init, _logger, emit) => {
  const { behaviour, handedOver } = init;
  if (behaviour === "fail") throw new EarshotError("EADDRINUSE", "UDP 127.0.0.1:3478 is in use");
  if (behaviour === "exit") process.exit(7);
  return {
    ready: { pid: process.pid, handedOver },
    answers: {
      echo: (argument) => argument,
      refuse: () => {
        throw new EarshotError("OVERLOADED", "no");
      },
      break: () => {
        throw new TypeError("a bug");
      },
      hang: () => new Promise(() => {}),
      tell: (text) => {
        emit("told", text);
        return undefined;
      },
    },
    stop: () => (behaviour === "never-stop" ? new Promise(() => {}) : Promise.resolve()),
    letGo: async (handOver) => {
      if (behaviour === "never-stop") return new Promise(() => {});
      const { what, how, outlives } = (handOver ?? { what: "nothing" }) as FixtureHandOver;
      while (outlives !== undefined && isThere(outlives)) await sleep(5);
      if (how === "die") process.kill(process.pid, "SIGKILL");
      emit("told", `handed over ${what}`);
      return how === "fail" ? new EarshotError("ENOMEM", "there was no room") : undefined;
    },
  };
};

hostChild("relay", open, "a fixture");

/** A process that has ended is there until its parent has heard of it. */
function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
