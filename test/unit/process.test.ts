import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { newKeyFileText } from "../../src/keys/key-file.ts";
import { type ChildOptions, SupervisedChild } from "../../src/process/supervised-child.ts";
import type { FixtureCalls, FixtureEvents, FixtureInit, FixtureReady } from "../kit/supervised-fixture.ts";

const FIXTURE = new URL("../kit/supervised-fixture.js", import.meta.url);
const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

type Fixture = SupervisedChild<FixtureReady, FixtureCalls, FixtureEvents>;

function supervise(
  context: TestContext,
  behaviour: FixtureInit["behaviour"],
  wishes: Partial<ChildOptions<FixtureReady, FixtureEvents>> = {},
): Fixture {
  const child: Fixture = new SupervisedChild({
    name: "relay",
    entry: FIXTURE,
    logger: pino({ level: "silent" }),
    init: (): FixtureInit => ({ logLevel: "silent", behaviour }),
    onReady: () => {},
    ...wishes,
  });
  context.after(() => child.stop());
  return child;
}

/** Field 3 of /proc/PID/stat, which follows the name in parentheses: the state, then the parent. */
function statusOf(pid: number): { readonly state: string; readonly parent: number } | undefined {
  try {
    const [state = "", parent] = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ") ?? [];
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** A zombie that waits to be reaped has ended. */
const alive = (pid: number): boolean => !["Z", "X", undefined].includes(statusOf(pid)?.state);

async function until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 5000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `${what} did not come true within ${withinMs} ms`);
    await sleep(20);
  }
}

describe("a supervised child", () => {
  test("answers, with buffers and bigints as they were", async (context) => {
    const child = supervise(context, "serve");
    await child.start();
    const said = { secret: Buffer.from([0, 255]), epoch: 2n ** 60n, list: [undefined, null] };
    assert.deepEqual(await child.ask("echo", said), said);
    assert.ok(Buffer.isBuffer(((await child.ask("echo", said)) as typeof said).secret));
  });

  test("refuses with its code, and survives a bug in a request", async (context) => {
    const child = supervise(context, "serve");
    const { pid } = await child.start();
    await assert.rejects(child.ask("refuse", undefined), { code: "OVERLOADED", message: "no" });
    await assert.rejects(child.ask("break", undefined), { code: "INTERNAL", message: "a bug" });
    assert.equal(child.pid, pid);
  });

  test("that does not answer in time is an error, and its late answers are nobody's", async (context) => {
    const child = supervise(context, "serve");
    await child.start();
    await assert.rejects(child.ask("hang", undefined, 50), {
      code: "CHILD_SILENT",
      message: 'the relay did not answer "hang" within 50 ms',
    });
    assert.equal(await child.ask("echo", 1), 1);
  });

  test("tells events", async (context) => {
    const told: string[] = [];
    const child = supervise(context, "serve", { onEvent: (_told, text) => told.push(text) });
    await child.start();
    await child.ask("tell", "hello");
    assert.deepEqual(told, ["hello"]);
  });

  test("that fails at its first start gives its error, and is not started again", async (context) => {
    const child = supervise(context, "fail");
    await assert.rejects(child.start(), { code: "EADDRINUSE", message: "UDP 127.0.0.1:3478 is in use" });
    await sleep(1200);
    assert.deepEqual([child.up, child.pid, child.restarts], [false, undefined, 0]);
  });

  test("that ends before it is ready is an error too", async (context) => {
    const child = supervise(context, "exit");
    await assert.rejects(child.start(), {
      code: "CHILD_EXIT",
      message: "the relay ended (code 7) before it was ready",
    });
  });

  test("that dies is started again at once, and what was asked of it fails", async (context) => {
    const seen: string[] = [];
    const child = supervise(context, "serve", {
      onReady: (_ready, restarts) => seen.push(`ready ${restarts}`),
      onGone: () => seen.push("gone"),
    });
    const { pid } = await child.start();
    const pending = child.ask("hang", undefined);
    process.kill(pid, "SIGKILL");
    await assert.rejects(pending, { code: "CHILD_GONE" });
    await assert.rejects(child.ask("echo", 1), { code: "CHILD_GONE" });
    await until("the restart", () => child.up);
    assert.notEqual(child.pid, pid);
    assert.equal(await child.ask("echo", 1), 1);
    assert.deepEqual(seen, ["ready 0", "gone", "ready 1"]);
  });

  test("that dies again before it was of use is started again after a second", async (context) => {
    const child = supervise(context, "serve");
    const kill = () => process.kill(child.pid ?? 0, "SIGKILL");
    await child.start();
    kill();
    await until("the first restart", () => child.restarts === 1 && child.up);
    kill();
    const diedAt = Date.now();
    await until("the second restart", () => child.restarts === 2 && child.up);
    assert.ok(Date.now() - diedAt >= 990);
  });

  test("stops within a second, even if it does not want to", async (context) => {
    for (const behaviour of ["serve", "never-stop"] as const) {
      const child = supervise(context, behaviour);
      const { pid } = await child.start();
      const stopped = Date.now();
      await child.stop();
      assert.ok(Date.now() - stopped < 1000, behaviour);
      assert.ok(!alive(pid), behaviour);
    }
  });

  test("is not disturbed by a Ctrl-C that reaches the whole group", async (context) => {
    const child = supervise(context, "serve");
    const { pid } = await child.start();
    process.kill(pid, "SIGINT");
    assert.equal(await child.ask("echo", 1), 1);
    assert.equal(child.pid, pid);
  });
});

/** A running `earshot`, its banner read. */
interface Running {
  readonly process: ChildProcess;
  readonly banner: string;
  readonly url: string;
  readonly log: () => string;
}

