/** Flows that recovery brings back, on every engine: assured at once, and never at the cost of an owner that is there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pathBytes } from "../../src/trunk/path.ts";
import { bindingRequest, dtlsLike, rtpLike, successResponse } from "../kit/datagrams.ts";
import { type MakeEngine, withRig } from "../kit/engine-rig.ts";

export function restoreCases(make: MakeEngine): void {
  test("a restored flow carries media both ways at once, and requests of either ufrag", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const [newest, older] = [rig.ufrag(transceiver), rig.ufrag(transceiver)];
      assert.equal(rig.engine.restore(client.path, transceiver.slot, [newest, older]), "installed");
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: transceiver.slot, pending: undefined });
      await rig.up(client, transceiver, rtpLike(), dtlsLike(), bindingRequest(newest), bindingRequest(older));
      await rig.down(transceiver, client, rtpLike(), dtlsLike(), successResponse());
      assert.deepEqual(rig.engine.flowCounts(), { flows: 1, tentative: 0, capacity: 4_096 });
    }));

  test("restoring is not subject to the tentative quota, but to the table's capacity", () =>
    withRig(make, { flowCapacity: 4, tentativeQuota: 1 }, async (rig) => {
      const transceiver = await rig.transceiver();
      const ufrag = rig.ufrag(transceiver);
      const paths = [1, 2, 3, 4, 5].map((port) => pathBytes(1, "192.0.2.1", port));
      assert.equal(rig.engine.admit(paths[0]!, transceiver.slot, ufrag), "installed");
      assert.deepEqual(
        paths.slice(1).map((path) => rig.engine.restore(path, transceiver.slot, [ufrag])),
        ["installed", "installed", "installed", "table-full"],
      );
      assert.deepEqual(rig.engine.flowCounts(), { flows: 4, tentative: 1, capacity: 4 });
    }));

  test("a flow that is there gets what it lacks: an answer to a tentative one, an older ufrag if there is room", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const asked = await rig.install(client, transceiver);
      const [older, further] = [rig.ufrag(transceiver), rig.ufrag(transceiver)];
      assert.equal(rig.engine.restore(client.path, transceiver.slot, [asked, older]), "joined");
      assert.equal(rig.engine.restore(client.path, transceiver.slot, [further]), "joined");
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: transceiver.slot, pending: undefined });
      await rig.up(client, transceiver, rtpLike(), bindingRequest(asked), bindingRequest(older));
      // A third ufrag would have pushed one out that is in use; it takes the way of every new one.
      await rig.install(client, transceiver, further);
      assert.deepEqual(rig.engine.flowCounts(), { flows: 1, tentative: 0, capacity: 4_096 });
    }));

  test("an assured owner that is live stays, whoever is restored", () =>
    withRig(make, {}, async (rig) => {
      const [owner, other] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.establish(client, owner);
      assert.equal(rig.engine.restore(client.path, other.slot, [rig.ufrag(other)]), "kept");
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: owner.slot, pending: undefined });
      await rig.up(client, owner, rtpLike());
    }));

  test("an owner that has left gives way, and a session pending there keeps its ufrag", () =>
    withRig(make, {}, async (rig) => {
      const [gone, next] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.establish(client, gone);
      const pendingUfrag = await rig.install(client, next);
      rig.engine.retireTransceiver(gone.slot);
      const restored = rig.ufrag(next);
      assert.equal(rig.engine.restore(client.path, next.slot, [restored]), "installed");
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: next.slot, pending: undefined });
      await rig.up(client, next, rtpLike(), bindingRequest(restored), bindingRequest(pendingUfrag));
    }));

  test("a session that asked while the owner was missing is pending beside it", () =>
    withRig(make, {}, async (rig) => {
      const [owner, quick] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      const quickUfrag = await rig.install(client, quick);
      assert.equal(rig.engine.restore(client.path, owner.slot, [rig.ufrag(owner)]), "installed");
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: owner.slot, pending: quick.slot });
      await rig.up(client, owner, rtpLike());
      await rig.up(client, quick, bindingRequest(quickUfrag));
      assert.deepEqual(rig.engine.flowCounts(), { flows: 1, tentative: 0, capacity: 4_096 });
    }));
}
