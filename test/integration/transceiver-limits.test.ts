/** How many calls a transceiver takes, and for how long. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { afterEach, describe, test } from "node:test";
import { pino } from "pino";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { call, clients, closeClients, closeRig, EPOCH, keys, openRig } from "../kit/transceiver-rig.ts";
import { until } from "../kit/until.ts";
import { WeriftClient } from "../kit/werift-client.ts";

afterEach(closeClients);

describe("limits", () => {
  test("refuses more calls than it may hold, and takes them again when one has ended", async () => {
    const rig = await openRig({ maxCalls: 1 });
    const client = new WeriftClient();
    clients.push(client);
    const offer = await client.offer();
    const { callId } = await rig.transceiver.createCall(offer);
    await assert.rejects(rig.transceiver.createCall(offer), { code: "OVERLOADED" });
    await rig.transceiver.endCall(callId);
    await rig.transceiver.createCall(offer);
    await closeRig(rig);
    assert.equal(rig.ended.length, 2);
  });

  test("takes no call while there is no ingress, or while it drains", async () => {
    const rig = await openRig();
    const client = new WeriftClient();
    clients.push(client);
    const offer = await client.offer();
    rig.transceiver.setAdvertise([]);
    await assert.rejects(rig.transceiver.createCall(offer), { code: "OVERLOADED" });
    rig.transceiver.setAdvertise(rig.relay.ingresses);
    rig.relay.up(FRAME_KIND.ping, undefined, Buffer.alloc(8));
    await until(
      () => rig.relay.controlOf(FRAME_KIND.pong).length === 1,
      () => "no pong",
    );
    rig.transceiver.drain();
    await until(
      () => rig.relay.controlOf(FRAME_KIND.drain).length === 1,
      () => "no drain",
    );
    await assert.rejects(rig.transceiver.createCall(offer), { code: "OVERLOADED" });
    rig.relay.up(FRAME_KIND.ping, undefined, Buffer.alloc(8));
    await until(
      () => rig.relay.controlOf(FRAME_KIND.pong).length === 2,
      () => "no second pong",
    );
    assert.equal(rig.relay.controlOf(FRAME_KIND.pong)[1]!.payload[8], 1);
    assert.equal(rig.transceiver.health().ok, false);
    await closeRig(rig);
  });

  test("ends a call that has lasted as long as it may", async () => {
    const rig = await openRig({ maxCallMs: 1_000 });
    const { callId } = await call(rig, { audio: false });
    await until(
      () => rig.ended.includes(callId),
      () => "the call goes on",
    );
    assert.match(await rig.transceiver.registry.metrics(), /calls_ended_total\{reason="max-duration"\} 1/);
    await closeRig(rig);
  });

  test("ends a call in which nothing comes or goes, and no other", async () => {
    const rig = await openRig({ maxIdleMs: 1_500 });
    const { client } = await call(rig);
    const talking = setInterval(() => client.channel!.send("still there"), 100);
    const { callId } = await call(rig, { audio: false });
    await until(
      () => rig.ended.length > 0,
      () => "the call goes on",
    );
    assert.deepEqual([rig.ended, rig.reasons], [[callId], ["idle"]]);
    clearInterval(talking);
    await until(
      () => rig.ended.length === 2,
      () => "the other call goes on in silence",
    );
    assert.deepEqual(rig.reasons, ["idle", "idle"]);
    await closeRig(rig);
  });

  test("stop ends every call and closes the trunk", async () => {
    const rig = await openRig();
    const { callId } = await call(rig);
    await closeRig(rig);
    assert.deepEqual(rig.ended, [callId]);
    await rig.transceiver.stop();
  });

  test("a trunk port that is taken is an error with a code", async () => {
    const taken = createSocket("udp4");
    await new Promise<void>((resolve) => taken.bind(0, "127.0.0.1", resolve));
    const transceiver = new Transceiver({
      id: 1,
      cluster: 1,
      epoch: EPOCH,
      keys,
      trunk: { address: "127.0.0.1", port: taken.address().port },
      advertise: [],
      maxCallMs: 1_000,
      limits: { maxCalls: 1 },
      logger: pino({ level: "silent" }),
    });
    await assert.rejects(transceiver.start(), { code: "EADDRINUSE" });
    await new Promise<void>((resolve) => taken.close(() => resolve()));
  });
});
