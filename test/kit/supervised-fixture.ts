/** A child process for the tests of supervision: it does as its init message and its requests tell it. */
import { EarshotError } from "../../src/earshot-error.ts";
import { hostChild } from "../../src/process/child-host.ts";

export interface FixtureInit {
  readonly logLevel: string;
  readonly behaviour: "serve" | "fail" | "exit" | "never-stop";
}

export interface FixtureReady {
  readonly pid: number;
}

export type FixtureCalls = {
  echo: { argument: unknown; reply: unknown };
  refuse: { argument: undefined; reply: undefined };
  break: { argument: undefined; reply: undefined };
  hang: { argument: undefined; reply: undefined };
  tell: { argument: string; reply: undefined };
};

export type FixtureEvents = { told: string };

hostChild<FixtureInit, FixtureReady, FixtureCalls, FixtureEvents>("relay", async ({ behaviour }, _logger, emit) => {
  if (behaviour === "fail") throw new EarshotError("EADDRINUSE", "UDP 127.0.0.1:3478 is in use");
  if (behaviour === "exit") process.exit(7);
  return {
    ready: { pid: process.pid },
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
  };
});
