import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DIRECTION,
  type Direction,
  TRUNK_HEADER_BYTES,
  TRUNK_LARGEST_BYTES,
  TRUNK_MAX_BYTES,
  TRUNK_TAG_BYTES,
} from "../../src/trunk/datagram.ts";
import { FRAME_KIND, readFrames } from "../../src/trunk/frame.ts";
import {
  type Frame,
  framesOf,
  low32,
  oneFrame,
  opened,
  packed,
  readerUp,
  TRANSCEIVER_EPOCH,
  UFRAG,
  V4,
  V6,
  writerDown,
  writerUp,
} from "./trunk-ends.ts";

test("every kind of frame, over both families, survives the way up and down", () => {
  const up: Frame[] = [
    [FRAME_KIND.data, V4, Buffer.from("media")],
    [FRAME_KIND.data, V6, Buffer.from([0])],
    [FRAME_KIND.unknownPath, V6, Buffer.alloc(0)],
    [FRAME_KIND.ping, undefined, Buffer.from("12345678")],
    [FRAME_KIND.unknownPath, V4, Buffer.alloc(0)],
  ];
  const down: Frame[] = [
    [FRAME_KIND.data, V6, Buffer.from("media")],
    [FRAME_KIND.promote, V4, UFRAG],
    [FRAME_KIND.flowEnd, V6, UFRAG],
    [FRAME_KIND.assert, V4, UFRAG],
    [FRAME_KIND.pong, undefined, Buffer.from("123456781")],
    [FRAME_KIND.drain, undefined, Buffer.alloc(0)],
  ];
  assert.deepEqual(framesOf(packed(writerUp(), ...up), DIRECTION.up), { frames: up, readable: true });
  assert.deepEqual(framesOf(packed(writerDown(), ...down), DIRECTION.down), { frames: down, readable: true });
});

test("frames share a datagram up to 1,400 bytes exactly", () => {
  // 32 + 8 of the datagram, 3 + 9 of each frame: 1,336 bytes of payload in two frames.
  for (const [second, datagrams] of [
    [336, 1],
    [337, 2],
  ] as const) {
    const writer = writerUp();
    writer.append(FRAME_KIND.data, V4, Buffer.alloc(1000, 1));
    writer.append(FRAME_KIND.data, V4, Buffer.alloc(second, 2));
    const flushed = writer.flush();
    assert.equal(flushed.length, datagrams);
    if (datagrams === 1) assert.equal(flushed[0]!.length, TRUNK_MAX_BYTES);
    const payloads = flushed.flatMap((datagram) => framesOf(datagram, DIRECTION.up).frames.map((frame) => frame[2]));
    assert.deepEqual(payloads, [Buffer.alloc(1000, 1), Buffer.alloc(second, 2)]);
  }
});

test("a frame that alone exceeds 1,400 bytes goes alone, and order is kept", () => {
  const writer = writerUp();
  const sizes = [10, 1349, 10, 10, 9000, 65_455, 10, 1348, 1349];
  for (const size of sizes) assert.ok(writer.append(FRAME_KIND.data, V4, Buffer.alloc(size, size & 0xff)));
  const reader = readerUp();
  const flushed = writer.flush();
  const packing = flushed.map((datagram) => {
    opened(reader, datagram);
    const { frames, readable } = framesOf(datagram, DIRECTION.up);
    assert.ok(readable);
    assert.ok(datagram.length <= TRUNK_MAX_BYTES || frames.length === 1);
    for (const [, , payload] of frames) assert.deepEqual(payload, Buffer.alloc(payload.length, payload.length & 0xff));
    return frames.map((frame) => frame[2].length);
  });
  assert.deepEqual(packing, [[10], [1349], [10, 10], [9000], [65_455], [10], [1348], [1349]]);
  assert.equal(flushed[4]!.length, TRUNK_LARGEST_BYTES);
});

test("flushing nothing gives nothing and uses up no sequence", () => {
  const writer = writerUp();
  assert.deepEqual(writer.flush(), []);
  const reader = readerUp();
  assert.equal(opened(reader, oneFrame(writer)).sequence, 1n);
  assert.deepEqual(writer.flush(), []);
  assert.equal(opened(reader, oneFrame(writer)).sequence, 2n);
});

test("flushed datagrams stay as they are while the writer goes on", () => {
  const writer = writerUp();
  const kept: { datagram: Buffer; copy: Buffer }[] = [];
  for (let round = 0; round < 300; round++) {
    for (let i = 0; i <= round % 20; i++) writer.append(FRAME_KIND.data, V4, Buffer.alloc(1 + ((round * 37) % 400), i));
    for (const datagram of writer.flush()) kept.push({ datagram, copy: Buffer.from(datagram) });
  }
  for (const { datagram, copy } of kept) assert.ok(datagram.equals(copy));
});

