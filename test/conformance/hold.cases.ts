/**
 * What every engine does with datagrams that it cannot place while it is told to hold: it asks about each path once, forwards
 * in order what has a flow by the time that the path is settled, and drops all else by name. The bounds over time, which real
 * sockets cannot show, are in test/native/hold_test.cc and test/unit/hold.test.ts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CONTROL_KIND, type HoldVerdict } from "../../src/engine/engine.ts";
import {
  bindingRequest,
  dtlsLike,
  errorResponse,
  indication,
  numberedRtp,
  rtpLike,
  successResponse,
} from "../kit/datagrams.ts";
import { type EngineRig, type MakeEngine, withRig } from "../kit/engine-rig.ts";
import type { FakeClient } from "../kit/fake-client.ts";
import { until } from "../kit/until.ts";

/** Longer than any test. */
const LONG_MS = 600_000;
/** As in native/core/constants.h. */
const HELD_PER_PATH = 16;
const HELD_CHUNKS = 16_384;
const CHUNK_BYTES = 240;

async function held(rig: EngineRig, client: FakeClient, ...datagrams: readonly Buffer[]): Promise<void> {
  await client.send(...datagrams);
  await rig.expect({ up_received: datagrams.length, up_held: datagrams.length });
}

export function holdCases(make: MakeEngine): void {
  test("what is held is asked about once, and forwarded in its order when its path has a flow", () =>
    withRig(make, {}, async (rig) => {
      rig.control.hold();
      rig.engine.hold(LONG_MS);
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const datagrams = [numberedRtp(1, 1), dtlsLike(), successResponse(), errorResponse(), indication()];
      await held(rig, client, ...datagrams);
      assert.deepEqual(rig.control.take(), [
        { kind: CONTROL_KIND.heldPath, worker: 1, slot: 0, path: client.path, payload: Buffer.alloc(0) },
      ]);
      const later = numberedRtp(1, 2);
      await held(rig, client, later);
      assert.deepEqual(rig.control.take(), []);
      rig.engine.restore(client.path, transceiver.slot, [rig.ufrag(transceiver)]);
      assert.equal(rig.engine.settle(1, client.path, "unknown"), true);
      await rig.expect({ up_released: 6, up_forwarded: 6 });
      await until(
        () => transceiver.frames.length === 6,
        () => "not all came to the transceiver",
      );
      assert.deepEqual(transceiver.payloads, [...datagrams, later]);
      transceiver.frames.splice(0);
      await rig.up(client, transceiver, rtpLike());
    }));

  test("what has no flow when its path is settled ends as the verdict says", () =>
    withRig(make, {}, async (rig) => {
      rig.engine.hold(LONG_MS);
      const verdicts: readonly HoldVerdict[] = ["unknown", "failed", "budget"];
      for (const verdict of verdicts) {
        const [client, other] = [await rig.client(), await rig.client()];
        await held(rig, client, rtpLike(), dtlsLike());
        await held(rig, other, rtpLike());
        rig.engine.settle(1, client.path, verdict);
        await rig.expect({ up_released: 2, [`up_drop_hold_${verdict}`]: 2 });
        rig.engine.settle(1, other.path, verdict);
        await rig.expect({ up_released: 1, [`up_drop_hold_${verdict}`]: 1 });
      }
      // Of a path of which nothing is held.
      assert.equal(rig.engine.settle(1, (await rig.client()).path, "unknown"), true);
      await rig.expect({});
    }));

  test("a flow that has not been answered takes STUN of what was held, and no media", () =>
    withRig(make, {}, async (rig) => {
      rig.engine.hold(LONG_MS);
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const answer = successResponse();
      await held(rig, client, rtpLike(), answer);
      await rig.install(client, transceiver);
      rig.engine.settle(1, client.path, "unknown");
      await rig.expect({ up_released: 2, up_drop_tentative: 1, up_forwarded: 1 });
      await rig.arrived(transceiver, client, answer);
    }));

  test("a call whose owner has left is asked about as well", () =>
    withRig(make, {}, async (rig) => {
      rig.engine.hold(LONG_MS);
      const [gone, next] = [await rig.transceiver(1), await rig.transceiver(2)];
      const client = await rig.client();
      await rig.establish(client, gone);
      rig.engine.retireTransceiver(gone.slot);
      const datagram = rtpLike();
      await held(rig, client, datagram);
      rig.engine.restore(client.path, next.slot, [rig.ufrag(next)]);
      rig.engine.settle(1, client.path, "unknown");
      await rig.expect({ up_released: 1, up_forwarded: 1 });
      await rig.arrived(next, client, datagram);
    }));

  test("what was held for too long is dropped (up_drop_hold_stale), whether its path has a flow or not", () =>
    withRig(make, {}, async (rig) => {
      rig.engine.hold(1);
      const transceiver = await rig.transceiver();
      const [client, stranger] = [await rig.client(), await rig.client()];
      await held(rig, client, rtpLike());
      await held(rig, stranger, rtpLike());
      await sleep(50);
      rig.engine.restore(client.path, transceiver.slot, [rig.ufrag(transceiver)]);
      for (const { path } of [client, stranger]) rig.engine.settle(1, path, "unknown");
      await rig.expect({ up_released: 2, up_drop_hold_stale: 2 });
      await rig.up(client, transceiver, rtpLike());
    }));

  test("at the end of holding what has a flow is forwarded, all else dropped (up_drop_hold_over), and no more held", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const [client, stranger] = [await rig.client(), await rig.client()];
      await client.send(rtpLike());
      await rig.expect({ up_received: 1, up_drop_no_flow: 1 });
      rig.engine.hold(LONG_MS);
      const datagram = rtpLike();
      await held(rig, client, datagram);
      await held(rig, stranger, rtpLike(), indication());
      rig.engine.restore(client.path, transceiver.slot, [rig.ufrag(transceiver)]);
      rig.engine.hold(0);
      await rig.expect({ up_released: 3, up_forwarded: 1, up_drop_hold_over: 2 });
      await rig.arrived(transceiver, client, datagram);
      await stranger.send(rtpLike(), successResponse());
      await rig.expect({ up_received: 2, up_drop_no_flow: 2 });
    }));

  test("what is held when the engine stops is counted (up_drop_hold_over)", () =>
    withRig(make, {}, async (rig) => {
      rig.engine.hold(LONG_MS);
      await held(rig, await rig.client(), rtpLike(), rtpLike());
      await rig.engine.stop();
      await rig.expect({ up_released: 2, up_drop_hold_over: 2 });
    }));

  test("a flood of unknown paths fills what there is for it (up_drop_hold_full), and neither calls nor misses notice", () =>
    withRig(make, {}, async (rig) => {
      rig.control.hold();
      rig.engine.hold(LONG_MS);
      const transceiver = await rig.transceiver();
      const [caller, newcomer] = [await rig.client(), await rig.client()];
      rig.engine.restore(caller.path, transceiver.slot, [rig.ufrag(transceiver)]);
      const chunks = 8;
      const most = HELD_CHUNKS / chunks;
      const large = rtpLike(chunks * CHUNK_BYTES);
      // Some at a time, or the kernel's buffer would be too small for them.
      for (let sent = 0; sent < most; sent += 4 * HELD_PER_PATH) {
        for (let stranger = 0; stranger < 4; stranger++) {
          await (await rig.client()).send(...Array<Buffer>(HELD_PER_PATH).fill(large));
        }
        await rig.expect({ up_received: 4 * HELD_PER_PATH, up_held: 4 * HELD_PER_PATH });
      }
      await (await rig.client()).send(rtpLike());
      await rig.expect({ up_received: 1, up_drop_hold_full: 1 });

      await rig.up(caller, transceiver, rtpLike(), dtlsLike());
      await newcomer.send(bindingRequest(rig.ufrag(transceiver)));
      await rig.expect({ up_received: 1, up_missed: 1 });
      rig.control.drain();
      await rig.expect({ up_reoffered: 1, up_forwarded: 1 });
      rig.engine.hold(0);
      await rig.expect({ up_released: most, up_drop_hold_over: most });
    }));

  test("one path has only so many datagrams held (up_drop_hold_full)", () =>
    withRig(make, {}, async (rig) => {
      rig.engine.hold(LONG_MS);
      const [greedy, modest] = [await rig.client(), await rig.client()];
      await greedy.send(...Array<Buffer>(HELD_PER_PATH + 3).fill(rtpLike()));
      await rig.expect({ up_received: HELD_PER_PATH + 3, up_held: HELD_PER_PATH, up_drop_hold_full: 3 });
      await held(rig, modest, rtpLike());
    }));

  test("nothing but what would be dropped for want of a flow is held", () =>
    withRig(make, {}, async (rig) => {
      rig.engine.hold(LONG_MS);
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      await client.send(Buffer.alloc(0), Buffer.from([64]), Buffer.from([0, 1]), bindingRequest("x".repeat(32)));
      await rig.expect({
        up_received: 4,
        up_drop_empty: 1,
        up_drop_class: 1,
        up_drop_stun_malformed: 1,
        up_drop_tag: 1,
      });
      await rig.install(client, transceiver);
      await client.send(rtpLike());
      await rig.expect({ up_received: 1, up_drop_tentative: 1 });
    }));
}
