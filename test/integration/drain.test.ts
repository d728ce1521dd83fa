/** SIGTERM: a transceiver takes no further calls and lets those that are on end; a relay forwards until its traffic has moved. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { EarshotProcess, runEarshot } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { freeUdpPort } from "../kit/free-udp-port.ts";
import { echoes } from "../kit/system.ts";
import { Vip } from "../kit/vip.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const LOCAL = "127.0.0.1:0";

/** A relay and a transceiver as processes, and a way to call. */
async function scene(context: TestContext, drainSeconds: number) {
  const folder = mkdtempSync(join(tmpdir(), "earshot-drain-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const keys = join(folder, "keys.json");
  runEarshot("keys", "new", "--out", keys);
  const [ingress, trunk] = [await freeUdpPort(), await freeUdpPort()];
  const vip = await Vip.open();
  context.after(() => vip.close());
  vip.relays = [ingress];
  const config = join(folder, "relay.json");
  writeFileSync(config, JSON.stringify({ directory: [{ id: 1, address: "127.0.0.1", port: trunk }] }));
  const common = ["--keys", keys, "--http", LOCAL, "--drain-seconds", String(drainSeconds)];
  const transceiver = await EarshotProcess.start(
    ...["transceiver", ...common, "--trunk", `127.0.0.1:${trunk}`, "--advertise", `127.0.0.1:${vip.port}`],
  );
  context.after(() => transceiver.kill());
  const relay = await EarshotProcess.start(
    ...["relay", ...common, "--config", config, "--listen", `127.0.0.1:${ingress}`, "--workers", "1"],
  );
  context.after(() => relay.kill());
  await eventually(
    "a relay that is ready",
    () => fetch(`${relay.url}/readyz`),
    ({ status }) => status === 200,
  );

  const post = async (client: WeriftClient) =>
    fetch(`${transceiver.url}/v1/realtime/calls`, {
      method: "POST",
      headers: { "content-type": "application/sdp" },
      body: await client.offer(),
    });
  const newClient = () => {
    const client = new WeriftClient({ data: false });
    context.after(() => client.close());
    return client;
  };
  const client = newClient();
  const answer = await post(client);
  assert.equal(answer.status, 201);
  await client.accept(await answer.text());
  await client.connected();
  await echoes(client, "before");
  const location = new URL(answer.headers.get("location")!, transceiver.url);
  return {
    vip,
    relay,
    transceiver,
    client,
    hangUp: () => fetch(location, { method: "DELETE" }),
    refused: () => post(newClient()),
  };
}

const isNotReady = (service: EarshotProcess) =>
  eventually(
    "a service that is not ready",
    () => fetch(`${service.url}/readyz`),
    ({ status }) => status === 503,
  );

test("a transceiver that drains refuses calls, keeps the one that is on, and ends with it", async (context) => {
  const { relay, transceiver, client, hangUp, refused } = await scene(context, 60);
  transceiver.signal("SIGTERM");
  await isNotReady(transceiver);
  const answer = await refused();
  assert.equal(answer.status, 503);
  assert.ok(Number(answer.headers.get("retry-after")) > 0);
  await eventually(
    "a relay that knows",
    () => relay.metrics(),
    (metrics) => metrics.sum("earshot_relay_transceivers", 'state="draining"') === 1,
  );
  await echoes(client, "while it drains");
  assert.equal((await hangUp()).status, 200);
  assert.deepEqual(await transceiver.ended(), { code: 0, signal: null });
});

test("calls that outlast the time for draining end with it", async (context) => {
  const { transceiver } = await scene(context, 1);
  transceiver.signal("SIGTERM");
  assert.deepEqual(await transceiver.ended(), { code: 0, signal: null });
  assert.match(transceiver.log, /their time is up/);
});

for (const [what, first, second] of [
  ["a second signal", "SIGTERM", "SIGTERM"],
  ["SIGINT", "SIGINT", undefined],
] as const) {
  test(`${what} stops at once`, async (context) => {
    const { transceiver } = await scene(context, 60);
    transceiver.signal(first);
    if (second !== undefined) {
      await isNotReady(transceiver);
      transceiver.signal(second);
    }
    assert.deepEqual(await transceiver.ended(), { code: 0, signal: null });
    assert.doesNotMatch(transceiver.log, /their time is up/);
  });
}

test("a relay that drains is not ready, forwards, and ends when its flows have gone", async (context) => {
  const { relay, client, hangUp } = await scene(context, 60);
  relay.signal("SIGTERM");
  await isNotReady(relay);
  await echoes(client, "while it drains");
  await hangUp();
  assert.deepEqual(await relay.ended(), { code: 0, signal: null });
});

test("a relay whose clients send no more ends, although flows are left", async (context) => {
  const { relay, vip } = await scene(context, 60);
  relay.signal("SIGTERM");
  await isNotReady(relay);
  vip.loses = () => true;
  assert.deepEqual(await relay.ended(), { code: 0, signal: null });
  assert.doesNotMatch(relay.log, /their time is up/);
});
