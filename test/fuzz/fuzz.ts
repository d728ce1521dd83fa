/**
 * Builds the fuzz drivers and runs them. What they find new is kept under build/fuzz/corpus, and is where the next run
 * starts; an input that breaks a promise is kept under build/fuzz/crashes.
 *
 *   npm run fuzz                                   every driver for 60 s
 *   npm run fuzz -- --seconds 600 token path       these, for ten minutes each
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { SEEDS } from "./seeds.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const SCRATCH = path.join(ROOT, "build/fuzz");
/** A worker's receive buffer: nothing longer reaches a parser. Of flow records it is some 25 flows. */
const LARGEST_INPUT = 2_048;
/** A parser that takes this long for one datagram hangs. */
const HANG_SECONDS = 10;
const REPORT_LINES = 60;

function usage(problem: string): never {
  console.error(`fuzz: ${problem}\nusage: npm run fuzz -- [--seconds <1 or more>] [${Object.keys(SEEDS).join("] [")}]`);
  process.exit(2);
}

function options(): { seconds: number; drivers: readonly string[] } {
  const { values, positionals } = parseArgs({
    options: { seconds: { type: "string", default: "60" } },
    allowPositionals: true,
  });
  const seconds = Number(values.seconds);
  if (!Number.isInteger(seconds) || seconds < 1) usage(`expected whole seconds, got ${values.seconds}`);
  const unknown = positionals.find((name) => !(name in SEEDS));
  if (unknown !== undefined) usage(`there is no driver ${unknown}`);
  return { seconds, drivers: positionals.length > 0 ? positionals : Object.keys(SEEDS) };
}

function build(drivers: readonly string[]): void {
  const programs = drivers.map((driver) => `../../build/fuzz/${driver}`);
  const jobs = `--jobs=${availableParallelism()}`;
  const make = spawnSync("make", ["--silent", jobs, "-C", "test/fuzz", ...programs], { cwd: ROOT, encoding: "utf8" });
  if (make.status === 0) return;
  console.error(make.error?.message ?? `${make.stdout}${make.stderr}`);
  console.error("fuzz: the drivers do not build. They need clang and its runtime: `node deploy/setup.mjs --tests`,");
  console.error("fuzz: or `apt-get install -y --no-install-recommends clang libclang-rt-dev`");
  process.exit(1);
}

/** An empty folder of this driver's with its seeds in it. */
function seedFolder(driver: string): string {
  const folder = path.join(SCRATCH, "seeds", driver);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [index, seed] of SEEDS[driver]!().entries()) writeFileSync(path.join(folder, `seed-${index}`), seed);
  return folder;
}

/** Whether nothing was found. */
function fuzz(driver: string, seconds: number): Promise<boolean> {
  const program = path.join(SCRATCH, driver);
  const corpus = path.join(SCRATCH, "corpus", driver);
  const crashes = path.join(SCRATCH, "crashes");
  for (const folder of [corpus, crashes]) mkdirSync(folder, { recursive: true });
  const child = spawn(
    program,
    [
      `-max_total_time=${seconds}`,
      `-max_len=${LARGEST_INPUT}`,
      `-timeout=${HANG_SECONDS}`,
      `-artifact_prefix=${crashes}/${driver}-`,
      "-print_final_stats=1",
      "-verbosity=0",
      corpus,
      seedFolder(driver),
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let report = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    report += text;
  });
  return new Promise((resolve) => {
    child.once("close", (code) => {
      const inputs = /stat::number_of_executed_units:\s+(\d+)/.exec(report)?.[1];
      const ok = code === 0 && inputs !== undefined;
      if (ok) {
        console.log(`  ok   ${driver}: ${Number(inputs).toLocaleString("en")} inputs in ${seconds} s`);
      } else {
        const reproducer = /Test unit written to (\S+)/.exec(report)?.[1];
        console.log(report.split("\n").slice(-REPORT_LINES).join("\n"));
        console.log(`  FAIL ${driver}: ended with ${code}`);
        if (reproducer !== undefined) console.log(`       again: ${program} ${reproducer}`);
      }
      resolve(ok);
    });
  });
}

const { seconds, drivers } = options();
build(drivers);
const waiting = [...drivers];
let passed = 0;
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    for (let driver = waiting.shift(); driver !== undefined; driver = waiting.shift()) {
      if (await fuzz(driver, seconds)) passed += 1;
    }
  }),
);
console.log(`${passed} passed, ${drivers.length - passed} failed`);
process.exitCode = passed === drivers.length ? 0 : 1;
