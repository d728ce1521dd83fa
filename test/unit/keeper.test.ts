/** A child's place is taken: by the one that stands by when it dies, and by one of another version when it is upgraded. */
import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { pino } from "pino";
import { EarshotError } from "../../src/earshot-error.ts";
import { FIRST_DESCRIPTOR } from "../../src/process/child.ts";
import { type ChildOptions, SupervisedChild } from "../../src/process/supervised-child.ts";
import type {
  FixtureCalls,
  FixtureEvents,
  FixtureHandOver,
  FixtureInit,
  FixtureReady,
} from "../kit/supervised-fixture.ts";
import { until } from "../kit/until.ts";

const FIXTURE = new URL("../kit/supervised-fixture.js", import.meta.url);
const NO_MODULE = new URL("../kit/no-such-module.js", import.meta.url);

type Fixture = SupervisedChild<FixtureReady, FixtureCalls, FixtureEvents>;

const healthy = async () => true;

/** What it does may be changed between one process and the next. */
interface Wishes {
  entry: URL;
  behaviour: FixtureInit["behaviour"];
}

async function supervised(
  context: TestContext,
  options: Partial<ChildOptions<FixtureReady, FixtureEvents>> = {},
): Promise<{ child: Fixture; wishes: Wishes; seen: string[] }> {
  const wishes: Wishes = { entry: FIXTURE, behaviour: "serve" };
  const seen: string[] = [];
  const child: Fixture = new SupervisedChild({
    name: "relay",
    get entry() {
      return wishes.entry;
    },
    logger: pino({ level: "silent" }),
    init: (): FixtureInit => ({ logLevel: "silent", behaviour: wishes.behaviour }),
    standby: true,
    onReady: () => seen.push("ready"),
    onGone: () => seen.push("gone"),
    ...options,
  });
  context.after(() => child.stop());
  await child.start();
  await standby(child);
  return { child, wishes, seen };
}

async function standby(child: Fixture): Promise<number> {
  await until(
    () => child.standbyPid !== undefined,
    () => "nobody stands by",
  );
  return child.standbyPid!;
}

const runs = (pid: number): boolean => {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
};

const gone = (pid: number) =>
  until(
    () => !runs(pid),
    () => `process ${pid} has not ended`,
  );

describe("a child with one that stands by", () => {
  test("dies: the one that stands by takes over, and another one stands by", async (context) => {
    const { child, seen } = await supervised(context);
    const [first, next] = [child.pid!, child.standbyPid!];
    process.kill(first, "SIGKILL");
    await until(
      () => child.restarts === 1 && child.up,
      () => "nobody took over",
    );
    assert.equal(child.pid, next);
    assert.deepEqual(seen, ["ready", "gone", "ready"]);
    assert.notEqual(await standby(child), next);
  });

  test("goes on when the one that stands by dies, and gets another one", async (context) => {
    const { child } = await supervised(context);
    const [pid, other] = [child.pid, child.standbyPid!];
    process.kill(other, "SIGKILL");
    await until(
      () => child.standbyPid !== undefined && child.standbyPid !== other,
      () => "no other one stands by",
    );
    assert.deepEqual([child.pid, child.restarts], [pid, 0]);
  });

  test("leaves nobody behind when it is stopped", async (context) => {
    const { child } = await supervised(context);
    const pids = [child.pid!, child.standbyPid!];
    await child.stop();
    assert.deepEqual(pids.filter(runs), []);
  });

  test("hands its descriptors to both", async (context) => {
    const file = path.join(os.tmpdir(), `earshot-descriptor-${process.pid}`);
    const descriptor = openSync(file, "w+");
    unlinkSync(file);
    context.after(() => closeSync(descriptor));
    writeSync(descriptor, "kept");
    const { child } = await supervised(context, { descriptors: () => [descriptor] });
    for (const pid of [child.pid!, child.standbyPid!]) {
      assert.equal(readFileSync(`/proc/${pid}/fd/${FIRST_DESCRIPTOR}`, "latin1"), "kept");
    }
  });
});

