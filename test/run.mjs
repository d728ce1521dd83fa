/**
 * The one test runner. Runs stages in order, each to its end whatever the others did, and closes with the line
 * `N passed, N failed` (and `N skipped` if any). Fails on any failure, on a stage without tests, and on processes
 * that the tests left behind. Nothing is skipped because something is not installed: deploy/setup.mjs --tests installs it.
 *
 *   node test/run.mjs [stage ...]     all stages, or those named; what they need is built first
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { addonState, buildAddon, buildTypeScript, capture, isTypeScriptStale, root } from "../deploy/build.mjs";

/** Where the tests put their files, and a mark on every process that they start. */
const scratch = mkdtempSync(path.join(os.tmpdir(), "earshot-test-"));
const MARK = `EARSHOT_TEST_RUN=${path.basename(scratch)}`;
const env = {
  ...process.env,
  TMPDIR: scratch,
  EARSHOT_TEST_RUN: path.basename(scratch),
  EARSHOT_SCREENSHOTS: process.env.EARSHOT_SCREENSHOTS ?? path.join(os.tmpdir(), "earshot-screenshots"),
};
// An outer run must not reach into this one.
delete env.NODE_TEST_CONTEXT;

const STAGES = {
  lint: () => one("lint", "npm", ["run", "--silent", "lint"]),
  build: buildAll,
  generated,
  native: () => each(["run", "run-asan", "run-tsan"], nativeTests),
  fuzz: () => fuzz(FUZZ_SECONDS),
  unit: () => testFiles("unit", { concurrency: 2, timeoutMs: 60_000 }),
  conformance: () => testFiles("conformance", { concurrency: 2, timeoutMs: 120_000 }),
  differential: () => testFiles("differential", { concurrency: 2, timeoutMs: 120_000 }),
  integration: () => testFiles("integration", { concurrency: 2, timeoutMs: 180_000 }),
  bench: () => testFiles("bench", { concurrency: 1, timeoutMs: 180_000 }),
  security: () => testFiles("security", { concurrency: 1, timeoutMs: 180_000 }),
  chaos,
  browser: () => testFiles("browser", { concurrency: 1, timeoutMs: 180_000 }),
};

const nothing = { passed: 0, failed: 0, skipped: 0 };
const add = (a, b) => ({ passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped });

async function each(items, run) {
  let total = nothing;
  for (const item of items) total = add(total, await run(item));
  return total;
}

/** Output straight through, in order with what this process prints. */
function run(command, args, extra = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...env, ...extra },
      stdio: ["ignore", "inherit", "inherit"],
    });
    child.once("error", (error) => {
      print(`  ${command}: ${error.message}`);
      resolve(false);
    });
    child.once("exit", (code) => resolve(code === 0));
  });
}

async function one(title, command, args) {
  return outcome(title, await run(command, args));
}

function outcome(title, ok) {
  print(`  ${ok ? "ok  " : "FAIL"} ${title}`);
  return ok ? { ...nothing, passed: 1 } : { ...nothing, failed: 1 };
}

/** Its program lists each test and closes with `N passed, N failed`, as this runner does. */
async function nativeTests(target) {
  const jobs = `--jobs=${os.availableParallelism()}`;
  const { ok, output } = capture("make", ["--silent", jobs, "-C", "test/native", target], { env });
  const [, passed, failed] = /^(\d+) passed, (\d+) failed$/m.exec(output) ?? [];
  if (!ok) print(output);
  if (passed === undefined) return outcome(`make ${target}: ended without its totals`, false);
  print(`  ${ok ? "ok  " : "FAIL"} make ${target} (${passed} passed)`);
  const counts = { passed: Number(passed), failed: Number(failed), skipped: 0 };
  return ok || counts.failed > 0 ? counts : add(counts, { ...nothing, failed: 1 });
}

/** Enough to see that every driver still runs; `npm run fuzz` takes as long as it is given. */
const FUZZ_SECONDS = 8;

async function fuzz(seconds) {
  built ??= buildStale();
  if (built.failed > 0) return outcome("fuzz: not run, the build failed", false);
  return one(`fuzz drivers, ${seconds} s each`, process.execPath, [
    "dist/test/fuzz/fuzz.js",
    "--seconds",
    `${seconds}`,
  ]);
}

