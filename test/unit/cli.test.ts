import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "earshot-cli-"));
after(() => rmSync(folder, { recursive: true }));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function earshot(args: readonly string[], environment: Record<string, string> = {}): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data) => {
    stdout += data;
  });
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr })));
}

async function keyFile(name: string): Promise<string> {
  const file = join(folder, name);
  await earshot(["keys", "new", "--out", file]);
  return file;
}

describe("help", () => {
  test("names every command", async () => {
    const { code, stdout, stderr } = await earshot(["--help"]);
    assert.deepEqual([code, stderr], [0, ""]);
    for (const command of ["start", "relay", "transceiver", "token", "keys"]) {
      assert.match(stdout, new RegExp(`^ {2}${command}\\b`, "m"));
    }
  });

  test("of a command shows its options in groups, with default and variable, and examples", async () => {
    const { code, stdout } = await earshot(["start", "--help"]);
    assert.equal(code, 0);
    for (const text of [
      /^Network:$/m,
      /^Transceiver:$/m,
      /--http <HOST:PORT>/,
      /\[default:\s+127\.0\.0\.1:8080;\s+EARSHOT_HTTP\]/,
      /^Examples:\n {2}earshot start$/m,
    ]) {
      assert.match(stdout, text);
    }
    assert.doesNotMatch(stdout, /--directory/);
  });

  test("of one command leaves out what belongs to another", async () => {
    const { stdout } = await earshot(["relay", "--help"]);
    assert.match(stdout, /--workers/);
    assert.doesNotMatch(stdout, /--max-calls|--advertise/);
  });
});

