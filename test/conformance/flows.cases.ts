/** Who may use a path, on every engine: tentative and assured owners, pending sessions, their ends and their successors. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { bindingRequest, dtlsLike, errorResponse, indication, rtpLike, successResponse } from "../kit/datagrams.ts";
import { type MakeEngine, withRig } from "../kit/engine-rig.ts";
import type { FakeClient } from "../kit/fake-client.ts";
import type { FakeTransceiver } from "../kit/fake-transceiver.ts";

const ufragBytes = (ufrag: string): Buffer => Buffer.from(ufrag, "latin1");
const RECEIVED_FRAME = { down_received: 1, down_accepted: 1, frame_received: 1 };

export function flowCases(make: MakeEngine): void {
  test("a tentative owner carries STUN only, and its first success response makes it assured", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const ufrag = await rig.install(client, transceiver);
      const isTentative = () =>
        assert.deepEqual(rig.claims(client.path), {
          state: "tentative",
          owner: transceiver.slot,
          pending: undefined,
        });
      isTentative();

      // Its own checks, refusals and keepalives prove nothing.
      await rig.down(transceiver, client, bindingRequest("client:of the transceiver"), errorResponse(), indication());
      await rig.up(client, transceiver, successResponse(), errorResponse(), indication(), bindingRequest(ufrag));
      await client.send(dtlsLike());
      await rig.expect({ up_received: 1, up_drop_tentative: 1 });
      for (const media of [dtlsLike(), rtpLike()]) {
        await transceiver.data(client.path, media);
        await rig.expect({ ...RECEIVED_FRAME, frame_drop_not_stun: 1 });
      }
      isTentative();

      await rig.down(transceiver, client, successResponse());
      assert.equal(rig.engine.flow(client.path)?.state, "assured");
      await rig.up(client, transceiver, dtlsLike(), rtpLike(), indication(), successResponse(), bindingRequest(ufrag));
      await rig.down(transceiver, client, dtlsLike(), rtpLike(), indication(), bindingRequest("client:again"));
    }));

  test("a tentative owner gives way to the next session that asks", () =>
    withRig(make, {}, async (rig) => {
      const [first, second] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.install(client, first);
      await rig.install(client, second);
      assert.deepEqual(rig.control.admitted, ["installed", "installed"]);
      assert.equal(rig.engine.flow(client.path)?.owner, second.slot);
      await first.data(client.path, successResponse());
      await rig.expect({ ...RECEIVED_FRAME, frame_drop_not_owner: 1 });
    }));

  test("a session on an assured path is pending: STUN only, both ways, until it is promoted", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      const ownerUfrag = await rig.establish(client, owner);
      const pendingUfrag = await rig.install(client, pending);
      assert.deepEqual(rig.control.admitted, ["installed", "pending"]);
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: owner.slot, pending: pending.slot });

      await rig.up(client, pending, bindingRequest(pendingUfrag));
      await rig.up(client, owner, bindingRequest(ownerUfrag), dtlsLike(), rtpLike(), indication());
      await rig.down(owner, client, dtlsLike(), rtpLike(), successResponse());
      await rig.down(pending, client, successResponse(), bindingRequest("client:pending"), errorResponse());
      for (const media of [dtlsLike(), rtpLike()]) {
        await pending.data(client.path, media);
        await rig.expect({ ...RECEIVED_FRAME, frame_drop_not_stun: 1 });
      }
      // Its success response does not make it the owner.
      assert.equal(rig.engine.flow(client.path)?.owner, owner.slot);

      await pending.send([FRAME_KIND.promote, client.path, ufragBytes(pendingUfrag)]);
      await rig.expect({ ...RECEIVED_FRAME, frame_control: 1 });
      assert.deepEqual(rig.control.obeyed, [true]);
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: pending.slot, pending: undefined });
      await rig.up(client, pending, dtlsLike(), rtpLike(), successResponse(), bindingRequest(pendingUfrag));
      await rig.down(pending, client, dtlsLike(), rtpLike());
      await owner.data(client.path, rtpLike());
      await rig.expect({ ...RECEIVED_FRAME, frame_drop_not_owner: 1 });
    }));

  test("a response goes to the owner, and a copy of it to the pending session (up_copied)", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.establish(client, owner);
      await rig.install(client, pending);
      for (const response of [successResponse(), errorResponse()]) {
        await client.send(response);
        await rig.expect({ up_received: 1, up_forwarded: 1, up_copied: 1 });
        await rig.arrived(owner, client, response);
        await rig.arrived(pending, client, response);
      }
    }));

  test("a further session takes the place of the pending one", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending, next] = [await rig.transceiver(1), await rig.transceiver(2), await rig.transceiver(3)];
      const client = await rig.client();
      await rig.establish(client, owner);
      await rig.install(client, pending);
      await rig.install(client, next);
      assert.deepEqual(rig.control.admitted, ["installed", "pending", "pending"]);
      assert.equal(rig.engine.flow(client.path)?.pending, next.slot);
      await pending.data(client.path, successResponse());
      await rig.expect({ ...RECEIVED_FRAME, frame_drop_not_owner: 1 });
    }));

  test("promote refuses what is not pending", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending] = [await rig.transceiver(1), await rig.transceiver(2)];
      const [client, stranger] = [await rig.client(), await rig.client()];
      const ownerUfrag = await rig.establish(client, owner);
      assert.equal(rig.engine.promote(client.path, owner.slot, ownerUfrag), false);
      const pendingUfrag = await rig.install(client, pending);
      assert.equal(rig.engine.promote(client.path, owner.slot, pendingUfrag), false);
      assert.equal(rig.engine.promote(client.path, pending.slot, ownerUfrag), false);
      assert.equal(rig.engine.promote(stranger.path, pending.slot, pendingUfrag), false);
      assert.deepEqual(rig.claims(client.path), { state: "assured", owner: owner.slot, pending: pending.slot });
    }));

  test("during an ICE restart both ufrags forward, and neither misses again", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const old = await rig.establish(client, transceiver);
      const fresh = await rig.install(client, transceiver);
      assert.deepEqual(rig.control.admitted, ["installed", "joined"]);
      assert.equal(rig.engine.flow(client.path)?.state, "assured");
      for (let turn = 0; turn < 5; turn += 1) {
        await rig.up(client, transceiver, bindingRequest(old), rtpLike(), bindingRequest(fresh), dtlsLike());
      }
    }));

  test("the newest two ufrags of a session count; one that asks again is among them", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const first = await rig.establish(client, transceiver);
      const second = await rig.install(client, transceiver);
      assert.equal(rig.engine.admit(client.path, transceiver.slot, first), "joined");
      const third = await rig.install(client, transceiver);
      await rig.up(client, transceiver, bindingRequest(first), bindingRequest(third));
      // The second had been silent longest. Asking again, it comes back and the first goes.
      await rig.install(client, transceiver, second);
      await rig.up(client, transceiver, bindingRequest(third), bindingRequest(second));
      await rig.install(client, transceiver, first);
    }));

  test("a pending session may restart ICE too", () =>
    withRig(make, {}, async (rig) => {
      const [owner, pending] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.establish(client, owner);
      const old = await rig.install(client, pending);
      const fresh = await rig.install(client, pending);
      assert.deepEqual(rig.control.admitted, ["installed", "pending", "joined"]);
      await rig.up(client, pending, bindingRequest(old), bindingRequest(fresh));
      assert.equal(rig.engine.promote(client.path, pending.slot, fresh), true);
      await rig.up(client, pending, bindingRequest(old), bindingRequest(fresh), rtpLike());
    }));

  test("flows that have not been answered are limited by the quota", () =>
    withRig(make, { tentativeQuota: 2 }, async (rig) => {
      const transceiver = await rig.transceiver();
      const clients: FakeClient[] = [];
      for (let i = 0; i < 3; i += 1) clients.push(await rig.client());
      const [first, second, third] = clients as [FakeClient, FakeClient, FakeClient];
      await rig.install(first, transceiver);
      await rig.install(second, transceiver);
      assert.deepEqual(rig.engine.flowCounts(), { flows: 2, tentative: 2, capacity: 4_096 });
      await third.send(bindingRequest(rig.ufrag(transceiver)));
      await rig.expect({ up_received: 1, up_missed: 1 });
      assert.equal(rig.control.admitted.at(-1), "quota");
      await rig.down(transceiver, first, successResponse());
      await rig.install(third, transceiver);
      assert.deepEqual(rig.engine.flowCounts(), { flows: 3, tentative: 2, capacity: 4_096 });
    }));

  test("a flow tells how long it has been idle: since it was made, then since its owner last sent something", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const idleMs = () => rig.engine.flow(client.path)!.idleMs;
      /** Longer than the step of last-seen, and than the tick that either engine counts in. */
      const wait = () => sleep(1_600);
      await rig.install(client, transceiver);
      assert.ok(idleMs() < 1_000, `${idleMs()} ms`);
      await wait();
      assert.ok(idleMs() >= 1_000, `${idleMs()} ms`);
      await rig.down(transceiver, client, bindingRequest("client:of the transceiver"));
      assert.ok(idleMs() >= 1_000, "a tentative owner's checks change nothing");
      await rig.down(transceiver, client, successResponse());
      assert.ok(idleMs() < 1_000, `${idleMs()} ms`);
      await wait();
      assert.ok(idleMs() >= 1_000, `${idleMs()} ms`);
      await rig.up(client, transceiver, rtpLike());
      assert.ok(idleMs() >= 1_000, "the client's own datagrams change nothing");
      await rig.down(transceiver, client, rtpLike());
      assert.ok(idleMs() < 1_000, `${idleMs()} ms`);
    }));

  test("a full table takes no further flow, and one again when one has ended", () =>
    withRig(make, { flowCapacity: 4 }, async (rig) => {
      const transceiver = await rig.transceiver();
      const ufrag = rig.ufrag(transceiver);
      const paths = [1, 2, 3, 4, 5].map((port) => pathBytes(1, "192.0.2.1", port));
      const admit = (index: number) => rig.engine.admit(paths[index]!, transceiver.slot, ufrag);
      assert.deepEqual([0, 1, 2, 3, 4].map(admit), ["installed", "installed", "installed", "installed", "table-full"]);
      assert.equal(rig.engine.flow(paths[4]!), undefined);
      assert.equal(rig.engine.end(paths[1]!, transceiver.slot, ufrag), true);
      assert.equal(admit(4), "installed");
      assert.deepEqual(rig.engine.flowCounts(), { flows: 4, tentative: 4, capacity: 4 });
      assert.equal(rig.engine.expire(), 0, "fresh flows stay");
    }));

  test("paths differ by ingress, address and port", () =>
    withRig(make, {}, async (rig) => {
      const transceiver: FakeTransceiver = await rig.transceiver();
      const ufrag = rig.ufrag(transceiver);
      const paths = [
        pathBytes(1, "192.0.2.1", 1_000),
        pathBytes(2, "192.0.2.1", 1_000),
        pathBytes(1, "192.0.2.2", 1_000),
        pathBytes(1, "192.0.2.1", 1_001),
        pathBytes(1, "2001:db8::1", 1_000),
        pathBytes(1, "2001:db8::c000:201", 1_000),
      ];
      for (const path of paths) assert.equal(rig.engine.admit(path, transceiver.slot, ufrag), "installed");
      assert.equal(rig.engine.flowCounts().flows, paths.length);
      assert.equal(rig.engine.end(paths[0]!, transceiver.slot, ufrag), true);
      assert.deepEqual(
        paths.map((path) => rig.engine.flow(path) !== undefined),
        [false, true, true, true, true, true],
      );
    }));
}
