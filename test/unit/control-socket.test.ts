/** The socket by which a command reaches a service that runs: who may open it, what it answers, and what is in its way. */
import assert from "node:assert/strict";
import { existsSync, linkSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { upgrade } from "../../src/cli/upgrade.ts";
import { EarshotError } from "../../src/earshot-error.ts";
import { askForUpgrade, ControlSocket } from "../../src/process/control-socket.ts";

function file(context: TestContext): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-control-"));
  context.after(() => rmSync(folder, { recursive: true }));
  return path.join(folder, "relay.sock");
}

async function served(context: TestContext, at: string, answer: () => Promise<number | undefined>): Promise<void> {
  const socket = await ControlSocket.open(at, answer);
  context.after(() => socket.close());
}

test("who asks for an upgrade is told the new process, each time", async (context) => {
  const at = file(context);
  let pid = 6;
  await served(context, at, async () => ++pid);
  assert.equal(await askForUpgrade(at), 7);
  assert.match(
    await upgrade({ flags: { controlSocket: at }, environment: {} }),
    /^upgraded: process 8 forwards, \d+ ms after it was asked for\n$/,
  );
});

test("who asks is told why there was none", async (context) => {
  const at = file(context);
  await served(context, at, async () => {
    throw new EarshotError("UPGRADE_FAILED", "the old one goes on");
  });
  await assert.rejects(askForUpgrade(at), { code: "UPGRADE_FAILED", message: "the old one goes on" });
});

test("nobody but its user may open it, and its file goes with it", async (context) => {
  const at = file(context);
  const socket = await ControlSocket.open(at, async () => 1);
  assert.equal(statSync(at).mode & 0o777, 0o600);
  socket.close();
  assert.equal(existsSync(at), false);
});

test("where no service listens, that is what is said", async (context) => {
  const at = file(context);
  await assert.rejects(askForUpgrade(at), { code: "NOT_RUNNING" });
  await assert.rejects(upgrade({ flags: {}, environment: {} }), { code: "CONFIG_CONTROL_SOCKET_REQUIRED" });
});

test("a file that a killed service has left is taken over, one that is served is not", async (context) => {
  const at = file(context);
  const killed = createServer().listen(at);
  await new Promise((resolve) => killed.once("listening", resolve));
  await assert.rejects(
    ControlSocket.open(at, async () => 1),
    { code: "CONTROL_SOCKET_IN_USE" },
  );
  // libuv removes the file of a server that closes; a kill does not.
  const kept = `${at}.kept`;
  linkSync(at, kept);
  await new Promise((resolve) => killed.close(resolve));
  renameSync(kept, at);
  await served(context, at, async () => 3);
  assert.equal(await askForUpgrade(at), 3);
});

test("another request is refused, and a long one cut off", async (context) => {
  const at = file(context);
  let upgrades = 0;
  await served(context, at, async () => ++upgrades);
  const said = (text: string) =>
    new Promise<string>((resolve) => {
      let answer = "";
      const socket = connect(at);
      socket.on("data", (data) => {
        answer += data;
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve(answer));
      socket.end(text);
    });
  assert.match(await said("stop\n"), /CONTROL_REQUEST/);
  assert.match(await said(""), /CONTROL_REQUEST/);
  assert.equal(await said("upgrade\n".repeat(10_000)), "");
  assert.equal(upgrades, 0);
});
