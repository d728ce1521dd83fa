/** The list of transceivers in a relay's file changes while the relay runs. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { EarshotProcess, runEarshot } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { freeUdpPort } from "../kit/free-udp-port.ts";

const ID = 12;

test("SIGHUP has the directory read again, and a file that is malformed changes nothing", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "earshot-test-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const [keys, file] = [join(folder, "keys.json"), join(folder, "relay.yaml")];
  runEarshot("keys", "new", "--out", keys);
  const port = await freeUdpPort();
  const common = ["--keys", keys, "--http", "127.0.0.1:0"];
  const list = (id: number, address: string) =>
    writeFileSync(
      file,
      `listen: 127.0.0.1:0\ntrunk: 127.0.0.1:0\ndirectory:\n  - { id: ${id}, address: ${address}, port: ${port} }\n`,
    );
  list(ID + 1, "127.0.0.1");

  const relay = await EarshotProcess.start("relay", ...common, "--config", file);
  context.after(() => relay.kill());
  const own = ["--id", `${ID}`, "--trunk", `127.0.0.1:${port}`, "--advertise", "127.0.0.1:9"];
  const transceiver = await EarshotProcess.start("transceiver", ...common, ...own);
  context.after(() => transceiver.kill());

  const ready = async () => (await fetch(`${relay.url}/readyz`)).status === 200;
  const logs = (text: string) =>
    eventually(
      `"${text}" in the log`,
      async () => relay.log,
      (log) => log.includes(text),
    );
  assert.equal(await ready(), false);

  list(ID, "127.0.0.1");
  relay.signal("SIGHUP");
  await eventually("a relay with a transceiver", ready, (is) => is);

  list(ID, "nowhere");
  relay.signal("SIGHUP");
  await logs("stays as it was");
  assert.equal(await ready(), true);

  list(ID + 1, "127.0.0.1");
  relay.signal("SIGHUP");
  await eventually("a relay without a transceiver", ready, (is) => !is);
  await transceiver.stop();
  await relay.stop();
});
