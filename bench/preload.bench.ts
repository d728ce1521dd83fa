/**
 * What it takes a relay that starts to load the flows of other relays from Redis: a redis-server of its own on loopback, records as
 * relays write them, the relay's own store and native flow table. Each run is a process of its own. Needs redis-server.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { deriveKeys } from "../src/keys/key-ring.ts";
import { RedisServer } from "../test/kit/redis-server.ts";
import { fill, type Loaded } from "./preload/preload-flows.ts";
import { runPart } from "./report/part.ts";

const PREFIX = "bench:";
const PROGRAM = fileURLToPath(new URL("preload/one-preload.js", import.meta.url));
const COLUMNS: readonly (readonly [string, (loaded: Loaded) => number])[] = [
  ["took", ({ ms }) => ms],
  ["CPU", ({ cpuMs }) => cpuMs],
  ["longest hold", ({ heldMs }) => heldMs],
];

await runPart(
  {
    name: "preload",
    method:
      "A redis-server on loopback holds the records of so many flows. A process with the relay's own store and native flow table starts " +
      "and loads them; CPU is that process's alone, the longest hold is for how long its event loop did nothing else.",
    doesNotShow: ["The network to a Redis elsewhere.", "Misses that the control plane decides meanwhile."],
    options: { flows: "100000", runs: "7" },
  },
  async (report, { smoke, options }) => {
    const flows = smoke ? 2_000 : Number(options.flows);
    const secret = randomBytes(32);
    const table = report.table("preload", "Flows of other relays, loaded from Redis by a relay that starts");
    const redis = await RedisServer.start();
    try {
      await fill(redis.client, deriveKeys({ id: 1, secret, signs: true }), PREFIX, flows);
      const runs: Loaded[] = [];
      for (let run = 0; run < (smoke ? 1 : Number(options.runs)); run++) {
        const args = [PROGRAM, redis.url, PREFIX, String(flows), secret.toString("hex")];
        runs.push(JSON.parse((await promisify(execFile)(process.execPath, args)).stdout));
      }
      for (const [column, pick] of COLUMNS) table.add({ flows }, column, "ms", runs.map(pick));
    } finally {
      await redis.close();
    }
  },
);
