/** What every engine does with traffic: sizes, many flows at once, the address that replies leave from, several workers. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { WORKER_COUNTER } from "../../src/engine/counters.ts";
import type { EngineCapabilities } from "../../src/engine/engine.ts";
import { TRUNK_MAX_BYTES } from "../../src/trunk/datagram.ts";
import { bindingRequest, dtlsLike, numberedRtp, rtpLike, successResponse } from "../kit/datagrams.ts";
import { type EngineRig, engineOptions, type MakeEngine, totals, withRig } from "../kit/engine-rig.ts";
import type { FakeClient } from "../kit/fake-client.ts";
import type { FakeTransceiver } from "../kit/fake-transceiver.ts";
import { until } from "../kit/until.ts";

/** The largest UDP payload in one Ethernet frame over IPv4. */
const ETHERNET_UDP_BYTES = 1_472;
/** More than one trunk datagram holds. */
const BURST = 100;
const FLOWS = 200;
const ROUNDS = 20;

export function trafficCases(make: MakeEngine): void {
  test("datagrams of every size up to an Ethernet frame's arrive unchanged, both ways", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      await rig.establish(client, transceiver);
      const sizes = [1, 2, 100, 1_300, 1_338, 1_347, 1_348, 1_349, 1_350, 1_360, 1_400, ETHERNET_UDP_BYTES];
      const all = sizes.map((size) => dtlsLike(size, size));
      await rig.up(client, transceiver, ...all);
      await rig.down(transceiver, client, ...all);
    }));

  test("frames share trunk datagrams up to 1,400 bytes", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      await rig.establish(client, transceiver);
      const sent = Array.from({ length: BURST }, (_, n) => numberedRtp(n, n));
      for (let turn = 0; turn < 20 && transceiver.largestShared === 0; turn += 1) {
        await Promise.all(sent.map((datagram) => client.send(datagram)));
        await arrived([transceiver], BURST);
        assert.deepEqual(transceiver.payloads, sent);
        transceiver.frames.length = 0;
        await rig.expect({ up_received: BURST, up_forwarded: BURST });
      }
      assert.ok(transceiver.largestShared > 0, "of bursts, some share");
      assert.ok(transceiver.largestShared <= TRUNK_MAX_BYTES, `${transceiver.largestShared} bytes`);
    }));

  test("a reply leaves from the address that the client aimed at", () =>
    withRig(
      make,
      {
        ingresses: [
          { id: 1, address: "127.0.0.1", port: 0 },
          { id: 2, address: "127.0.0.2", port: 0 },
          { id: 65_535, address: "::1", port: 0 },
        ],
      },
      async (rig) => {
        const transceiver = await rig.transceiver();
        const { ingresses } = rig.engine;
        assert.deepEqual(
          ingresses.map(({ id, address }) => [id, address]),
          [
            [1, "127.0.0.1"],
            [2, "127.0.0.2"],
            [65_535, "::1"],
          ],
        );
        for (const ingress of ingresses) {
          const client = await rig.client(ingress);
          await rig.establish(client, transceiver);
          await rig.up(client, transceiver, rtpLike());
          await rig.down(transceiver, client, rtpLike());
          assert.deepEqual(
            client.received.map(({ host, port }) => ({ host, port })),
            Array(2).fill({ host: ingress.address, port: ingress.port }),
          );
        }
      },
    ));

  test("many flows at once: nothing is lost, and within a flow nothing changes places", () =>
    withRig(make, {}, (rig) => manyFlows(rig)));

  test("several workers share the flows, if the engine has several", async () => {
    const { maxWorkers } = await capabilitiesOf(make);
    if (maxWorkers === 1) {
      await assert.rejects(
        withRig(make, { workers: 2 }, async () => {}),
        { name: "EarshotError", code: "ENGINE_WORKERS" },
      );
      return;
    }
    await withRig(make, { workers: 2 }, async (rig) => {
      assert.equal(rig.engine.trunkPorts.length, 2);
      await manyFlows(rig);
      const received = rig.engine.counters().map((worker) => worker[WORKER_COUNTER.up_received]!);
      assert.equal(received.length, 2);
      assert.ok(
        received.every((count) => count > 0),
        `every worker has a share: ${received}`,
      );
    });
  });

  test("any worker forwards any flow down, if the engine has several", async () => {
    const { maxWorkers } = await capabilitiesOf(make);
    await withRig(make, { workers: Math.min(maxWorkers, 3) }, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      await rig.establish(client, transceiver);
      for (const lane of rig.lanes) {
        await transceiver.data(client.path, rtpLike(), lane);
        await rig.expect({ down_received: 1, down_accepted: 1, frame_received: 1, frame_forwarded: 1 });
      }
    });
  });
}

async function capabilitiesOf(make: MakeEngine): Promise<EngineCapabilities> {
  const engine = make(engineOptions());
  await engine.stop();
  return engine.capabilities;
}

/** Every flow sends its numbers up, the transceiver sends each back, and both ends compare. */
async function manyFlows(rig: EngineRig): Promise<void> {
  const transceivers = [await rig.transceiver(1), await rig.transceiver(2), await rig.transceiver(3)];
  const clients: FakeClient[] = [];
  for (let i = 0; i < FLOWS; i += 1) clients.push(await rig.client());
  const ownerOf = (index: number): FakeTransceiver => transceivers[index % transceivers.length]!;

  for (const [index, client] of clients.entries()) await client.send(bindingRequest(rig.ufrag(ownerOf(index))));
  await arrived(transceivers, FLOWS);
  await rig.expect({ up_received: FLOWS, up_missed: FLOWS, up_reoffered: FLOWS, up_forwarded: FLOWS });
  for (const [index, client] of clients.entries()) await ownerOf(index).data(client.path, successResponse());
  await rig.expect({ down_received: FLOWS, down_accepted: FLOWS, frame_received: FLOWS, frame_forwarded: FLOWS });
  for (const transceiver of transceivers) transceiver.frames.length = 0;

  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [index, client] of clients.entries()) await client.send(numberedRtp(index, round));
    await arrived(transceivers, FLOWS * (round + 1));
  }
  await rig.expect({ up_received: FLOWS * ROUNDS, up_forwarded: FLOWS * ROUNDS });
  for (const transceiver of transceivers) {
    for (const { path, payload } of transceiver.frames) {
      assert.deepEqual(path, clients[payload.readUInt32BE(4)]!.path, "each datagram comes with its own client's path");
      await transceiver.data(path, payload);
    }
  }
  await until(
    () => clients.every((client) => client.received.length === ROUNDS + 1),
    () => "clients miss datagrams",
  );
  const count = FLOWS * ROUNDS;
  await rig.expect({ down_received: count, down_accepted: count, frame_received: count, frame_forwarded: count });
  const inOrder = Array.from({ length: ROUNDS }, (_, round) => round);
  for (const [index, client] of clients.entries()) {
    const numbers = client.received.slice(1).map(({ payload }) => [payload.readUInt32BE(4), payload.readUInt32BE(8)]);
    assert.deepEqual(
      numbers,
      inOrder.map((round) => [index, round]),
    );
  }
  assert.equal(totals(rig.engine)[WORKER_COUNTER.up_missed], FLOWS);
}

async function arrived(transceivers: readonly FakeTransceiver[], count: number): Promise<void> {
  const frames = () => transceivers.reduce((sum, { frames }) => sum + frames.length, 0);
  await until(
    () => frames() === count,
    () => `${frames()} of ${count} datagrams came to the transceivers`,
  );
}