test("--version prints the package's version", async () => {
  const manifest = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  assert.deepEqual(await earshot(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" });
});

describe("a usage error is one line and exit code 2:", () => {
  const cases: readonly (readonly [what: string, args: readonly string[], line: string])[] = [
    ["a command that does not exist", ["strat"], "unknown command 'strat' (Did you mean start?)"],
    [
      "an option that does not exist",
      ["start", "--wrokers", "3"],
      "unknown option '--wrokers' (Did you mean --workers?)",
    ],
    ["an option of another command", ["relay", "--max-calls", "3"], "unknown option '--max-calls'"],
    ["an option without value", ["start", "--http"], "option '--http <HOST:PORT>' argument missing"],
    ["an argument too many", ["start", "now"], "too many arguments for 'start'. Expected 0 arguments but got 1."],
    [
      "a required option left out",
      ["token", "make", "--keys", "k"],
      "required option '--transceiver <N>' not specified",
    ],
    [
      "a number that is none",
      ["token", "make", "--keys", "k", "--transceiver", "one"],
      "option '--transceiver <N>' argument 'one' is invalid. Expected a whole number from 1 to 4294967295.",
    ],
  ];
  for (const [what, args, line] of cases) {
    test(what, async () => {
      assert.deepEqual(await earshot(args), { code: 2, stdout: "", stderr: `earshot: USAGE: ${line}\n` });
    });
  }
});

describe("an error is one line and exit code 1:", () => {
  test("from a flag", async () => {
    assert.deepEqual(await earshot(["start", "--workers", "many"]), {
      code: 1,
      stdout: "",
      stderr:
        'earshot: CONFIG_VALUE: --workers: expected a whole number from 1 to 255, got "many". Example: --workers 2\n',
    });
  });

  test("from the environment", async () => {
    const { code, stderr } = await earshot(["start"], { EARSHOT_WORKRES: "3" });
    assert.equal(code, 1);
    assert.match(stderr, /^earshot: CONFIG_UNKNOWN: EARSHOT_WORKRES .* \(did you mean EARSHOT_WORKERS\?\).*\n$/);
  });

  test("from a relay without keys, which says how to make them", async () => {
    const { code, stderr } = await earshot(["relay"]);
    assert.equal(code, 1);
    assert.match(stderr, /^earshot: CONFIG_KEYS_REQUIRED: .*earshot keys new --out keys\.json\n$/);
  });

  test("from a key file that does not exist", async () => {
    const { code, stderr } = await earshot(["token", "inspect", "x", "--keys", "gone.json"]);
    assert.equal(code, 1);
    assert.match(stderr, /^earshot: KEYS_FILE_MISSING: [^\n]+\n$/);
  });

  test("with a stack only where debugging is asked for", async () => {
    const { code, stderr } = await earshot(["start", "--workers", "many", "--log-level", "debug"]);
    assert.equal(code, 1);
    assert.match(stderr, /^earshot: CONFIG_VALUE: .*\n(.*\n)*\s+at /);
  });
});

describe("keys new", () => {
  test("writes a file that its owner alone can read", async () => {
    const file = join(folder, "new.json");
    const { code, stdout } = await earshot(["keys", "new", "--out", file]);
    assert.equal(code, 0);
    assert.match(stdout, /new\.json: one new key/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const { keys } = JSON.parse(readFileSync(file, "utf8"));
    assert.equal(keys.length, 1);
    assert.ok(!stdout.includes(keys[0].secret));
  });

  test("does not overwrite", async () => {
    const file = join(folder, "precious.json");
    writeFileSync(file, "precious");
    const { code, stderr } = await earshot(["keys", "new", "--out", file]);
    assert.equal(code, 1);
    assert.match(stderr, /^earshot: KEYS_FILE_EXISTS: /);
    assert.equal(readFileSync(file, "utf8"), "precious");
  });

  test("without a file prints the keys", async () => {
    const { code, stdout } = await earshot(["keys", "new"]);
    assert.equal(code, 0);
    assert.equal(JSON.parse(stdout).keys.length, 1);
  });
});

describe("token", () => {
  test("inspect reads what make has made", async () => {
    const file = await keyFile("round-trip.json");
    const epoch = 1_800_000_000_123;
    const made = await earshot(
      ["token", "make", "--transceiver", "77", "--cluster", "5", "--epoch", `${epoch}`, "--ttl", "600", "--json"],
      { EARSHOT_KEYS: file },
    );
    assert.equal(made.code, 0);
    const { ufrag, password } = JSON.parse(made.stdout);
    assert.match(ufrag, /^[A-Za-z0-9+/]{32}$/);
    assert.match(password, /^[A-Za-z0-9+/]{24}$/);
    const inspected = await earshot(["token", "inspect", ufrag, "--keys", file, "--json"]);
    assert.equal(inspected.code, 0);
    const { nonce, expires, ...fields } = JSON.parse(inspected.stdout);
    assert.deepEqual(fields, {
      keyId: 0,
      kind: "transceiver",
      cluster: 5,
      transceiver: 77,
      epochLow16: epoch % 65536,
      expired: false,
    });
    assert.equal(typeof nonce, "number");
    const ahead = Date.parse(expires) - Date.now();
    assert.ok(ahead > 500_000 && ahead <= 664_000, `${ahead} ms`);
  });

  test("both print a table for people", async () => {
    const file = await keyFile("table.json");
    const made = await earshot(["token", "make", "--transceiver", "1", "--keys", file]);
    assert.match(made.stdout, /^ufrag {5}\S{32}\npassword {2}\S{24}\n$/);
    const ufrag = made.stdout.slice(10, 42);
    const { stdout } = await earshot(["token", "inspect", ufrag, "--keys", file]);
    assert.match(stdout, /^transceiver {2}1$/m);
    assert.doesNotMatch(stdout, /password/);
  });

  test("inspect says why a ufrag is no token", async () => {
    const [ours, theirs] = await Promise.all([keyFile("ours.json"), keyFile("theirs.json")]);
    const made = await earshot(["token", "make", "--transceiver", "1", "--keys", theirs, "--json"]);
    const { ufrag } = JSON.parse(made.stdout);
    assert.deepEqual(await earshot(["token", "inspect", ufrag, "--keys", ours]), {
      code: 1,
      stdout: "",
      stderr: "earshot: TOKEN_INVALID: this ufrag is no token: none of these keys made it, or it was changed\n",
    });
  });
});

test("start says which TCP address is in use, and leaves nothing running", async (context) => {
  const holder = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => holder.once("listening", resolve));
  context.after(() => holder.close());
  const { port } = holder.address() as { port: number };
  const args = ["start", "--engine", "js", "--listen", "127.0.0.1:0", "--http", `127.0.0.1:${port}`];
  assert.deepEqual(await earshot([...args, "--log-level", "silent"]), {
    code: 1,
    stdout: "",
    stderr: `earshot: EADDRINUSE: TCP 127.0.0.1:${port} is in use. Stop what uses it, or choose another with --http\n`,
  });
});
