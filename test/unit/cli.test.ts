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

describe("keys rotate", () => {
  test("adds a key that signs in ten minutes, and says when the other retires", async () => {
    const file = await keyFile("rotated.json");
    const before = readFileSync(file, "utf8");
    const { code, stdout, stderr } = await earshot(["keys", "rotate", "--keys", file]);
    assert.deepEqual([code, stderr], [0, ""]);
    const date = "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ";
    assert.match(
      stdout,
      new RegExp(`rotated\\.json: new key 1, which signs from ${date}\nkey 0 verifies until ${date}\nGive this file`),
    );
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const { keys } = JSON.parse(readFileSync(file, "utf8"));
    const [old] = JSON.parse(before).keys;
    assert.deepEqual({ ...keys[0], retires: null }, old);
    const signsInMs = Date.parse(keys[1].signsFrom) - Date.now();
    assert.ok(signsInMs > 590_000 && signsInMs <= 601_000, `${signsInMs} ms`);
    // The longest call of the default configuration, a tick of a token's expiry, and an hour.
    assert.equal(Date.parse(keys[0].retires) - Date.parse(keys[1].signsFrom), (7200 + 64 + 3600) * 1000);
    assert.ok(![old.secret, keys[1].secret].some((secret) => stdout.includes(secret)));
  });

  test("takes the longest call from a flag or from the environment, as transceivers do", async () => {
    for (const [args, environment] of [
      [["--max-call-seconds", "60"], { EARSHOT_MAX_CALL_SECONDS: "1000" }],
      [[], { EARSHOT_MAX_CALL_SECONDS: "60" }],
    ] as const) {
      const file = await keyFile(`longest-${args.length}.json`);
      const { code } = await earshot(["keys", "rotate", "--signs-in", "5", ...args], {
        EARSHOT_KEYS: file,
        ...environment,
      });
      assert.equal(code, 0);
      const { keys } = JSON.parse(readFileSync(file, "utf8"));
      assert.equal(Date.parse(keys[0].retires) - Date.parse(keys[1].signsFrom), (60 + 64 + 3600) * 1000);
    }
  });

  test("says what is wrong in one line, and leaves the file as it is", async () => {
    const file = await keyFile("twice.json");
    await earshot(["keys", "rotate", "--keys", file, "--signs-in", "3600"]);
    const before = readFileSync(file, "utf8");
    const { code, stdout, stderr } = await earshot(["keys", "rotate", "--keys", file]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^earshot: KEYS_ROTATING: key file [^\n]+twice\.json: key 1 begins to sign only at [^\n]+\n$/);
    assert.equal(readFileSync(file, "utf8"), before);
  });

  test("does not let a key sign before processes can have read it", async () => {
    const { code, stderr } = await earshot(["keys", "rotate", "--keys", "keys.json", "--signs-in", "4"]);
    assert.equal(code, 2);
    assert.match(stderr, /^earshot: USAGE: .*Expected a whole number from 5 to \d+\.\n$/);
  });
});

describe("keys list", () => {
  test("prints states, dates and fingerprints, and no secret", async () => {
    const file = await keyFile("list.json");
    await earshot(["keys", "rotate", "--keys", file]);
    const { keys } = JSON.parse(readFileSync(file, "utf8"));
    const list = await earshot(["keys", "list", "--keys", file]);
    assert.deepEqual([list.code, list.stderr], [0, ""]);
    const [heading, first, second, ...rest] = list.stdout.split("\n");
    assert.match(heading!, /^id +state +signs from +retires +fingerprint$/);
    assert.match(first!, new RegExp(`^0 +signing +${keys[0].signsFrom} +${keys[0].retires} +[0-9a-f]{16}$`));
    assert.match(second!, new RegExp(`^1 +future +${keys[1].signsFrom} +no date +[0-9a-f]{16}$`));
    assert.deepEqual(rest, [""]);

    const json = await earshot(["keys", "list", "--keys", file, "--json"]);
    const listed = JSON.parse(json.stdout).keys;
    assert.deepEqual(
      listed.map(({ fingerprint: _, ...fields }: { fingerprint: string }) => fields),
      [
        { id: 0, state: "signing", signsFrom: keys[0].signsFrom, retires: keys[0].retires },
        { id: 1, state: "future", signsFrom: keys[1].signsFrom, retires: null },
      ],
    );
    assert.notEqual(listed[0].fingerprint, listed[1].fingerprint);
    for (const { secret } of keys) {
      for (const { stdout } of [list, json]) assert.ok(!stdout.includes(secret.slice(0, 8)));
    }
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
