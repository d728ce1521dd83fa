/**
 * A Redis that somebody else has taken over: it answers whatever hurts. The relay lives, its memory is bounded, its call goes on, it
 * does not connect in a frenzy, and uses an honest Redis again that comes in its place. The relay is in this process: whatever it
 * throws or leaves unhandled fails the test.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import type { Socket } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { pino } from "pino";
import { packageRoot } from "../../src/package-root.ts";
import { RedisLink } from "../../src/redis/redis-link.ts";
import { eventually } from "../kit/eventually.ts";
import { type Answer, bulk, FakeRedis, honestly } from "../kit/fake-redis.ts";
import { RedisServer } from "../kit/redis-server.ts";
import { relaysBehindVip } from "../kit/relays-behind-vip.ts";
import { echoes } from "../kit/system.ts";

const PATIENCE_MS = 60_000;
/** The shortest pause between two attempts is 100 ms. */
const MOST_ATTEMPTS_PER_SECOND = 15;
const MOST_GROWTH_BYTES = 400 << 20;
const SENT_AT_ONCE = 64 << 10;

/** Sends the same for as long as it is let. */
function endlessly(socket: Socket, text: string): undefined {
  const bytes = Buffer.from(text.repeat(Math.ceil(SENT_AT_ONCE / text.length)));
  const more = (): void => {
    while (!socket.destroyed && socket.write(bytes));
  };
  socket.on("drain", more);
  more();
}

const always =
  (reply: string): Answer =>
  () =>
    reply;

/** By command, what an honest server could say, but for one of them. */
const but =
  (name: string, reply: string): Answer =>
  (command) => {
    if (command[0] === name) return reply;
    return (
      { scan: "*2\r\n$1\r\n0\r\n*0\r\n", set: "+OK\r\n", xadd: bulk("1-1"), expire: ":1\r\n" }[command[0]!] ?? "*0\r\n"
    );
  };

const FUTURE = "18446744073709551615-18446744073709551615";
const entry = `*2\r\n${bulk(FUTURE)}*2\r\n${bulk("c")}${bulk("\u0001".repeat(60_000))}`;

const COMMANDS = ["xrevrange", "scan", "xrange", "hgetall", "set"];

/** With the command that has to be answered so, if it is one. */
const ANSWERS: readonly (readonly [what: string, answer: Answer, name?: string])[] = [
  ["what is no RESP", always("hello\r\n")],
  ["a string of 2 GiB", (_, socket) => endlessly(socket, `$2147483647\r\n${"x".repeat(1_000)}`)],
  ["arrays that would take all memory", always("*33554431\r\n".repeat(200))],
  ["the longest array", always("*4294967295\r\n")],
  ["more levels than a stack has", always("*1\r\n".repeat(1_000_000))],
  ["a line without end", (_, socket) => endlessly(socket, "+".repeat(1_000))],
  ["more items than memory has room for", always(`*60000\r\n${"*60000\r\n$0\r\n\r\n".repeat(50_000)}`)],
  ["answers to no question", (_, socket) => endlessly(socket, ":1\r\n")],
  ["nothing", always("$-1\r\n")],
  ["nothing, unasked", always("+OK\r\n$-1\r\n*-1\r\n")],
  ["pushes that say nothing", always(">1\r\n$9\r\nsubscribe\r\n_\r\n")],
  ["a number", always(":1\r\n")],
  ["arrays of nothing", always("*3\r\n$-1\r\n*1\r\n:1\r\n*-1\r\n")],
  ["-LOADING", always("-LOADING Redis is loading the dataset in memory\r\n")],
  ["-READONLY", always("-READONLY You can't write against a read only replica.\r\n")],
  ["-NOAUTH", always("-NOAUTH Authentication required.\r\n")],
  ["-OOM", always("-OOM command not allowed when used memory > 'maxmemory'.\r\n")],
  ["-MOVED to nowhere", always("-MOVED 1 127.0.0.1:1\r\n")],
  ["half an answer, and an end", (_, socket) => void socket.end("*2\r\n$1\r\n0")],
  ["a scan without end", but("scan", `*2\r\n$1\r\n7\r\n*2\r\n${bulk("p{3}:flow:zz")}:3\r\n`), "scan"],
  ["scanned keys that are none", but("scan", "*2\r\n*0\r\n*2\r\n*0\r\n:1\r\n"), "scan"],
  ["changes from the end of time", but("xrange", `*16\r\n${entry.repeat(16)}`), "xrange"],
  ["changes that are none", but("xrange", "*3\r\n$-1\r\n*1\r\n:1\r\n*2\r\n:1\r\n:2\r\n"), "xrange"],
  ["hashes of half a field", but("hgetall", "*3\r\n$-1\r\n*0\r\n:1\r\n"), "hgetall"],
];

const GREETINGS: readonly (readonly [what: string, greet: Answer])[] = [
  ["a wrong password", always("-WRONGPASS invalid username-password pair\r\n")],
  [
    "loading for ever",
    (command) => (command[0] === "info" ? bulk("loading:1\r\nloading_eta_seconds:-1\r\n") : "+OK\r\n"),
  ],
  ["nothing for INFO", (command) => (command[0] === "info" ? "$-1\r\n" : "+OK\r\n")],
  ["an array for INFO", (command) => (command[0] === "info" ? "*1\r\n*0\r\n" : "+OK\r\n")],
  ["the end of the connection", (_, socket) => void socket.destroy()],
];