async function run(context: TestContext, args: readonly string[]): Promise<Running> {
  const child = spawn(process.execPath, [MAIN, ...args, "--http", "127.0.0.1:0"], {
    env: { PATH: process.env.PATH },
    stdio: ["ignore", "pipe", "pipe"],
  });
  context.after(() => child.kill("SIGKILL"));
  let [banner, log] = ["", ""];
  child.stdout.on("data", (data) => {
    banner += data;
  });
  child.stderr.on("data", (data) => {
    log += data;
  });
  await until("the banner", () => banner.includes("Ctrl-C") || child.exitCode !== null, 15_000);
  assert.equal(child.exitCode, null, log);
  const url = /http:\/\/localhost:\d+/.exec(banner)?.[0];
  assert.ok(url !== undefined, banner);
  return { process: child, banner, url, log: () => log };
}

const ready = async ({ url }: Running): Promise<boolean> => (await fetch(`${url}/readyz`)).status === 200;

function childrenOf(pid: number): number[] {
  const pids = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  return pids.filter((one) => statusOf(one)?.parent === pid);
}

async function stops(running: Running, signal: NodeJS.Signals): Promise<void> {
  const children = childrenOf(running.process.pid ?? 0);
  const exited = new Promise((resolve) => running.process.once("exit", (...how) => resolve(how)));
  const asked = Date.now();
  running.process.kill(signal);
  assert.deepEqual(await exited, [0, null], running.log());
  assert.ok(Date.now() - asked < 1000);
  assert.deepEqual(children.filter(alive), []);
}

const START = ["start", "--engine", "js", "--listen", "127.0.0.1:0", "--log-level", "error"];

describe("earshot start", () => {
  test("is ready, keeps keys off command lines and environments, and stops cleanly", async (context) => {
    const running = await run(context, START);
    await until("readiness", () => ready(running));
    assert.match(running.banner, /^ {2}Engine +js$/m);
    assert.match(running.banner, /^ {2}Ingresses +127\.0\.0\.1:\d+$/m);
    const children = childrenOf(running.process.pid ?? 0);
    const names = children.map(
      (pid) => /\0[^\0]*\/(\w+)-child\.js\0$/.exec(readFileSync(`/proc/${pid}/cmdline`, "utf8"))?.[1],
    );
    // One relay may stand by already.
    assert.deepEqual([...new Set(names)].sort(), ["relay", "transceiver"]);
    const metrics = await (await fetch(`${running.url}/metrics`)).text();
    const families = [...metrics.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]);
    assert.deepEqual(families, [...new Set(families)]);
    for (const prefix of ["front", "relay", "transceiver"]) {
      assert.ok(
        families.some((family) => family?.startsWith(`earshot_${prefix}_`)),
        prefix,
      );
    }
    await stops(running, "SIGTERM");
  });

  test("brings either child back, and they find each other again", async (context) => {
    const running = await run(context, START);
    await until("readiness", () => ready(running));
    const restarts = async () => {
      const metrics = await (await fetch(`${running.url}/metrics`)).text();
      const lines = metrics.matchAll(/^earshot_front_child_restarts\{.*\} (\d+)$/gm);
      return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
    };
    const [relay = 0, transceiver = 0] = childrenOf(running.process.pid ?? 0);
    for (const [index, pid] of [relay, transceiver].entries()) {
      process.kill(pid, "SIGKILL");
      await until("the restart", async () => (await restarts()) === index + 1);
      await until("readiness again", () => ready(running));
    }
    await stops(running, "SIGINT");
  });

  test("leaves no child behind when it is killed", async (context) => {
    const running = await run(context, START);
    const children = childrenOf(running.process.pid ?? 0);
    running.process.kill("SIGKILL");
    await until("the end of the children", () => !children.some(alive));
  });

  test("passes on why a child could not start, and exits", async (context) => {
    const holder = createSocket("udp4");
    await new Promise<void>((resolve) => holder.bind(0, "127.0.0.1", resolve));
    context.after(() => holder.close());
    const { port } = holder.address();
    const child = spawn(
      process.execPath,
      [MAIN, "start", "--engine", "js", "--listen", `127.0.0.1:${port}`, "--log-level", "silent"],
      { env: { PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] },
    );
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data) => {
      stdout += data;
    });
    child.stderr.on("data", (data) => {
      stderr += data;
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^earshot: EADDRINUSE: [^\n]+\n$/);
    assert.match(stderr, new RegExp(`127\\.0\\.0\\.1.*${port}`));
  });
});

test("earshot relay and earshot transceiver, each on its own, find each other", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "earshot-process-"));
  after(() => rmSync(folder, { recursive: true }));
  const keys = join(folder, "keys.json");
  writeFileSync(keys, newKeyFileText(), { mode: 0o600 });
  const common = ["--keys", keys, "--log-level", "error"];
  const transceiver = await run(context, [
    "transceiver",
    ...common,
    ...["--id", "7", "--trunk", "127.0.0.1:0", "--advertise", "127.0.0.1:3478"],
  ]);
  const trunk = /id 7, trunk 127\.0\.0\.1:(\d+)/.exec(transceiver.banner)?.[1];
  const config = join(folder, "relay.yaml");
  writeFileSync(config, `directory: [{ id: 7, address: 127.0.0.1, port: ${trunk} }]\n`);
  const relay = await run(context, [
    "relay",
    ...common,
    "--config",
    config,
    "--engine",
    "js",
    "--listen",
    "127.0.0.1:0",
  ]);
  await until("readiness", async () => (await ready(relay)) && (await ready(transceiver)));
  assert.equal((await fetch(relay.url)).status, 404);
  assert.equal((await fetch(transceiver.url)).status, 200);
  await Promise.all([stops(relay, "SIGTERM"), stops(transceiver, "SIGTERM")]);
});
