/** What every engine does with each frame of a trunk datagram that it has accepted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CONTROL_KIND } from "../../src/engine/engine.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { dtlsLike, indication, rtpLike, successResponse } from "../kit/datagrams.ts";
import type { MakeEngine } from "../kit/engine-rig.ts";
import { rawFrame } from "../kit/trunk-datagrams.ts";
import { until } from "../kit/until.ts";
import { onAssuredFlow, type Scene } from "./assured-flow.ts";

const QUEUE_RECORDS = 1_024;

/** A sequence that has not been used. */
const FRESH = 100n;

interface FrameCase {
  readonly what: string;
  readonly frames: (scene: Scene) => Buffer;
}

const UFRAG = Buffer.alloc(32, "A");

/** Each stands behind a good frame and before another one, which is lost with it. */
const UNREADABLE: readonly FrameCase[] = [
  { what: "a kind that does not exist", frames: ({ client }) => rawFrame(9, client.path, rtpLike()) },
  { what: "kind 0", frames: ({ client }) => rawFrame(0, client.path, rtpLike()) },
  { what: "a kind of the other direction", frames: () => rawFrame(FRAME_KIND.ping, undefined, Buffer.alloc(8)) },
  { what: "an empty data frame", frames: ({ client }) => rawFrame(FRAME_KIND.data, client.path, Buffer.alloc(0)) },
  {
    what: "a length that runs past the datagram",
    frames: ({ client }) => rawFrame(FRAME_KIND.data, client.path, rtpLike(), 1_400),
  },
  {
    what: "an address family that does not exist",
    frames: ({ client }) =>
      rawFrame(FRAME_KIND.data, Buffer.concat([Buffer.from([5]), client.path.subarray(1)]), rtpLike()),
  },
  {
    what: "a path where there is none",
    frames: ({ client }) => rawFrame(FRAME_KIND.drain, client.path, Buffer.alloc(0)),
  },
  { what: "no path where there is one", frames: () => rawFrame(FRAME_KIND.data, undefined, rtpLike()) },
  {
    what: "a promote with too short a ufrag",
    frames: ({ client }) => rawFrame(FRAME_KIND.promote, client.path, Buffer.alloc(31, "A")),
  },
  {
    what: "a flow end with too long a ufrag",
    frames: ({ client }) => rawFrame(FRAME_KIND.flowEnd, client.path, Buffer.alloc(33, "A")),
  },
];

