/**
 * A caller with valid credentials who sends the worst into their own call: every parser behind DTLS and SRTP, which a stranger
 * never reaches. It may cost that call, and nothing else: the process, and the calls of others, go on.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { echoes } from "../kit/system.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const CALLER = fileURLToPath(new URL("../kit/hostile-caller.js", import.meta.url));
/** Of each kind; they take about a millisecond each. */
const MESSAGES = 2_000;
const SEED = 7;

async function call(url: string): Promise<WeriftClient> {
  const client = new WeriftClient();
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: await client.offer(),
  });
  assert.equal(response.status, 201, await response.clone().text());
  await client.accept(await response.text());
  await client.connected();
  return client;
}

test("mutated RTP, RTCP, SCTP and data-channel messages cost at most the call that they come in", async (context) => {
  const earshot = await EarshotProcess.start("start", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0");
  context.after(() => earshot.stop());
  const processes = earshot.children();
  const url = `${earshot.url}/v1/realtime/calls`;
  const honest = await call(url);
  context.after(() => honest.close());

  const caller = spawn(process.execPath, [CALLER, url, String(SEED), String(MESSAGES)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  context.after(() => caller.kill("SIGKILL"));
  let output = "";
  caller.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  let ended = false;
  const end = once(caller, "exit").then(() => {
    ended = true;
  });
  let echoed = 0;
  while (!ended) {
    await echoes(honest, `still here ${echoed++}`);
    await Promise.race([end, sleep(50)]);
  }
  assert.deepEqual(JSON.parse(output), { rtp: MESSAGES, rtcp: MESSAGES, sctp: MESSAGES, message: MESSAGES });
  assert.ok(echoed > 10, `${echoed} echoes meanwhile`);

  const alive = earshot.children();
  for (const pid of processes) assert.ok(alive.includes(pid), earshot.log);
  const another = await call(url);
  await echoes(another, "and so do new ones");
  await another.close();
  // The parsers have seen them: what was malformed is counted, not swallowed.
  const metrics = await earshot.metrics();
  for (const name of ["session_drop_srtp_unreadable", "session_drop_sctp"]) {
    assert.ok(metrics.sum(`earshot_transceiver_${name}_total`) > 100, name);
  }
});