function attempt(title, work) {
  try {
    work();
    return outcome(title, true);
  } catch (error) {
    print(error.message);
    return outcome(title, false);
  }
}

let built;
/** Both builds always run under `build` and where stale otherwise; the answer is remembered within a run. */
async function buildAll() {
  built = add(attempt("types", buildTypeScript), attempt("addon", buildAddon));
  return built;
}

function buildStale() {
  let total = nothing;
  if (isTypeScriptStale()) total = add(total, attempt("types", buildTypeScript));
  if (addonState() !== "current") total = add(total, attempt("addon", buildAddon));
  return total;
}

/** Some of them are made of compiled code. */
async function generated() {
  built ??= buildStale();
  if (built.failed > 0) return outcome("generated: not run, the build failed", false);
  return one("generated files are in sync", process.execPath, ["deploy/generate.mjs", "--check"]);
}

/** Prints what each failure cost; `npm run chaos` is the long form. */
async function chaos() {
  built ??= buildStale();
  if (built.failed > 0) return outcome("chaos: not run, the build failed", false);
  return one("chaos, short form", process.execPath, ["dist/test/chaos/chaos.js", "--short"]);
}

async function testFiles(stage, { concurrency, timeoutMs }) {
  built ??= buildStale();
  if (built.failed > 0) return outcome(`${stage}: not run, the build failed`, false);
  const sources = readdirSync(path.join(root, "test", stage), { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .sort();
  if (sources.length === 0) return outcome(`${stage}: no test files`, false);

  const totals = path.join(scratch, `${stage}.json`);
  const ok = await run(
    process.execPath,
    [
      "--test",
      `--test-concurrency=${concurrency}`,
      `--test-timeout=${timeoutMs}`,
      `--test-reporter=${path.join(root, "test/reporter.mjs")}`,
      "--test-reporter-destination=stdout",
      ...sources.map((name) => path.join("dist/test", stage, name.replace(/\.ts$/, ".js"))),
    ],
    { EARSHOT_TEST_TOTALS: totals },
  );
  let counts;
  try {
    counts = JSON.parse(readFileSync(totals, "utf8"));
  } catch {
    return outcome(`${stage}: node --test ended without its totals`, false);
  }
  return ok || counts.failed > 0 ? counts : add(counts, outcome(`${stage}: node --test failed`, false));
}

/** Processes of ours: with the mark in their environment, or (where they have overwritten it) our scratch folder in their arguments. */
function leftovers() {
  const found = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      if (environment.split("\0").includes(MARK) || command.includes(scratch))
        found.push({ pid: Number(pid), command });
    } catch {
      // It has ended, or it is another user's.
    }
  }
  return found;
}

async function checkLeftovers() {
  let left = leftovers();
  for (let tries = 0; left.length > 0 && tries < 30; tries += 1) {
    await sleep(100);
    left = leftovers();
  }
  for (const { pid, command } of left) {
    print(`  left behind: ${pid} ${command.slice(0, 120)}`);
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by now.
    }
  }
  return outcome("no process is left", left.length === 0);
}

const print = (text) => console.log(text);

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in STAGES));
if (unknown.length > 0) {
  print(`unknown stage: ${unknown.join(" ")}; there are ${Object.keys(STAGES).join(" ")}`);
  process.exit(2);
}

const rows = [];
async function stage(name, work) {
  print(`\n== ${name}`);
  const startedMs = Date.now();
  const counts = await work();
  rows.push({ name, counts, seconds: (Date.now() - startedMs) / 1000 });
}

for (const [name, work] of Object.entries(STAGES)) {
  if (wanted.length === 0 || wanted.includes(name)) await stage(name, work);
}
await stage("clean-up", checkLeftovers);
rmSync(scratch, { recursive: true, force: true });

print("\n== summary");
for (const { name, counts, seconds } of rows) {
  print(
    `  ${name.padEnd(13)}${String(counts.passed).padStart(5)} passed${String(counts.failed).padStart(5)} failed  ${seconds.toFixed(1).padStart(6)} s`,
  );
}
const total = rows.reduce((sum, row) => add(sum, row.counts), nothing);
print("");
print(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
process.exitCode = total.failed > 0 ? 1 : 0;