test("without the guard one such answer ends a process", async (context) => {
  const redis = await FakeRedis.open();
  context.after(() => redis.close());
  for (const reply of ["+OK\r\n$-1\r\n", ">1\r\n$9\r\nsubscribe\r\n"]) {
    redis.answer = always(reply);
    const client = `
      import { Redis } from "ioredis";
      const client = new Redis(${redis.port}, "127.0.0.1", { protocol: 2 });
      client.on("error", () => {});
      client.get("key").catch(() => {});`;
    const args = ["--input-type=module", "--eval", client];
    const dies = promisify(execFile)(process.execPath, args, { cwd: fileURLToPath(packageRoot), timeout: PATIENCE_MS });
    await assert.rejects(dies, { code: 1 });
  }
});

/** By the form of the URL: what a Sentinel or a node could say to send relays round in circles, or to nowhere. */
const CIRCLES: readonly (readonly [what: string, form: string, answer: (port: number) => Answer])[] = [
  [
    "a Sentinel that names itself",
    "redis-sentinel://127.0.0.1:PORT/voice",
    (port) => always(`*2\r\n${bulk("127.0.0.1")}${bulk(`${port}`)}`),
  ],
  ["a Sentinel that names nobody", "redis-sentinel://127.0.0.1:PORT/voice", () => always("*-1\r\n")],
  ["a Sentinel that names nonsense", "redis-sentinel://127.0.0.1:PORT/voice", () => always("*2\r\n*0\r\n:99999\r\n")],
  ["a node that names itself", "redis-cluster://127.0.0.1:PORT", (port) => always(`-MOVED 1 127.0.0.1:${port}\r\n`)],
  ["a node that names nothing", "redis-cluster://127.0.0.1:PORT", () => always("-MOVED 1 :0\r\n")],
];

test("nobody who names servers makes a relay connect in a frenzy", { timeout: 600_000 }, async (context) => {
  for (const [what, form, answer] of CIRCLES) {
    const redis = await FakeRedis.open();
    context.after(() => redis.close());
    redis.answer = answer(redis.port);
    // As a replica says: not the server that was looked for.
    redis.greet = ([name]) => (name === "info" ? bulk("role:slave\r\nloading:0\r\n") : "+OK\r\n");
    const link = new RedisLink({
      url: form.replace("PORT", String(redis.port)),
      prefix: "p:",
      cluster: 3,
      logger: pino({ level: "silent" }),
    });
    const startedMs = performance.now();
    link.open();
    await eventually(
      `answers of ${what}`,
      async () => {
        await link.streamEnd("changes").catch(() => {});
        return [...redis.asked.values()].reduce((sum, times) => sum + times, 0);
      },
      (asked) => asked >= 3,
      PATIENCE_MS,
    );
    const seconds = (performance.now() - startedMs) / 1_000;
    // To a Sentinel and to what it names.
    const most = 10 + 2 * MOST_ATTEMPTS_PER_SECOND * seconds;
    assert.ok(redis.connections < most, `${what}: ${redis.connections} connections in ${seconds} s`);
    await link.close();
  }
});

// The honest one in the end has no such user: it lets in who is `default`.
test("whatever a hostile Redis answers, the relay lives and its call goes on", {
  timeout: 600_000,
}, async (context) => {
  const scene = await relaysBehindVip(context);
  const redis = await FakeRedis.open();
  const { port } = redis;
  await scene.relay({ redis: { url: `redis://default:secret@127.0.0.1:${port}`, prefix: "p:" } });
  const { client } = await scene.call();
  const before = process.memoryUsage();
  const startedMs = performance.now();

  /** Until one of these has been asked, and answered in that way. */
  const endures = async (what: string, names: readonly string[]): Promise<void> => {
    redis.asked.clear();
    await eventually(
      `a question answered with ${what}`,
      async () => [...redis.asked.keys()],
      (asked) => names.some((name) => asked.includes(name)),
      PATIENCE_MS,
    );
    await echoes(client, `beside ${what}`);
  };
  for (const [what, answer, name] of ANSWERS) {
    redis.answer = answer;
    await endures(what, name === undefined ? COMMANDS : [name]);
  }
  for (const [what, greet] of GREETINGS) {
    redis.greet = greet;
    redis.hangUp();
    await endures(what, ["auth", "info"]);
  }
  redis.greet = honestly;
  redis.answer = () => undefined;
  redis.hangUp();
  await endures("silence", COMMANDS);

  const seconds = (performance.now() - startedMs) / 1_000;
  const most = 10 + MOST_ATTEMPTS_PER_SECOND * seconds;
  assert.ok(redis.connections < most, `${redis.connections} connections in ${seconds} s`);
  const grown = process.memoryUsage().rss - before.rss;
  assert.ok(grown < MOST_GROWTH_BYTES, `${grown >> 20} MiB more memory`);

  await redis.close();
  const honest = await RedisServer.startAt(port);
  context.after(() => honest.close());
  await eventually(
    "the honest one in use",
    () => scene.metrics(0),
    (metrics) => metrics.sum("earshot_relay_redis_up") === 1,
    PATIENCE_MS,
  );
  await echoes(client, "in the end");
});
