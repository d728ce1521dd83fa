import assert from "node:assert/strict";
import { test } from "node:test";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { DIRECTION, TRUNK_HEADER_BYTES, TRUNK_MAX_SENDERS, TRUNK_TAG_BYTES } from "../../src/trunk/datagram.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import {
  type Frame,
  low32,
  oneFrame,
  opened,
  packed,
  RELAY_EPOCH,
  RELAY_PORT,
  readerUp,
  retagged,
  ring,
  TRANSCEIVER,
  TRANSCEIVER_EPOCH,
  V4,
  writerUp,
} from "./trunk-ends.ts";

test("a datagram opens at its target, which learns who sent it", () => {
  const writer = writerUp();
  const datagram = oneFrame(writer);
  const header = {
    keyId: 3,
    senderId: RELAY_PORT,
    senderEpoch: RELAY_EPOCH,
    targetEpoch: low32(TRANSCEIVER_EPOCH),
    sequence: 1n,
    framesStart: 32,
    framesEnd: datagram.length - 8,
  };
  const reader = readerUp();
  assert.deepEqual(reader.open(datagram), header);
  assert.equal(opened(reader, oneFrame(writer)).sequence, 2n);
});

test("the keys are asked for each datagram, so that a fleet can rotate", () => {
  let signing = ring.signing;
  const writer = writerUp({ keys: () => signing });
  const reader = readerUp();
  assert.equal(opened(reader, oneFrame(writer)).keyId, 3);
  signing = ring.get(60)!;
  assert.equal(opened(reader, oneFrame(writer)).keyId, 60);
  let known = ring;
  const forgetful = readerUp({ keys: () => known });
  known = new KeyRing([ring.fleetKeys[0]!]);
  assert.equal(forgetful.open(oneFrame(writer)), "key");
});

const flip = (at: number, bits: number) => (copy: Buffer) => {
  copy[at]! ^= bits;
};
/** `[name, reason, change]`: the tag is right again after the change, so that it is not what stops the datagram. */
const REJECTS: [string, string, (copy: Buffer) => void][] = [
  ["of version 0", "malformed", flip(0, 0x10)],
  ["of version 2", "malformed", flip(0, 0x30)],
  ["of the other direction", "malformed", flip(0, 0x01)],
  ["with flag 1", "malformed", flip(0, 0x02)],
  ["with flag 2", "malformed", flip(0, 0x04)],
  ["with flag 3", "malformed", flip(0, 0x08)],
  ["of a key that is not known", "key", flip(1, 0x01)],
  ["of a key id past 63", "key", flip(1, 0x40)],
  ["of another cluster", "target", flip(3, 0x01)],
  ["for another id", "target", flip(11, 0x01)],
  ["for another epoch", "target", flip(15, 0x01)],
  ["for no epoch", "target", (copy) => copy.writeUInt32BE(0, 12)],
  ["from another sender", "sender", flip(7, 0x01)],
  ["from another epoch of the sender", "sender", flip(23, 0x01)],
  ["of sequence 0", "replay", (copy) => copy.writeBigUInt64BE(0n, 24)],
];
for (const [name, reason, change] of REJECTS) {
  test(`a datagram ${name} is rejected: ${reason}`, () => {
    const acceptSender = (id: number, epoch: bigint) => id === RELAY_PORT && epoch === RELAY_EPOCH;
    const datagram = oneFrame(writerUp());
    const reader = readerUp({ acceptSender });
    assert.equal(reader.open(retagged(datagram, change)), reason);
    // The negative control: without the change the same reader takes it.
    opened(reader, datagram);
  });
}

test("a datagram with any one bit turned is rejected, whoever the sender may be", () => {
  const datagram = oneFrame(writerUp());
  const reader = readerUp();
  for (let bit = 0; bit < datagram.length * 8; bit++) {
    const turned = Buffer.from(datagram);
    flip(bit >>> 3, 0x80 >>> (bit & 7))(turned);
    const expected = bit < 8 ? "malformed" : bit < 16 ? "key" : "tag";
    assert.equal(reader.open(turned), expected, `bit ${bit}`);
  }
  opened(reader, datagram);
});

test("a datagram under 44 bytes is malformed, whatever its tag", () => {
  const datagram = oneFrame(writerUp());
  const reader = readerUp();
  for (let length = 0; length < 44; length++) {
    const short = Buffer.from(datagram.subarray(0, length));
    const bytes = length < TRUNK_TAG_BYTES ? short : retagged(short, () => {});
    assert.equal(reader.open(bytes), "malformed", `${length} bytes`);
  }
  const least = retagged(Buffer.from(datagram.subarray(0, 44)), () => {});
  opened(reader, least);
});

