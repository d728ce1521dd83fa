/** What every engine does with a client's datagram: forwards it, drops it for one named reason, or hands it up. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { WorkerCounterName } from "../../src/engine/counters.ts";
import { CONTROL_KIND } from "../../src/engine/engine.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { STUN_ATTRIBUTE, STUN_CLASS } from "../../src/stun/stun-reader.ts";
import { writeStun } from "../../src/stun/stun-writer.ts";
import {
  bindingRequest,
  classified,
  dtlsLike,
  errorResponse,
  indication,
  rtpLike,
  stunMessage,
  successResponse,
  tokenUfrag,
  tokenUfragOf,
} from "../kit/datagrams.ts";
import {
  CLUSTER,
  type EngineRig,
  FIRST_TRANSCEIVER_EPOCH,
  fleetKey,
  type MakeEngine,
  withRig,
} from "../kit/engine-rig.ts";
import { until } from "../kit/until.ts";

const ALLOCATE = 3;
/** libwebrtc's GOOG_PING: type 0x0200. */
const GOOG_PING = 0x080;
/** A larger one makes a first byte that is not of the STUN class. */
const LARGEST_METHOD = 0x0ff;
/** What each engine's queue to the control plane holds. */
const QUEUE_RECORDS = 1_024;
const BUFFER_BYTES = 2_048;

const patched = (bytes: Buffer, offset: number, value: number): Buffer => {
  bytes[offset] = value;
  return bytes;
};

/** Well-formed but for one thing each. */
function malformedStun(ufrag: string): Buffer[] {
  const request = () => bindingRequest(ufrag);
  const attributeTooLong = request();
  attributeTooLong.writeUInt16BE(0x0fff, 22);
  const lengthTooSmall = request();
  lengthTooSmall.writeUInt16BE(request().length - 24, 2);
  const oddLength = Buffer.concat([request(), Buffer.alloc(2)]);
  oddLength.writeUInt16BE(oddLength.length - 20, 2);
  return [
    request().subarray(0, 19),
    classified(0, 1),
    classified(3, 20),
    patched(request(), 4, 0),
    Buffer.concat([request(), Buffer.alloc(4)]),
    attributeTooLong,
    lengthTooSmall,
    oddLength,
  ];
}

/** USERNAME counts only before MESSAGE-INTEGRITY. */
function usernameAfterIntegrity(ufrag: string): Buffer {
  return writeStun({
    class: STUN_CLASS.request,
    transactionId: randomBytes(12),
    attributes: [
      [STUN_ATTRIBUTE.messageIntegrity, Buffer.alloc(20)],
      [STUN_ATTRIBUTE.username, Buffer.from(`${ufrag}:peer`)],
    ],
  });
}

interface DropCase {
  readonly counter: WorkerCounterName;
  readonly what: string;
  readonly on: "no flow" | "a tentative flow" | "an assured flow";
  readonly datagrams: (rig: EngineRig, ufrag: string) => readonly Buffer[];
}