test("a new target epoch holds from the next datagram on, and the sequence goes on", () => {
  const writer = writerUp({ targetEpoch: 0 });
  oneFrame(writer);
  writer.targetEpoch = low32(TRANSCEIVER_EPOCH);
  const header = opened(readerUp(), oneFrame(writer));
  assert.equal(header.targetEpoch, low32(TRANSCEIVER_EPOCH));
  assert.equal(header.sequence, 2n);
});

const BIG = Buffer.alloc(65_456);
for (const [name, direction, kind, path, payload] of [
  ["data without payload", DIRECTION.up, FRAME_KIND.data, V4, Buffer.alloc(0)],
  ["data without path", DIRECTION.up, FRAME_KIND.data, undefined, Buffer.alloc(1)],
  ["data too large for a datagram", DIRECTION.up, FRAME_KIND.data, V4, BIG],
  ["data too large for the length field", DIRECTION.up, FRAME_KIND.data, V4, Buffer.alloc(65_536)],
  ["a path of family 0", DIRECTION.up, FRAME_KIND.data, Buffer.alloc(9), Buffer.alloc(1)],
  ["a path that is cut off", DIRECTION.up, FRAME_KIND.data, V4.subarray(0, 8), Buffer.alloc(1)],
  ["a path that is too long", DIRECTION.up, FRAME_KIND.data, Buffer.concat([V4, V4]), Buffer.alloc(1)],
  ["an empty path", DIRECTION.up, FRAME_KIND.data, Buffer.alloc(0), Buffer.alloc(1)],
  ["promote on the way up", DIRECTION.up, FRAME_KIND.promote, V4, UFRAG],
  ["ping on the way down", DIRECTION.down, FRAME_KIND.ping, undefined, Buffer.alloc(8)],
  ["ping with a path", DIRECTION.up, FRAME_KIND.ping, V4, Buffer.alloc(8)],
  ["pong of 8 bytes", DIRECTION.down, FRAME_KIND.pong, undefined, Buffer.alloc(8)],
  ["padding with a path", DIRECTION.up, 0, V4, Buffer.alloc(1)],
  ["kind 9", DIRECTION.up, 9, V4, Buffer.alloc(1)],
] as const) {
  test(`the writer refuses ${name} and goes on`, () => {
    const writer = direction === DIRECTION.up ? writerUp() : writerDown();
    assert.equal(writer.append(kind, path, payload), false);
    assert.deepEqual(writer.flush(), []);
    oneFrame(writer);
  });
}