describe("an upgrade with something to hand over", () => {
  interface Told {
    readonly agreed: unknown[];
    readonly ended: boolean[];
    /** Of the process that was ready last. */
    handedOver: unknown;
  }

  async function exchanging(
    context: TestContext,
    agree: () => FixtureHandOver | undefined,
    options: Partial<ChildOptions<FixtureReady, FixtureEvents>> & {
      readonly behaviours?: FixtureInit["behaviour"][];
    } = {},
  ): Promise<{ child: Fixture; told: Told; events: string[]; seen: string[] }> {
    const told: Told = { agreed: [], ended: [], handedOver: undefined };
    const events: string[] = [];
    const behaviours = [...(options.behaviours ?? [])];
    const seen: string[] = [];
    const { child } = await supervised(context, {
      exchange: {
        begin: () => [0],
        agree: (...abouts) => {
          told.agreed.push(abouts);
          return agree();
        },
        end: (isUpgraded) => told.ended.push(isUpgraded),
      },
      init: (handedOver): FixtureInit => ({
        logLevel: "silent",
        behaviour: behaviours.shift() ?? "serve",
        handedOver,
      }),
      onReady: (ready) => {
        told.handedOver = ready.handedOver;
        seen.push("ready");
      },
      onEvent: (_, value) => events.push(value),
      ...options,
    });
    return { child, told, events, seen };
  }

  test("tells both what they have agreed on, once", async (context) => {
    const { child, told, events } = await exchanging(context, () => ({ what: "flows" }));
    await child.upgrade(healthy);
    assert.deepEqual(told, {
      agreed: [["a fixture", "a fixture"]],
      ended: [true],
      handedOver: { what: "flows" },
    });
    assert.deepEqual(events, ["handed over flows"]);
    const pid = child.pid!;
    process.kill(pid, "SIGKILL");
    await until(
      () => child.up && child.pid !== pid,
      () => "nobody took over",
    );
    assert.equal(told.handedOver, undefined);
  });

  test("that need nothing tells neither", async (context) => {
    const { child, told, events } = await exchanging(context, () => undefined);
    await child.upgrade(healthy);
    assert.deepEqual([told.ended, told.handedOver, events], [[true], undefined, ["handed over nothing"]]);
  });

  test("does not begin if the two cannot agree", async (context) => {
    const { child, told, events, seen } = await exchanging(context, () => {
      throw new EarshotError("RECORDS_VERSION", "it reads version 7");
    });
    const { pid } = child;
    await assert.rejects(child.upgrade(healthy), { code: "UPGRADE_FAILED", message: /it reads version 7/ });
    assert.deepEqual([child.pid, child.up, told.ended, events, seen], [pid, true, [false], [], ["ready"]]);
  });

  test("leaves the old process in place if that cannot hand over", async (context) => {
    const { child, told } = await exchanging(context, () => ({ what: "flows", how: "fail" }));
    const { pid } = child;
    await assert.rejects(child.upgrade(healthy), { code: "UPGRADE_FAILED", message: /there was no room/ });
    assert.deepEqual([child.pid, child.up, child.upgrades, told.ended], [pid, true, 0, [false]]);
    assert.equal(await child.ask("echo", 1), 1);
  });

  test("goes back to the old process if the new one dies while it waits for that to hand over", async (context) => {
    const { child, told } = await exchanging(context, () => {
      process.kill(child.standbyPid!, "SIGKILL");
      return { what: "flows", outlives: child.standbyPid };
    });
    const { pid } = child;
    await assert.rejects(child.upgrade(healthy), { code: "UPGRADE_FAILED", message: /ended before it could begin/ });
    assert.deepEqual([child.pid, child.up, child.upgrades, told.ended], [pid, true, 0, [false]]);
    assert.equal(await child.ask("echo", 1), 1);
  });

  test("gives the new process nothing if the old one dies while it hands over", async (context) => {
    const { child, told } = await exchanging(context, () => ({ what: "flows", how: "die" }));
    const { pid } = child;
    await child.upgrade(healthy);
    assert.ok(child.up && child.pid !== pid);
    assert.equal(told.handedOver, undefined);
  });

  test("that the old process did not survive counts what the new one cannot begin with as a failure", async (context) => {
    const failures: (string | undefined)[] = [];
    const { child, told } = await exchanging(context, () => ({ what: "flows", how: "die" }), {
      behaviours: ["serve", "fail"],
      onFailed: (failure) => failures.push(failure?.code),
    });
    await assert.rejects(child.upgrade(healthy), { code: "UPGRADE_FAILED", message: /another relay has taken over/ });
    assert.deepEqual([child.up, failures, told.ended], [true, ["EADDRINUSE"], [false]]);
  });

  test("keeps a new process that is not healthy if the old one has died meanwhile", async (context) => {
    const { child, told } = await exchanging(context, () => ({ what: "flows" }));
    const old = child.pid!;
    let asked = 0;
    const healthyOnce = async () => {
      if (asked++ === 0) return true;
      if (runs(old)) process.kill(old, "SIGKILL");
      return false;
    };
    await child.upgrade(healthyOnce, 60_000);
    assert.deepEqual([child.up, told.ended, told.handedOver], [true, [true], { what: "flows" }]);
  });
});