const DROPS: readonly DropCase[] = [
  {
    counter: "up_drop_empty",
    what: "empty datagrams",
    on: "an assured flow",
    datagrams: () => [Buffer.alloc(0), Buffer.alloc(0)],
  },
  {
    counter: "up_drop_truncated",
    what: "datagrams larger than a receive buffer",
    on: "an assured flow",
    datagrams: () => [dtlsLike(BUFFER_BYTES + 1), rtpLike(9_000), classified(0, 3_000)],
  },
  {
    counter: "up_drop_class",
    what: "first bytes of no class that a session uses",
    on: "an assured flow",
    datagrams: () => [4, 19, 64, 79, 127, 192, 255].map((first) => classified(first, 40)),
  },
  {
    counter: "up_drop_stun_malformed",
    what: "what only looks like STUN",
    on: "an assured flow",
    datagrams: (_rig, ufrag) => malformedStun(ufrag),
  },
  {
    counter: "up_drop_stun_method",
    what: "STUN methods other than Binding, of any class",
    on: "an assured flow",
    datagrams: (_rig, ufrag) => [
      bindingRequest(ufrag, { method: ALLOCATE }),
      bindingRequest(ufrag, { method: GOOG_PING }),
      stunMessage(STUN_CLASS.success, ALLOCATE),
      stunMessage(STUN_CLASS.indication, LARGEST_METHOD),
    ],
  },
  {
    counter: "up_drop_ufrag",
    what: "requests whose USERNAME cannot hold a token",
    on: "no flow",
    datagrams: (_rig, ufrag) => [
      stunMessage(STUN_CLASS.request),
      bindingRequest("", { username: ufrag }),
      bindingRequest("", { username: ":peer" }),
      bindingRequest(ufrag.slice(1)),
      bindingRequest(`${ufrag}A`),
      bindingRequest(`-${ufrag.slice(1)}`),
      bindingRequest(`\xc1${ufrag.slice(1)}`),
      bindingRequest(`${ufrag.slice(0, 31)}=`),
      usernameAfterIntegrity(ufrag),
    ],
  },
  {
    counter: "up_drop_tag",
    what: "requests whose token is not ours",
    on: "no flow",
    datagrams: (rig, ufrag) => {
      const fields = { id: 1, epoch: FIRST_TRANSCEIVER_EPOCH, cluster: CLUSTER };
      const own = rig.ring.signing;
      return [
        bindingRequest("A".repeat(32)),
        bindingRequest(tokenUfrag(new KeyRing([fleetKey(own.id)]).signing, fields)),
        bindingRequest(tokenUfrag(new KeyRing([fleetKey(own.id + 1)]).signing, fields)),
        bindingRequest(tokenUfragOf(own, Buffer.alloc(16), 2)),
        bindingRequest(ufrag.slice(0, 31) + (ufrag.endsWith("A") ? "B" : "A")),
      ];
    },
  },
  {
    counter: "up_drop_no_flow",
    what: "anything but a request",
    on: "no flow",
    datagrams: () => [
      dtlsLike(),
      classified(63, 1),
      dtlsLike(BUFFER_BYTES),
      rtpLike(),
      classified(191, 12),
      successResponse(),
      errorResponse(),
      indication(),
    ],
  },
  {
    counter: "up_drop_tentative",
    what: "anything but STUN",
    on: "a tentative flow",
    datagrams: () => [dtlsLike(), rtpLike(), classified(20, 1)],
  },
];

