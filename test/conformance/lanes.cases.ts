/** Lanes: sockets that stay while workers, and engines, come and go on them, and nothing is lost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Engine } from "../../src/engine/engine.ts";
import { OpenLanes } from "../../src/engine/native/lanes.ts";
import { bindingRequest, numberedRtp, rtpLike } from "../kit/datagrams.ts";
import { EngineRig, engineOptions, type MakeEngine, withRig } from "../kit/engine-rig.ts";
import type { FakeClient } from "../kit/fake-client.ts";
import { until } from "../kit/until.ts";

const FLOWS = 24;
/** Worker counts, each set while datagrams are on their way. */
const CHANGES = [3, 1, 2, 1, 3, 2] as const;

export function lanesCases(make: MakeEngine): void {
  test("another number of workers loses nothing, and a flow's datagrams stay in order", async () => {
    const { maxWorkers } = make(engineOptions()).capabilities;
    await withRig(make, { lanes: Math.min(3, maxWorkers) }, async (rig) => {
      const { engine } = rig;
      assert.equal(engine.workers, 1);
      await assert.rejects(engine.setWorkers(maxWorkers === 1 ? 2 : 4, []), {
        name: "EarshotError",
        code: "ENGINE_WORKERS",
      });
      assert.equal(engine.workers, 1);
      const { ingresses, trunkPorts } = engine;
      const transceiver = await rig.transceiver();
      const clients: FakeClient[] = [];
      for (let i = 0; i < FLOWS; i += 1) {
        clients.push(await rig.client());
        await rig.establish(clients[i]!, transceiver);
      }

      const changes = CHANGES.filter((count) => count <= maxWorkers);
      for (const [round, count] of changes.entries()) {
        const sent = clients.map((client, index) => client.send(numberedRtp(index, round)));
        const changed = engine.setWorkers(count, []);
        // What a lane's port has queued in the gap is its next worker's, up and down.
        sent.push(
          ...clients.map((client) => transceiver.data(client.path, rtpLike(), rig.lanes[round % rig.lanes.length])),
        );
        await Promise.all([...sent, changed]);
        assert.equal(engine.workers, count);
      }
      const sent = FLOWS * changes.length;
      await rig.expect({
        ...{ up_received: sent, up_forwarded: sent },
        ...{ down_received: sent, down_accepted: sent, frame_received: sent, frame_forwarded: sent },
      });
      await until(
        () => transceiver.frames.length === sent,
        () => `${transceiver.frames.length} of ${sent} datagrams came to the transceiver`,
      );
      for (const [index, client] of clients.entries()) {
        const mine = transceiver.payloads.filter((payload) => payload.readUInt32BE(4) === index);
        assert.deepEqual(
          mine.map((payload) => payload.readUInt32BE(8)),
          changes.map((_, round) => round),
        );
        assert.equal(client.received.length, 1 + changes.length);
      }
      assert.deepEqual([engine.ingresses, engine.trunkPorts], [ingresses, trunkPorts], "the sockets are the same");
    });
  });

  test("a request that a worker has queued is decided on after that worker is gone", async () => {
    const { maxWorkers } = make(engineOptions()).capabilities;
    await withRig(make, { workers: Math.min(3, maxWorkers) }, async (rig) => {
      const transceiver = await rig.transceiver();
      rig.control.hold();
      const requests = Array.from({ length: FLOWS }, () => bindingRequest(rig.ufrag(transceiver)));
      for (const request of requests) await (await rig.client()).send(request);
      await rig.expect({ up_received: FLOWS, up_missed: FLOWS });
      await rig.engine.setWorkers(1, []);
      rig.control.drain();
      await rig.expect({ up_reoffered: FLOWS, up_forwarded: FLOWS });
      assert.equal(transceiver.frames.length, FLOWS);
    });
  });

  test("an engine goes on with lanes that are open already, and another after it: what came in between is there", async (t) => {
    if (!make(engineOptions()).capabilities.adoptsLanes) {
      const rig = new EngineRig(make, engineOptions({ adopted: [{ publics: [0], trunk: 0 }] }));
      await assert.rejects(rig.engine.start(rig.control.onControl), { name: "EarshotError", code: "ENGINE_LANES" });
      await rig.close();
      return;
    }
    const lanes = new OpenLanes(engineOptions({ lanes: 2 }));
    t.after(() => lanes.close());
    const options = engineOptions({ ingresses: lanes.ingresses, lanes: 2, workers: 2, adopted: lanes.descriptors });
    const first = new EngineRig(make, options);
    const second = new EngineRig(make, options, first.ring);
    t.after(async () => {
      await first.close();
      await second.close();
    });
    await first.engine.start(first.control.onControl);
    assert.deepEqual(bound(first.engine), { ingresses: lanes.ingresses, trunkPorts: lanes.trunkPorts });
    const transceiver = await first.transceiver();
    const client = await first.client();
    const ufrag = await first.establish(client, transceiver);
    await first.engine.stop();

    const request = bindingRequest(ufrag);
    await client.send(request);
    second.control.slots.set(transceiver.id, second.engine.addTransceiver(transceiver.entry));
    await second.engine.start(second.control.onControl);
    assert.deepEqual(bound(second.engine), bound(first.engine));
    await second.expect({ up_received: 1, up_missed: 1, up_reoffered: 1, up_forwarded: 1 });
    // The transceiver takes it although it has seen the first engine's sequences under the same epoch.
    await second.arrived(transceiver, client, request);
  });

  test("sockets that are not what the options say are not adopted", async (t) => {
    if (!make(engineOptions()).capabilities.adoptsLanes) return;
    const lanes = new OpenLanes(engineOptions({ lanes: 2 }));
    t.after(() => lanes.close());
    const [first, other] = lanes.descriptors;
    const ingresses = lanes.ingresses;
    for (const [what, wrong] of [
      ["another address", { ingresses: [{ ...ingresses[0]!, address: "127.0.0.2" }], adopted: [first!] }],
      ["another port", { ingresses: [{ ...ingresses[0]!, port: ingresses[0]!.port ^ 1 }], adopted: [first!] }],
      ["a descriptor that is closed", { ingresses, adopted: [{ ...first!, trunk: 1 << 20 }] }],
      ["no socket", { ingresses, adopted: [{ ...first!, trunk: 0 }] }],
      ["fewer lanes", { ingresses, adopted: [first!, other!], lanes: 3 }],
      ["fewer ingresses", { ingresses: [ingresses[0]!, { id: 2, address: "127.0.0.1", port: 0 }], adopted: [first!] }],
    ] as const) {
      const rig = new EngineRig(make, engineOptions(wrong));
      await assert.rejects(rig.engine.start(rig.control.onControl), { name: "EarshotError" }, what);
      await rig.close();
    }
  });
}

const bound = ({ ingresses, trunkPorts }: Engine) => ({ ingresses, trunkPorts });