describe("an upgrade", () => {
  test("lets a new process take over, ends the old one, and counts no restart", async (context) => {
    const { child, seen } = await supervised(context);
    const before = [child.pid!, child.standbyPid!];
    await child.upgrade(healthy);
    assert.ok(child.up && !before.includes(child.pid!));
    assert.deepEqual([child.upgrades, child.restarts], [1, 0]);
    assert.deepEqual(seen, ["ready", "gone", "ready"]);
    for (const pid of before) await gone(pid);
    assert.equal(await child.ask("echo", 1), 1);
    await standby(child);
  });

  test("to code that cannot be loaded leaves everything as it was", async (context) => {
    const { child, wishes, seen } = await supervised(context);
    const { pid } = child;
    wishes.entry = NO_MODULE;
    await assert.rejects(child.upgrade(healthy), { code: "UPGRADE_FAILED" });
    assert.deepEqual([child.pid, child.up, child.upgrades], [pid, true, 0]);
    assert.deepEqual(seen, ["ready"]);
  });

  test("to a process that cannot start gives the old one its place back", async (context) => {
    let starts = 0;
    const init = (): FixtureInit => ({ logLevel: "silent", behaviour: ++starts === 2 ? "fail" : "serve" });
    const onFailed = () => assert.fail("what the old process needs is not to be thrown away");
    const { child } = await supervised(context, { init, onFailed });
    const { pid } = child;
    await assert.rejects(child.upgrade(healthy), {
      code: "UPGRADE_FAILED",
      message: /UDP 127\.0\.0\.1:3478 is in use/,
    });
    assert.deepEqual([child.pid, child.up, child.upgrades], [pid, true, 0]);
    assert.equal(await child.ask("echo", 1), 1);
  });

  test("to a process that does not become healthy gives the old one its place back", async (context) => {
    const { child } = await supervised(context);
    const { pid } = child;
    let asked = 0;
    const healthyOnce = async () => asked++ === 0;
    await assert.rejects(child.upgrade(healthyOnce, 200), { code: "UPGRADE_FAILED" });
    assert.deepEqual([child.pid, child.up, child.upgrades], [pid, true, 0]);
  });

  test("asks no more of the new process than the old one gave", async (context) => {
    const { child } = await supervised(context);
    await child.upgrade(async () => false, 200);
    assert.equal(child.upgrades, 1);
  });

  test("takes its place from an old process that does not let go", async (context) => {
    const { child, wishes } = await supervised(context);
    wishes.behaviour = "never-stop";
    await child.upgrade(healthy);
    const hangs = child.pid!;
    wishes.behaviour = "serve";
    await child.upgrade(healthy);
    await gone(hangs);
    assert.equal(child.upgrades, 2);
  });

  test("is one at a time", async (context) => {
    const { child } = await supervised(context);
    const first = child.upgrade(healthy);
    await assert.rejects(child.upgrade(healthy), { code: "UPGRADE_FAILED" });
    await first;
  });
});