const PONG = Buffer.from("123456780");
/** `[name, direction, the frame in hex]`: each follows a good frame, and makes all that follows it unreadable. */
const MALFORMED: [string, Direction, string][] = [
  ["one byte", DIRECTION.up, "00"],
  ["three bytes", DIRECTION.up, "000101"],
  ["padding with a path", DIRECTION.up, "0001000400078055c000020199"],
  ["padding one byte short", DIRECTION.down, "000300000000"],
  ["kind 9", DIRECTION.up, "0001090400078055c000020199"],
  ["kind 255", DIRECTION.down, "0001ff0400078055c000020199"],
  ["data without payload", DIRECTION.up, "0000010400078055c0000201"],
  ["data without path", DIRECTION.up, "0001010099"],
  ["data of family 5", DIRECTION.up, "0001010500078055c000020199"],
  ["data of family 6 with an IPv4 address", DIRECTION.up, "0001010600078055c000020199"],
  ["data whose path is cut off", DIRECTION.up, "0001010400078055c00002"],
  ["data one byte short", DIRECTION.up, "0002010400078055c000020199"],
  ["data of 65,535 bytes that are not there", DIRECTION.up, "ffff010400078055c000020199"],
  ["promote on the way up", DIRECTION.up, `0020020400078055c0000201${UFRAG.toString("hex")}`],
  ["promote of 31 bytes", DIRECTION.down, `001f020400078055c0000201${UFRAG.toString("hex", 1)}`],
  ["promote of 33 bytes", DIRECTION.down, `0021020400078055c0000201${UFRAG.toString("hex")}99`],
  ["promote without path", DIRECTION.down, `00200200${UFRAG.toString("hex")}`],
  ["flow end on the way up", DIRECTION.up, `0020030400078055c0000201${UFRAG.toString("hex")}`],
  ["flow end without payload", DIRECTION.down, "0000030400078055c0000201"],
  ["unknown path on the way down", DIRECTION.down, "0000040400078055c0000201"],
  ["unknown path with payload", DIRECTION.up, "0001040400078055c000020199"],
  ["unknown path without path", DIRECTION.up, "00000400"],
  ["assert on the way up", DIRECTION.up, `0020050400078055c0000201${UFRAG.toString("hex")}`],
  ["ping on the way down", DIRECTION.down, "000806000102030405060708"],
  ["ping of 7 bytes", DIRECTION.up, "0007060001020304050607"],
  ["ping of 9 bytes", DIRECTION.up, "00090600010203040506070809"],
  ["ping with a path", DIRECTION.up, "0008060400078055c00002010102030405060708"],
  ["pong on the way up", DIRECTION.up, `00090700${PONG.toString("hex")}`],
  ["pong of 8 bytes", DIRECTION.down, "000807000102030405060708"],
  ["drain on the way up", DIRECTION.up, "00000800"],
  ["drain with payload", DIRECTION.down, "0001080099"],
  ["drain with a path", DIRECTION.down, "0000080400078055c0000201"],
];
for (const [name, direction, hex] of MALFORMED) {
  test(`frames end at ${name}: those before it stand`, () => {
    const good = packed(direction === DIRECTION.up ? writerUp() : writerDown(), [
      FRAME_KIND.data,
      V4,
      Buffer.from("x"),
    ]);
    const body = good.subarray(TRUNK_HEADER_BYTES, good.length - TRUNK_TAG_BYTES);
    const bytes = Buffer.concat([body, Buffer.from(hex, "hex")]);
    const frames: Frame[] = [];
    // What lies behind the end must not be read, even where it would make the frame whole.
    const padded = Buffer.concat([Buffer.alloc(5, 0xff), bytes, Buffer.alloc(70_000)]);
    const readable = readFrames(padded, 5, 5 + bytes.length, direction, (...frame) => frames.push(frame));
    assert.deepEqual({ frames, readable }, { frames: [[FRAME_KIND.data, V4, Buffer.from("x")]], readable: false });
  });
}

test("padding is passed over wherever it stands, in both directions", () => {
  for (const [direction, writer] of [
    [DIRECTION.up, writerUp()],
    [DIRECTION.down, writerDown()],
  ] as const) {
    const frame: Frame = [FRAME_KIND.data, V4, Buffer.from("x")];
    const datagram = packed(writer, frame);
    const one = datagram.subarray(TRUNK_HEADER_BYTES, datagram.length - TRUNK_TAG_BYTES);
    for (const padding of ["00000000", "0005000000aa00bb00"]) {
      const bytes = Buffer.concat(
        [padding, one, padding, one, padding].map((part) => Buffer.from(part as string, "hex")),
      );
      const frames: Frame[] = [];
      assert.ok(readFrames(bytes, 0, bytes.length, direction, (...read) => frames.push(read)));
      assert.deepEqual(frames, [frame, frame]);
    }
  }
});

test("no frames at all are readable", () => {
  assert.ok(readFrames(Buffer.alloc(0), 0, 0, DIRECTION.up, () => assert.fail("there is no frame")));
});

test("damaged frames neither throw nor reach past their end", () => {
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
  const good: Frame[] = [
    [FRAME_KIND.data, V4, Buffer.from("media")],
    [FRAME_KIND.data, V6, Buffer.from("m")],
    [FRAME_KIND.ping, undefined, Buffer.from("12345678")],
    [FRAME_KIND.unknownPath, V4, Buffer.alloc(0)],
  ];
  const datagram = packed(writerUp(), ...good);
  const outcomes = { readable: 0, unreadable: 0, frames: 0 };
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(datagram.subarray(TRUNK_HEADER_BYTES, datagram.length - TRUNK_TAG_BYTES - random(20)));
    for (let changes = random(3); changes >= 0; changes--) bytes[random(bytes.length)] = random(12);
    let used = 0;
    const readable = readFrames(bytes, 0, bytes.length, DIRECTION.up, (_kind, path, payload) => {
      used += 3 + (path?.length ?? 1) + payload.length;
      outcomes.frames += 1;
    });
    // Padding is not told of.
    assert.ok(readable ? used <= bytes.length : used < bytes.length);
    outcomes[readable ? "readable" : "unreadable"] += 1;
  }
  assert.ok(Object.values(outcomes).every((count) => count > 1_000));
});

test("a writer that follows another one goes on above it", () => {
  const lastSequence = 2 ** 40 + 7;
  assert.equal(opened(readerUp(), oneFrame(writerUp({ lastSequence }))).sequence, BigInt(lastSequence) + 1n);
});
