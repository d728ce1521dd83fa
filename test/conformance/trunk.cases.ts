/** What every engine does with a trunk datagram as a whole: takes it, or drops it for one named reason. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { WorkerCounterName } from "../../src/engine/counters.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { rtpLike } from "../kit/datagrams.ts";
import {
  CLUSTER,
  FIRST_TRANSCEIVER_EPOCH,
  fleetKey,
  type MakeEngine,
  RELAY_EPOCH,
  RELAY_ID,
} from "../kit/engine-rig.ts";
import { rawFrame } from "../kit/trunk-datagrams.ts";
import { until } from "../kit/until.ts";
import { onAssuredFlow, type Scene } from "./assured-flow.ts";

const BUFFER_BYTES = 2_048;
const WINDOW = 1_024n;
const RELAY_EPOCH_LOW = Number(BigInt.asUintN(32, RELAY_EPOCH));

interface DatagramCase {
  readonly counter: WorkerCounterName;
  readonly what: string;
  readonly datagrams: (scene: Scene) => readonly Buffer[];
}

/** Sequences from here on have not been used. */
const FRESH = 100n;

const DATAGRAM_DROPS: readonly DatagramCase[] = [
  {
    counter: "down_drop_truncated",
    what: "larger than a receive buffer",
    datagrams: ({ transceiver, client }) => [
      Buffer.alloc(BUFFER_BYTES + 1),
      transceiver.sealRaw(rawFrame(FRAME_KIND.data, client.path, rtpLike(2_000)), FRESH),
    ],
  },
  {
    counter: "down_drop_malformed",
    what: "too short, or of another version, direction or flags",
    datagrams: ({ transceiver, frame }) => [
      Buffer.alloc(0),
      Buffer.alloc(43, 0x11),
      transceiver.sealRaw(frame, FRESH).subarray(0, 43),
      transceiver.sealRaw(Buffer.alloc(0), FRESH),
      transceiver.sealRaw(frame, FRESH, { versionAndFlags: 0x01 }),
      transceiver.sealRaw(frame, FRESH, { versionAndFlags: 0x21 }),
      transceiver.sealRaw(frame, FRESH, { versionAndFlags: 0x10 }),
      transceiver.sealRaw(frame, FRESH, { versionAndFlags: 0x13 }),
      transceiver.sealRaw(frame, FRESH, { versionAndFlags: 0x19 }),
    ],
  },
  {
    counter: "down_drop_key",
    what: "of a key that is not known",
    datagrams: ({ rig, transceiver, frame }) =>
      [rig.ring.signing.id + 1, 64, 255].map((keyId) => transceiver.sealRaw(frame, FRESH, { keyId })),
  },
  {
    counter: "down_drop_tag",
    what: "with a wrong tag",
    datagrams: ({ rig, transceiver, frame }) => {
      const flipped = [0, 32, 60].map((fromEnd) => {
        const datagram = transceiver.sealRaw(frame, FRESH);
        datagram[datagram.length - 1 - fromEnd]! ^= 1;
        return datagram;
      });
      transceiver.useKeys(new KeyRing([fleetKey(rig.ring.signing.id)]));
      const foreign = transceiver.sealRaw(frame, FRESH);
      transceiver.useKeys(rig.ring);
      return [...flipped, foreign, transceiver.reflected(frame, FRESH)];
    },
  },
  {
    counter: "down_drop_target",
    what: "for another cluster, relay port or epoch",
    datagrams: ({ transceiver, frame }) => [
      transceiver.sealRaw(frame, FRESH, { cluster: CLUSTER + 1 }),
      transceiver.sealRaw(frame, FRESH, { targetId: (RELAY_ID << 8) >>> 0 }),
      transceiver.sealRaw(frame, FRESH, { targetId: ((RELAY_ID << 8) | 2) >>> 0 }),
      transceiver.sealRaw(frame, FRESH, { targetEpoch: RELAY_EPOCH_LOW - 1 }),
      transceiver.sealRaw(frame, FRESH, { targetEpoch: 0 }),
    ],
  },
  {
    counter: "down_drop_sender",
    what: "from a transceiver or epoch that is not in the directory",
    datagrams: ({ transceiver, frame }) => [
      transceiver.sealRaw(frame, FRESH, { senderId: 2 }),
      transceiver.sealRaw(frame, FRESH, { senderEpoch: FIRST_TRANSCEIVER_EPOCH - 1n }),
      transceiver.sealRaw(frame, FRESH, { senderEpoch: FIRST_TRANSCEIVER_EPOCH + 1n }),
      transceiver.sealRaw(frame, FRESH, { senderEpoch: FIRST_TRANSCEIVER_EPOCH + (1n << 32n) }),
    ],
  },
];

export function trunkCases(make: MakeEngine): void {
  for (const { counter, what, datagrams } of DATAGRAM_DROPS) {
    test(`drops and counts trunk datagrams ${what} (${counter})`, () =>
      onAssuredFlow(make, async (scene) => {
        const { rig, transceiver, client } = scene;
        const all = datagrams(scene);
        await transceiver.sendRaw(all);
        await rig.expect({ down_received: all.length, [counter]: all.length });
        assert.equal(client.received.length, 1);
        // None of them has moved the window.
        await rig.down(transceiver, client, rtpLike());
      }));
  }

  test("accepts each sequence once, and none that the window has left behind (down_drop_replay)", () =>
    onAssuredFlow(make, async ({ rig, transceiver, client, frame }) => {
      const at = (sequence: bigint) => transceiver.sealRaw(frame, sequence);
      const taken = (n: number) => ({ down_accepted: n, frame_received: n, frame_forwarded: n });
      await transceiver.sendRaw([at(0n), at(1n)]);
      await rig.expect({ down_received: 2, down_drop_replay: 2 });
      await transceiver.sendRaw([at(3n), at(3n), at(2n), at(2n)]);
      await rig.expect({ down_received: 4, ...taken(2), down_drop_replay: 2 });
      const far = 10_000n;
      await transceiver.sendRaw([at(far), at(far), at(far - WINDOW), at(far - WINDOW + 1n), at(4n)]);
      await rig.expect({ down_received: 5, ...taken(2), down_drop_replay: 3 });
      const farther = 1n << 40n;
      await transceiver.sendRaw([at(farther), at(far + 1n), at(farther + 1n), at(farther - 1n)]);
      await rig.expect({ down_received: 4, ...taken(3), down_drop_replay: 1 });
      await until(
        () => client.received.length === 8,
        () => `${client.received.length} datagrams came to the client`,
      );
    }));

  test("forgets no sequence of a transceiver that leaves and comes back with the same epoch (down_drop_replay)", () =>
    onAssuredFlow(make, async ({ rig, transceiver, frame }) => {
      const heard = transceiver.sealRaw(frame, FRESH);
      await transceiver.sendRaw([heard]);
      await rig.expect({ down_received: 1, down_accepted: 1, frame_received: 1, frame_forwarded: 1 });
      rig.engine.retireTransceiver(transceiver.slot);
      rig.engine.addTransceiver(transceiver.entry);
      await transceiver.sendRaw([heard]);
      await rig.expect({ down_received: 1, down_drop_replay: 1 });
    }));
}