export function frameCases(make: MakeEngine): void {
  test("a datagram with a frame in it that cannot be read is good up to there (frame_drop_malformed)", () =>
    onAssuredFlow(make, async (scene) => {
      const { rig, transceiver, frame } = scene;
      let sequence = FRESH;
      for (const { what, frames } of UNREADABLE) {
        sequence += 1n;
        await transceiver.sendRaw([transceiver.sealRaw(Buffer.concat([frame, frames(scene), frame]), sequence)]);
        await until(
          () => rig.since("down_accepted") === 1,
          () => what,
        );
        await rig.expect({
          down_received: 1,
          down_accepted: 1,
          frame_received: 2,
          frame_forwarded: 1,
          frame_drop_malformed: 1,
        });
      }
      for (const rest of [1, 2, 3]) {
        sequence += 1n;
        const datagram = transceiver.sealRaw(Buffer.concat([frame, Buffer.alloc(rest)]), sequence);
        await transceiver.sendRaw([datagram]);
        await rig.expect({
          down_received: 1,
          down_accepted: 1,
          frame_received: 2,
          frame_forwarded: 1,
          frame_drop_malformed: 1,
        });
      }
    }));

  test("frames for the control plane's own port are no business of a worker's, and leave the others alone", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client }) => {
      await transceiver.send(
        [FRAME_KIND.pong, undefined, Buffer.alloc(9)],
        [FRAME_KIND.data, client.path, rtpLike()],
        [FRAME_KIND.drain, undefined, Buffer.alloc(0)],
        [FRAME_KIND.data, client.path, dtlsLike()],
      );
      await rig.expect({
        down_received: 1,
        down_accepted: 1,
        frame_received: 4,
        frame_forwarded: 2,
        frame_drop_malformed: 2,
      });
    }));

  test("sends nothing to a path without a flow (frame_drop_unknown_path)", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client }) => {
      const { port, ingress } = client;
      const paths = [
        pathBytes(ingress.id, "127.0.0.1", port ^ 1),
        pathBytes(ingress.id, "127.0.0.2", port),
        pathBytes(ingress.id + 1, "127.0.0.1", port),
        pathBytes(ingress.id, "::1", port),
        pathBytes(ingress.id, "192.0.2.1", port),
      ];
      await transceiver.send(...paths.map((path) => [FRAME_KIND.data, path, successResponse()] as const));
      await rig.expect({
        down_received: 1,
        down_accepted: 1,
        frame_received: paths.length,
        frame_drop_unknown_path: paths.length,
      });
    }));

  test("tells the control plane of a path without a flow, once, and of none that is on no ingress of its own", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client }) => {
      rig.control.hold();
      const [known, elsewhere, other] = [
        client.path,
        pathBytes(client.ingress.id + 1, "192.0.2.1", 9),
        pathBytes(client.ingress.id, "192.0.2.1", 9),
      ];
      await transceiver.send(
        [FRAME_KIND.data, known, rtpLike()],
        [FRAME_KIND.data, elsewhere, rtpLike()],
        [FRAME_KIND.data, other, rtpLike()],
        [FRAME_KIND.data, other, successResponse()],
      );
      await rig.expect({
        down_received: 1,
        down_accepted: 1,
        frame_received: 4,
        frame_forwarded: 1,
        frame_drop_unknown_path: 3,
      });
      assert.deepEqual(rig.control.take(), [
        { kind: CONTROL_KIND.unknownPath, worker: 1, slot: transceiver.slot, path: other, payload: Buffer.alloc(0) },
      ]);
    }));

  test("an unknown path is told of again while downlink for it keeps coming", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client }) => {
      rig.control.hold();
      const unknown = pathBytes(client.ingress.id, "192.0.2.1", 9);
      let told = 0;
      let sent = 0;
      while (told < 2) {
        await transceiver.data(unknown, rtpLike());
        sent += 1;
        await until(
          () => rig.since("frame_drop_unknown_path") === sent,
          () => "the frame",
        );
        told += rig.control.take().length;
      }
      assert.ok(sent > 2, "each frame was told of");
      await rig.expect({
        down_received: sent,
        down_accepted: sent,
        frame_received: sent,
        frame_drop_unknown_path: sent,
      });
    }));

  test("a flood of unknown paths leaves half of the queue to what has to be decided", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client }) => {
      rig.control.hold();
      const unknown = Array.from({ length: QUEUE_RECORDS }, (_, i) =>
        pathBytes(client.ingress.id, `192.0.2.${i >> 8}`, 1_024 + i),
      );
      const flood = transceiver.seal(...unknown.map((path) => [FRAME_KIND.data, path, indication()] as const));
      const ends = transceiver.seal(
        ...Array.from({ length: QUEUE_RECORDS / 2 }, () => [FRAME_KIND.flowEnd, unknown[0]!, UFRAG] as const),
      );
      await transceiver.sendRaw([...flood, ...ends]);
      await rig.expect({
        down_received: flood.length + ends.length,
        down_accepted: flood.length + ends.length,
        frame_received: QUEUE_RECORDS * 1.5,
        frame_drop_unknown_path: QUEUE_RECORDS,
        frame_control: QUEUE_RECORDS / 2,
      });
      const kinds = rig.control.take().map(({ kind }) => kind);
      assert.equal(kinds.filter((kind) => kind === CONTROL_KIND.unknownPath).length, QUEUE_RECORDS / 2);
      assert.equal(kinds.filter((kind) => kind === CONTROL_KIND.flowEnd).length, QUEUE_RECORDS / 2);
    }));

  test("sends nothing on an ingress that it does not have (frame_drop_unknown_path)", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client }) => {
      const elsewhere = pathBytes(99, "127.0.0.1", client.port);
      assert.equal(rig.engine.admit(elsewhere, transceiver.slot, rig.ufrag(transceiver)), "installed");
      await transceiver.data(elsewhere, indication());
      await rig.expect({ down_received: 1, down_accepted: 1, frame_received: 1, frame_drop_unknown_path: 1 });
    }));

  test("takes frames only from the path's owner or pending session (frame_drop_not_owner)", () =>
    onAssuredFlow(make, async ({ rig, client }) => {
      const stranger = await rig.transceiver(2);
      await stranger.send([FRAME_KIND.data, client.path, successResponse()], [FRAME_KIND.data, client.path, rtpLike()]);
      await rig.expect({ down_received: 1, down_accepted: 1, frame_received: 2, frame_drop_not_owner: 2 });
    }));

  test("hands promote, flow end and assert to the control plane as they are, whoever owns the path", () =>
    onAssuredFlow(make, async ({ rig, client }) => {
      const stranger = await rig.transceiver(2);
      rig.control.hold();
      await stranger.send(
        [FRAME_KIND.promote, client.path, UFRAG],
        [FRAME_KIND.flowEnd, client.path, UFRAG],
        [FRAME_KIND.assert, pathBytes(1, "2001:db8::1", 9), UFRAG],
      );
      await rig.expect({ down_received: 1, down_accepted: 1, frame_received: 3, frame_control: 3 });
      const record = { worker: 1, slot: stranger.slot, path: client.path, payload: UFRAG };
      assert.deepEqual(rig.control.take(), [
        { ...record, kind: CONTROL_KIND.promote },
        { ...record, kind: CONTROL_KIND.flowEnd },
        { ...record, kind: CONTROL_KIND.assert, path: pathBytes(1, "2001:db8::1", 9) },
      ]);
    }));

  test("control frames beyond what the queue holds are dropped (frame_drop_control_full)", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client }) => {
      rig.control.hold();
      const total = QUEUE_RECORDS + 16;
      const datagrams = transceiver.seal(
        ...Array.from({ length: total }, () => [FRAME_KIND.assert, client.path, UFRAG] as const),
      );
      await transceiver.sendRaw(datagrams);
      await rig.expect({
        down_received: datagrams.length,
        down_accepted: datagrams.length,
        frame_received: total,
        frame_control: QUEUE_RECORDS,
        frame_drop_control_full: 16,
      });
      assert.equal(rig.control.take().length, QUEUE_RECORDS);
    }));

  test("what the kernel does not take for a client is counted, and the other frames go out (frame_drop_send)", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client }) => {
      const broadcast = pathBytes(client.ingress.id, "255.255.255.255", 9);
      const otherFamily = pathBytes(client.ingress.id, "::1", client.port);
      for (const path of [broadcast, otherFamily]) {
        assert.equal(rig.engine.admit(path, transceiver.slot, rig.ufrag(transceiver)), "installed");
      }
      const [before, after] = [rtpLike(60), rtpLike(61)];
      await transceiver.send(
        [FRAME_KIND.data, client.path, before],
        [FRAME_KIND.data, broadcast, indication()],
        [FRAME_KIND.data, otherFamily, indication()],
        [FRAME_KIND.data, client.path, after],
      );
      await rig.expect({
        down_received: 1,
        down_accepted: 1,
        frame_received: 4,
        frame_forwarded: 2,
        frame_drop_send: 2,
      });
      await until(
        () => client.received.length === 3,
        () => `${client.received.length} datagrams came to the client`,
      );
      assert.deepEqual(
        client.received.slice(1).map(({ payload }) => payload),
        [before, after],
      );
    }));
}
