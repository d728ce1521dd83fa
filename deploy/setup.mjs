#!/usr/bin/env node
/**
 * From a fresh clone to a built program, on a machine with Node, npm and git: build tools, packages, `dist/`, addon.
 * Does only what is missing and says nothing where nothing is. Must run without `node_modules`.
 *
 *   node deploy/setup.mjs             enough for `npm start`
 *   node deploy/setup.mjs --tests     also what the tests need; the test runner builds by itself
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import path from "node:path";
import { addonState, buildAddon, buildTypeScript, capture, isTypeScriptStale, root } from "./build.mjs";

const MINIMUM_NODE = [20, 19];

/** Debian's packages, each with a program, or a file by its whole path, that is there once it is installed. */
const BUILD_TOOLS = { make: "make", "g++": "g++", python3: "python3" };
const TEST_TOOLS = {
  "redis-server": "redis-server",
  openssl: "openssl",
  chromium: "chromium",
  "firefox-esr": "firefox-esr",
  "espeak-ng": "espeak-ng",
  "clang-format": "clang-format",
  clang: "clang++",
  // The native tests link DTLS and SRTP with it; the addon has Node's own.
  "libssl-dev": "/usr/include/openssl/ssl.h",
  "libclang-rt-dev": "/var/lib/dpkg/info/libclang-rt-dev.list",
  iproute2: "ip",
  nftables: "nft",
};

const say = (text) => console.log(`setup: ${text}`);

function fail(text) {
  console.error(`setup: ${text}`);
  process.exit(1);
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1])) return;
  fail(`Earshot needs Node ${MINIMUM_NODE.join(".")} or later, and this is ${process.version}. See https://nodejs.org`);
}

function isOnPath(program) {
  // Debian keeps ip and nft where only root looks by default.
  const folders = [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => {
    try {
      const file = path.join(folder, program);
      accessSync(file, constants.X_OK);
      return statSync(file).isFile();
    } catch {
      return false;
    }
  });
}

const isThere = (what) => (path.isAbsolute(what) ? existsSync(what) : isOnPath(what));

function installTools(tools) {
  const missing = Object.keys(tools).filter((name) => !isThere(tools[name]));
  if (missing.length === 0) return;
  const list = missing.join(" ");
  if (!isOnPath("apt-get"))
    fail(`missing: ${list}. This system has no apt-get; install them with its own package manager.`);
  if (process.getuid() !== 0) {
    fail(
      `missing: ${list}. Install them, then run this again:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${list}`,
    );
  }
  say(`apt-get install ${list}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [
    ["update", "-qq"],
    ["install", "-y", "-qq", "--no-install-recommends", ...missing],
  ]) {
    const { ok, output } = capture("apt-get", args, { env });
    if (!ok) fail(`apt-get ${args.join(" ")} failed\n${output}`);
  }
  const still = missing.filter((name) => !isThere(tools[name]));
  if (still.length > 0) fail(`apt-get succeeded, but these are still missing: ${still.join(" ")}`);
}

function installPackages() {
  // npm writes this file last, so an interrupted install leaves none; TypeScript is absent after `--omit=dev`.
  const stamp = statSync(path.join(root, "node_modules/.package-lock.json"), { throwIfNoEntry: false });
  const lock = statSync(path.join(root, "package-lock.json"));
  const complete = existsSync(path.join(root, "node_modules/typescript/package.json"));
  if (stamp !== undefined && stamp.mtimeMs >= lock.mtimeMs && complete) return;
  say("npm ci");
  // Errors only: werift 0.25.2 declares Node 22 and runs on 20, and npm would warn of it each time.
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
  const { status } = spawnSync("npm", args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) fail("npm ci failed");
}

function build() {
  if (isTypeScriptStale()) {
    say("building dist/");
    try {
      buildTypeScript();
    } catch (error) {
      fail(error.message);
    }
  }
  const state = addonState();
  if (state === "stale") {
    say("building the addon (about a minute on a small machine)");
    try {
      buildAddon();
    } catch (error) {
      const [reason] = error.message.split("\n");
      say(`${reason} (\`npm run build:native\` shows more)`);
      say("going on without the addon: a relay can use its slower JS engine, a transceiver cannot start");
    }
  } else if (state === "failed") {
    say("without the addon, whose build has failed before; `npm run build:native` tries again");
  }
}

const forTests = process.argv.includes("--tests");
checkNode();
if (forTests) installTools({ ...BUILD_TOOLS, ...TEST_TOOLS });
else if (addonState() === "stale") installTools(BUILD_TOOLS);
installPackages();
if (!forTests) build();
