/** How claims on a path end, on every engine: sessions that end, transceivers that retire, and who comes next. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { bindingRequest, dtlsLike, indication, rtpLike, successResponse } from "../kit/datagrams.ts";
import { FIRST_TRANSCEIVER_EPOCH, type MakeEngine, withRig } from "../kit/engine-rig.ts";

const RECEIVED_FRAME = { down_received: 1, down_accepted: 1, frame_received: 1 };

export function flowEndCases(make: MakeEngine): void {
  test("a session that ends takes its flow with it", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const ufrag = await rig.establish(client, transceiver);
      assert.equal(rig.engine.end(client.path, transceiver.slot, rig.ufrag(transceiver)), false);
      assert.equal(rig.engine.end(client.path, transceiver.slot + 1, ufrag), false);
      await transceiver.send([FRAME_KIND.flowEnd, client.path, Buffer.from(ufrag, "latin1")]);
      await rig.expect({ ...RECEIVED_FRAME, frame_control: 1 });
      assert.deepEqual(rig.control.obeyed, [true]);
      assert.equal(rig.engine.flow(client.path), undefined);
      assert.equal(rig.engine.flowCounts().flows, 0);
      assert.equal(rig.engine.end(client.path, transceiver.slot, ufrag), false);
      await client.send(rtpLike());
      await rig.expect({ up_received: 1, up_drop_no_flow: 1 });
      await transceiver.data(client.path, rtpLike());
      await rig.expect({ ...RECEIVED_FRAME, frame_drop_unknown_path: 1 });
      await rig.establish(client, transceiver);
    }));

  test("a session with two ufrags ends with the last of them", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const old = await rig.establish(client, transceiver);
      const fresh = await rig.install(client, transceiver);
      assert.equal(rig.engine.end(client.path, transceiver.slot, old), true);
      await rig.up(client, transceiver, bindingRequest(fresh), rtpLike());
      assert.equal(rig.engine.end(client.path, transceiver.slot, old), false);
      assert.equal(rig.engine.end(client.path, transceiver.slot, fresh), true);
      assert.equal(rig.engine.flow(client.path), undefined);
    }));

  test("when the owner ends, the pending session steps up and has to answer first", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      const ownerUfrag = await rig.establish(client, owner);
      const pendingUfrag = await rig.install(client, pending);
      assert.equal(rig.engine.end(client.path, owner.slot, ownerUfrag), true);
      assert.deepEqual(rig.claims(client.path), { state: "tentative", owner: pending.slot, pending: undefined });
      await client.send(rtpLike());
      await rig.expect({ up_received: 1, up_drop_tentative: 1 });
      await rig.up(client, pending, bindingRequest(pendingUfrag));
      await rig.down(pending, client, successResponse(), rtpLike());
      await rig.up(client, pending, rtpLike());
    }));

  test("a pending session that ends leaves the owner alone", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.establish(client, owner);
      const pendingUfrag = await rig.install(client, pending);
      assert.equal(rig.engine.end(client.path, pending.slot, pendingUfrag), true);
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: owner.slot, pending: undefined });
      await rig.up(client, owner, successResponse(), rtpLike());
      await pending.data(client.path, successResponse());
      await rig.expect({ ...RECEIVED_FRAME, frame_drop_not_owner: 1 });
    }));

  test("a retired transceiver gets nothing and sends nothing, and its successor takes over its paths", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const ufrag = await rig.establish(client, transceiver);
      rig.engine.retireTransceiver(transceiver.slot);
      rig.control.hold();
      await client.send(rtpLike(), dtlsLike(), successResponse(), indication());
      await rig.expect({ up_received: 4, up_drop_no_flow: 4 });
      await client.send(bindingRequest(ufrag));
      await rig.expect({ up_received: 1, up_missed: 1 });
      await transceiver.data(client.path, rtpLike());
      await rig.expect({ down_received: 1, down_drop_sender: 1 });
      assert.deepEqual(transceiver.frames, []);

      const successor = await rig.transceiver(1, FIRST_TRANSCEIVER_EPOCH + 1n);
      assert.equal(rig.engine.admit(client.path, successor.slot, rig.ufrag(successor)), "installed");
      assert.deepEqual(rig.claims(client.path), { state: "tentative", owner: successor.slot, pending: undefined });
      await rig.down(successor, client, successResponse(), rtpLike());
      await rig.up(client, successor, rtpLike());
      await transceiver.data(client.path, rtpLike());
      await rig.expect({ down_received: 1, down_drop_sender: 1 });
    }));

  test("a retired transceiver's unanswered path counts as no flow", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver(1);
      const client = await rig.client();
      await rig.install(client, transceiver);
      await client.send(rtpLike());
      await rig.expect({ up_received: 1, up_drop_tentative: 1 });
      rig.engine.retireTransceiver(transceiver.slot);
      await client.send(rtpLike(), successResponse());
      await rig.expect({ up_received: 2, up_drop_no_flow: 2 });
    }));

  test("a retired pending session gets no copies, its requests miss, and it is soon forgotten", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.establish(client, owner);
      const pendingUfrag = await rig.install(client, pending);
      rig.engine.retireTransceiver(pending.slot);
      rig.control.hold();
      await rig.up(client, owner, successResponse(), rtpLike());
      await client.send(bindingRequest(pendingUfrag));
      await rig.expect({ up_received: 1, up_missed: 1 });
      assert.deepEqual(pending.frames, []);
      for (let step = 0; step < 60; step += 1) rig.engine.expire();
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: owner.slot, pending: undefined });
    }));

  test("where the owner is retired, the pending session's next request gives it the path", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.establish(client, owner);
      const pendingUfrag = await rig.install(client, pending);
      rig.engine.retireTransceiver(owner.slot);
      await client.send(successResponse(), rtpLike());
      await rig.expect({ up_received: 2, up_drop_no_flow: 2 });
      // Forwarded without a new flow it would never be promoted: the client's answers to it find no flow.
      await rig.install(client, pending, pendingUfrag);
      assert.deepEqual(rig.control.admitted, ["installed", "pending", "installed"]);
      await rig.down(pending, client, successResponse(), rtpLike());
      await rig.up(client, pending, successResponse(), rtpLike());
    }));
}