test("a datagram that is sent back to where it came from is rejected", () => {
  const up = oneFrame(writerUp());
  const relay = readerUp({ direction: DIRECTION.down, targetId: TRANSCEIVER });
  assert.equal(relay.open(up), "malformed");
  // With the direction bit turned it is stopped by the key, which differs by direction.
  const turned = Buffer.from(up);
  turned[0]! ^= 1;
  assert.equal(relay.open(turned), "tag");
});

test("each datagram opens once", () => {
  const writer = writerUp();
  const reader = readerUp();
  const datagrams = Array.from({ length: 100 }, () => oneFrame(writer));
  for (const datagram of [...datagrams].reverse()) opened(reader, datagram);
  for (const datagram of datagrams) assert.equal(reader.open(datagram), "replay");
});

test("a rejected datagram does not use up its sequence", () => {
  const datagram = oneFrame(writerUp());
  const reader = readerUp();
  assert.equal(reader.open(retagged(datagram, flip(3, 1))), "target");
  assert.equal(reader.open(Buffer.concat([datagram, Buffer.alloc(1)])), "tag");
  opened(reader, datagram);
});

test("senders have windows of their own", () => {
  const reader = readerUp();
  for (const senderId of [RELAY_PORT, RELAY_PORT + 1, 0, 0xffffffff]) {
    const datagram = oneFrame(writerUp({ senderId }));
    assert.equal(opened(reader, datagram).senderId, senderId);
    assert.equal(reader.open(datagram), "replay");
  }
});

test("a newer sender epoch starts a new window, an older one is dropped", () => {
  const reader = readerUp();
  const old = writerUp();
  opened(reader, oneFrame(old));
  for (const newer of [RELAY_EPOCH + 1n, RELAY_EPOCH + (1n << 32n), (1n << 64n) - 1n]) {
    const writer = writerUp({ senderEpoch: newer });
    const first = oneFrame(writer);
    assert.equal(opened(reader, first).senderEpoch, newer);
    assert.equal(reader.open(first), "replay");
    assert.equal(reader.open(oneFrame(old)), "sender");
  }
});

test("a sender that is no longer accepted is rejected from then on", () => {
  let accepted = true;
  const asked: [number, bigint][] = [];
  const reader = readerUp({
    acceptSender: (id, epoch) => {
      asked.push([id, epoch]);
      return accepted;
    },
  });
  const writer = writerUp();
  opened(reader, oneFrame(writer));
  accepted = false;
  assert.equal(reader.open(oneFrame(writer)), "sender");
  assert.deepEqual(asked, [
    [RELAY_PORT, RELAY_EPOCH],
    [RELAY_PORT, RELAY_EPOCH],
  ]);
});

test("a reader remembers 4,096 senders, and forgets the one that it has not heard for longest", () => {
  const reader = readerUp();
  const first = oneFrame(writerUp({ senderId: 0 }));
  const second = oneFrame(writerUp({ senderId: 1 }));
  opened(reader, first);
  opened(reader, second);
  for (let senderId = 2; senderId < TRUNK_MAX_SENDERS; senderId++) opened(reader, oneFrame(writerUp({ senderId })));
  assert.equal(reader.open(first), "replay");
  opened(reader, oneFrame(writerUp({ senderId: TRUNK_MAX_SENDERS })));
  assert.equal(reader.open(first), "replay");
  opened(reader, second);
});

test("only a reader that can be discovered takes target epoch 0, and pings only", () => {
  const writer = writerUp({ targetEpoch: 0 });
  const ping: Frame = [FRAME_KIND.ping, undefined, Buffer.from("12345678")];
  const data: Frame = [FRAME_KIND.data, V4, Buffer.from("media")];
  const discoverable = readerUp({ discovery: true });
  assert.equal(readerUp().open(packed(writer, ping)), "target");
  assert.equal(opened(discoverable, packed(writer, ping)).targetEpoch, 0);
  opened(discoverable, packed(writer, ping, ping));
  assert.equal(discoverable.open(packed(writer, data)), "target");
  assert.equal(discoverable.open(packed(writer, ping, data)), "target");
  const torn = retagged(packed(writer, ping, ping), (copy) => copy.writeUInt16BE(7, TRUNK_HEADER_BYTES));
  assert.equal(discoverable.open(torn), "target");
  const otherEpoch = writerUp({ targetEpoch: 1 });
  assert.equal(discoverable.open(packed(otherEpoch, ping)), "target");
  opened(discoverable, oneFrame(writerUp()));
});
