/** Several transceiver processes behind one HTTP address, as an operator runs them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { EarshotProcess, runEarshot } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { credentialsOf } from "../kit/ice-checks.ts";
import { echoes } from "../kit/system.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const PROCESSES = 3;
const FIRST_ID = 40;
const SDP = { "content-type": "application/sdp" };

test("earshot start --processes brings calls to each of its transceivers", async () => {
  const service = await EarshotProcess.start(
    ...["start", "--processes", "2", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--log-level", "error"],
  );
  const clients = [new WeriftClient(), new WeriftClient()];
  try {
    await eventually(
      "the relay has heard both",
      () => service.metrics(),
      (metrics) => metrics.sum("earshot_relay_transceivers", 'state="live"') === 2,
    );
    for (const client of clients) {
      const body = await client.offer();
      const response = await fetch(`${service.url}/v1/realtime/calls`, { method: "POST", headers: SDP, body });
      await client.accept(await response.text());
      await client.connected();
      await echoes(client, "by its own transceiver");
    }
    const metrics = await service.metrics();
    for (const id of [1, 2]) {
      const connected = ["connected", "connecting"].map((state) =>
        metrics.sum("earshot_transceiver_calls", `state="${state}",transceiver="${id}"`),
      );
      assert.deepEqual(connected, [1, 0], `transceiver ${id}`);
    }
  } finally {
    for (const client of clients) await client.close();
    await service.stop();
  }
});

describe("earshot transceiver --processes", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "earshot-many-"));
  const keys = path.join(folder, "keys.json");
  const client = new WeriftClient();
  let service: EarshotProcess;
  let offer: string;

  before(async () => {
    runEarshot("keys", "new", "--out", keys);
    service = await EarshotProcess.start(
      ...["transceiver", "--keys", keys, "--id", `${FIRST_ID}`, "--processes", `${PROCESSES}`, "--max-calls", "2"],
      ...["--http", "127.0.0.1:0", "--trunk", "127.0.0.1:0", "--advertise", "127.0.0.1:3478", "--log-level", "error"],
    );
    offer = await client.offer();
  });
  after(async () => {
    await client.close();
    await service?.stop();
    rmSync(folder, { recursive: true });
  });

  /** A call, and which transceiver's its token says it is. */
  const call = async () => {
    const response = await fetch(`${service.url}/v1/realtime/calls`, { method: "POST", headers: SDP, body: offer });
    assert.equal(response.status, 201, await response.clone().text());
    const url = `${service.url}${response.headers.get("location")}`;
    const { ufrag } = credentialsOf(await response.text());
    const [, id] = /transceiver +(\d+)/.exec(runEarshot("token", "inspect", ufrag, "--keys", keys)) ?? [];
    return { url, id: Number(id) };
  };
  const status = async (method: string, url: string) => (await fetch(url, { method })).status;

  const describeCall = async (url: string) =>
    (await (await fetch(url)).json()) as { readonly state: string; readonly reason?: string };

  test("gives each process an id and a trunk of its own, and the calls to all of them", async () => {
    const places = [...service.banner.matchAll(/id (\d+), trunk 127\.0\.0\.1:(\d+)/g)];
    assert.deepEqual(
      places.map(([, id]) => Number(id)),
      [40, 41, 42],
    );
    assert.equal(new Set(places.map(([, , port]) => port)).size, PROCESSES);

    const calls = [await call(), await call(), await call(), await call(), await call(), await call()];
    assert.deepEqual(calls.map(({ id }) => id).sort(), [40, 40, 41, 41, 42, 42]);
    const full = await fetch(`${service.url}/v1/realtime/calls`, { method: "POST", headers: SDP, body: offer });
    assert.deepEqual([full.status, full.headers.get("retry-after")], [503, "2"]);

    const metrics = await service.metrics();
    for (const id of [40, 41, 42]) {
      assert.equal(metrics.sum("earshot_transceiver_calls", `transceiver="${id}"`), 2);
      assert.equal(metrics.sum("earshot_front_child_up", `child="transceiver-${id}"`), 1);
    }
    assert.equal(metrics.sum("earshot_front_open_calls"), 6);
    for (const { url } of calls) assert.equal(await status("DELETE", url), 200);
    await eventually(
      "no call is left",
      async () => (await service.metrics()).sum("earshot_transceiver_calls"),
      (left) => left === 0,
    );
  });

  test("survives one of them: its calls are gone, the others' go on, and it comes back", async () => {
    const calls = [await call(), await call(), await call()];
    const lost = calls[0]!;
    const restarts = async () =>
      (await service.metrics()).sum("earshot_front_child_restarts", `child="transceiver-${lost.id}"`);
    assert.equal(await restarts(), 0);
    const open = async () => (await service.metrics()).sum("earshot_front_open_calls");
    for (const pid of service.children()) {
      // Which process has which id is nobody's business but the front's: the one whose end costs that call.
      process.kill(pid, "SIGSTOP");
      const described = await Promise.race([status("GET", lost.url), new Promise((done) => setTimeout(done, 500))]);
      process.kill(pid, "SIGCONT");
      if (described !== undefined) continue;
      process.kill(pid, "SIGKILL");
      break;
    }
    await eventually("the call is gone", open, (left) => left === 2);
    assert.equal(await status("DELETE", lost.url), 404);
    assert.equal((await describeCall(lost.url)).reason, "transceiver-gone");
    for (const { url } of calls.slice(1)) assert.equal((await describeCall(url)).state, "connecting");
    assert.equal((await fetch(`${service.url}/readyz`)).status, 200);
    await eventually("it comes back", restarts, (count) => count === 1);
    await eventually(
      "it takes calls again",
      async () => (await call()).id,
      (id) => id === lost.id,
    );
    for (const { url } of calls.slice(1)) assert.equal(await status("DELETE", url), 200);
  });
});