export function uplinkCases(make: MakeEngine): void {
  for (const { counter, what, on, datagrams } of DROPS) {
    test(`drops and counts ${what} on ${on} (${counter})`, () =>
      withRig(make, {}, async (rig) => {
        const transceiver = await rig.transceiver();
        const client = await rig.client();
        const ufrag = rig.ufrag(transceiver);
        if (on === "a tentative flow") await rig.install(client, transceiver, ufrag);
        if (on === "an assured flow") await rig.establish(client, transceiver, ufrag);
        const all = datagrams(rig, ufrag);
        await client.send(...all);
        await rig.expect({ up_received: all.length, [counter]: all.length });
        assert.deepEqual(transceiver.frames, []);
      }));
  }

  test("drops loopback sources where the ingress is not on loopback (up_drop_source)", () =>
    withRig(make, { ingresses: [{ id: 1, address: "0.0.0.0", port: 0 }] }, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client(rig.engine.ingresses[0]!, "127.0.0.1");
      await client.send(bindingRequest(rig.ufrag(transceiver)), dtlsLike(), classified(255, 8));
      await rig.expect({ up_received: 3, up_drop_source: 3 });
    }));

  test("the first request reaches its transceiver, unchanged, once there is a flow", () =>
    withRig(make, {}, async (rig) => {
      const [first, second] = [await rig.transceiver(1), await rig.transceiver(2)];
      await rig.install(await rig.client(), second);
      await rig.install(await rig.client(), first);
      assert.deepEqual(rig.control.admitted, ["installed", "installed"]);
      assert.deepEqual([first.frames, second.frames], [[], []]);
    }));

  test("a right tag makes a miss, whatever is inside the token: that is for the control plane", () =>
    withRig(make, {}, async (rig) => {
      const client = await rig.client();
      rig.control.hold();
      const unknownKind = Buffer.alloc(16);
      unknownKind[0] = 1;
      const reserved = Buffer.alloc(16);
      reserved[1] = 1;
      const requests = [unknownKind, reserved].map((block) => bindingRequest(tokenUfragOf(rig.ring.signing, block)));
      await client.send(...requests);
      await rig.expect({ up_received: 2, up_missed: 2 });
      const miss = { kind: CONTROL_KIND.miss, worker: 1, slot: 0, path: client.path };
      assert.deepEqual(
        rig.control.take(),
        requests.map((payload) => ({ ...miss, payload })),
      );
    }));

  test("a miss that comes back to a path still without a flow is dropped (up_drop_still_unknown)", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      rig.control.hold();
      await client.send(bindingRequest(rig.ufrag(transceiver)));
      await rig.expect({ up_received: 1, up_missed: 1 });
      const [miss] = rig.control.take();
      assert.equal(rig.engine.offer(miss!), true);
      await rig.expect({ up_reoffered: 1, up_drop_still_unknown: 1 });
      // Another session's flow on this path does not take it either.
      rig.engine.admit(client.path, transceiver.slot, rig.ufrag(transceiver));
      assert.equal(rig.engine.offer(miss!), true);
      await until(
        () => rig.since("up_reoffered") === 1,
        () => "the offer was not taken",
      );
      // The same miss was handed back twice: one more was reoffered than had been missed.
      assert.equal(rig.since("up_drop_still_unknown"), 1);
    }));

  test("misses beyond what the queue holds are dropped (up_drop_miss_full), and the rest wait", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const request = bindingRequest(rig.ufrag(transceiver));
      rig.control.hold();
      const total = QUEUE_RECORDS + 16;
      for (let sent = 0; sent < total; sent += 52) {
        await client.send(...Array<Buffer>(Math.min(52, total - sent)).fill(request));
        await until(
          () => rig.since("up_received") === Math.min(sent + 52, total),
          () => "requests were lost before the engine",
        );
      }
      await rig.expect({ up_received: total, up_missed: QUEUE_RECORDS, up_drop_miss_full: 16 });
      assert.equal(rig.control.take().length, QUEUE_RECORDS);
      await client.send(request);
      await rig.expect({ up_received: 1, up_missed: 1 });
    }));

  test("the control plane is rung once, until it has taken what waits", () =>
    withRig(make, {}, async (rig) => {
      const client = await rig.client();
      const request = bindingRequest(rig.ufrag(await rig.transceiver()));
      rig.control.hold();
      await client.send(request, request, request);
      await rig.expect({ up_received: 3, up_missed: 3 });
      assert.equal(rig.control.rings, 1);
      assert.equal(rig.engine.takeControl(2).length, 2);
      assert.equal(rig.engine.takeControl(2).length, 1);
      assert.equal(rig.engine.takeControl(2).length, 0);
      const ringsBefore = rig.control.rings;
      await client.send(request);
      await rig.expect({ up_received: 1, up_missed: 1 });
      assert.equal(rig.control.rings, ringsBefore + 1);
    }));

  test("what the kernel does not take for the trunk is counted, and nothing else happens (up_drop_send)", () =>
    withRig(make, {}, async (rig) => {
      // Sending to broadcast takes SO_BROADCAST, which no engine sets.
      const transceiver = await rig.transceiver(1, FIRST_TRANSCEIVER_EPOCH, { address: "255.255.255.255", port: 9 });
      const client = await rig.client();
      const request = bindingRequest(rig.ufrag(transceiver));
      await client.send(request);
      await rig.expect({ up_received: 1, up_missed: 1, up_reoffered: 1, up_drop_send: 1 });
      await client.send(request, indication());
      await rig.expect({ up_received: 2, up_drop_send: 2 });
    }));

  test("keys can change: old tokens hold while their key is known, and the trunk is signed with the new one", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const [client, other] = [await rig.client(), await rig.client()];
      const oldUfrag = rig.ufrag(transceiver);
      const [oldKey] = rig.ring.fleetKeys;
      const newKey = fleetKey(9);
      const both = new KeyRing([{ ...oldKey!, signs: false }, newKey]);
      rig.engine.setKeys(both);
      transceiver.useKeys(both);
      rig.control.useKeys(both);
      await rig.establish(client, transceiver, oldUfrag);
      await rig.establish(other, transceiver, tokenUfrag(both.signing, transceiver));

      const onlyNew = new KeyRing([newKey]);
      rig.engine.setKeys(onlyNew);
      // A flow outlives the key of its token; only new sessions need a key that is known.
      await rig.up(client, transceiver, bindingRequest(oldUfrag));
      await client.send(bindingRequest(tokenUfrag(rig.ring.signing, transceiver)));
      await rig.expect({ up_received: 1, up_drop_tag: 1 });
    }));
}
