#!/usr/bin/env node
/**
 * Builds what runs: `dist/` with tsc, `build/Release/earshot.node` with node-gyp. Knows whether either is older than
 * its sources. Installs nothing, and needs nothing but Node and `node_modules`.
 *
 *   node deploy/build.mjs [ts | native]     builds both, or one, whether or not it is stale
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const at = (...parts) => path.join(root, ...parts);

export const PROGRAM = at("dist/src/cli/main.js");
const ADDON = at("build/Release/earshot.node");
const TYPESCRIPT_STAMP = at("dist/.built");
/** Holds the version of Node that the addon was built for, and how that ended. */
const ADDON_STAMP = at("build/.built");
const TYPESCRIPT_SOURCES = ["src", "test", "bench", "tsconfig.json", "package-lock.json"];
const ADDON_SOURCES = ["native", "binding.gyp", "package-lock.json"];

/** Runs a program and returns its whole output; shows nothing. */
export function capture(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 64 << 20, ...options });
  const output = [result.error?.message, result.stdout, result.stderr].filter(Boolean).join("\n").trim();
  return { ok: result.status === 0, output };
}

/** Newest change below `entry` in ms; folders count, because deleting a file touches only its folder. */
function newestChange(entry) {
  const stat = statSync(entry, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  return readdirSync(entry).reduce(
    (newest, name) => Math.max(newest, newestChange(path.join(entry, name))),
    stat.mtimeMs,
  );
}

function isStale(stamp, sources) {
  const built = statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return sources.some((source) => newestChange(at(source)) > built);
}

function writeStamp(stamp, text, startedMs) {
  mkdirSync(path.dirname(stamp), { recursive: true });
  writeFileSync(stamp, text);
  // What changed while the build ran was perhaps not in it.
  const seconds = startedMs / 1000;
  utimesSync(stamp, seconds, seconds);
}

export function isTypeScriptStale() {
  return !existsSync(PROGRAM) || isStale(TYPESCRIPT_STAMP, TYPESCRIPT_SOURCES);
}

/** Throws with the compiler's output. */
export function buildTypeScript() {
  const startedMs = Date.now();
  rmSync(TYPESCRIPT_STAMP, { force: true });
  const { ok, output } = capture(process.execPath, [at("node_modules/typescript/bin/tsc"), "--pretty", "false"]);
  if (!ok) throw new Error(`tsc failed\n${output}`);
  if (existsSync(PROGRAM)) chmodSync(PROGRAM, 0o755);
  writeStamp(TYPESCRIPT_STAMP, "", startedMs);
}

/**
 * "current": built from these sources, and this Node loads it; "failed": these sources were tried with this Node, in
 * vain; "stale": to be built.
 */
export function addonState() {
  if (isStale(ADDON_STAMP, ADDON_SOURCES)) return "stale";
  const [version, outcome] = readFileSync(ADDON_STAMP, "utf8").trim().split(" ");
  const isSameNode = version === process.version;
  if (outcome === "failed") return isSameNode ? "failed" : "stale";
  if (!existsSync(ADDON)) return "stale";
  // Node-API is stable, and so is OpenSSL's ABI within a major version: another Node mostly takes the same addon.
  return isSameNode || load().ok ? "current" : "stale";
}

const load = () => capture(process.execPath, ["-e", "require(process.argv[1])", ADDON]);

/** The folder that holds `include/node` for the running major version of Node, if this machine has it. */
function headersFolder() {
  const candidates = [path.dirname(path.dirname(process.execPath)), process.env.npm_config_nodedir];
  return candidates.find((folder) => {
    if (!folder) return false;
    const include = path.join(folder, "include/node");
    const version = path.join(include, "node_version.h");
    if (!existsSync(path.join(include, "node_api.h")) || !existsSync(version)) return false;
    const major = /#define NODE_MAJOR_VERSION (\d+)/.exec(readFileSync(version, "utf8"))?.[1];
    return major === process.versions.node.split(".")[0];
  });
}

/** Throws with the failing tool's output, and remembers the failure for {@link addonState}. */
export function buildAddon() {
  const startedMs = Date.now();
  // An addon of older sources must not outlive a build that fails.
  rmSync(ADDON, { force: true });
  try {
    runNodeGyp();
  } catch (error) {
    writeStamp(ADDON_STAMP, `${process.version} failed\n`, startedMs);
    throw error;
  }
  writeStamp(ADDON_STAMP, `${process.version} built\n`, startedMs);
}

function runNodeGyp() {
  const nodeGyp = at("node_modules/node-gyp/bin/node-gyp.js");
  const headers = headersFolder();
  // Headers of another major version would compile and misbehave, so what npm's config names does not reach node-gyp unchecked.
  const env = { ...process.env };
  delete env.npm_config_nodedir;
  const from = headers === undefined ? [] : [`--nodedir=${headers}`];

  const configure = capture(process.execPath, [nodeGyp, "configure", "--loglevel=warn", ...from], { env });
  if (!configure.ok) {
    const reason =
      headers === undefined
        ? "Node's headers are not on this machine, and node-gyp could not fetch them"
        : "node-gyp configure failed";
    throw new Error(`${reason}\n${configure.output}`);
  }
  const jobs = `--jobs=${os.availableParallelism()}`;
  const build = capture(process.execPath, [nodeGyp, "build", "--loglevel=warn", jobs, ...from], { env });
  if (!build.ok) throw new Error(`the addon does not compile\n${build.output}`);
  const loaded = load();
  if (!loaded.ok) throw new Error(`the addon was built but does not load\n${loaded.output}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const steps = { ts: [buildTypeScript], native: [buildAddon] }[process.argv[2]] ?? [buildTypeScript, buildAddon];
  try {
    for (const step of steps) step();
  } catch (error) {
    console.error(`build: ${error.message}`);
    process.exitCode = 1;
  }
}
