/** Holds the TypeScript definition of token and trunk, and the documents, to the vectors that the C++ tests read too. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { icePassword, openToken, sealToken } from "../../src/token/token.ts";
import { DIRECTION, type Direction, TrunkReader, TrunkWriter } from "../../src/trunk/datagram.ts";
import { FRAME_KIND, readFrames } from "../../src/trunk/frame.ts";

const ROOT = join(import.meta.dirname, "../../..");
const text = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const vectors: Record<string, string> = JSON.parse(text("test/vectors/trunk-v1.json"));

function vector(name: string): string {
  const found = vectors[name];
  assert.ok(found !== undefined, `no vector ${name}`);
  return found;
}
const bytes = (name: string): Buffer => Buffer.from(vector(name), "hex");
const number = (name: string): number => Number.parseInt(vector(name), 16);
const bigInt = (name: string): bigint => BigInt(`0x${vector(name)}`);
const low32 = (name: string): number => Number(BigInt.asUintN(32, bigInt(name)));

const ring = new KeyRing([{ id: number("fleetKeyId"), secret: bytes("fleetKey"), signs: true }]);
const keys = ring.signing;

test("the derived keys", () => {
  assert.deepEqual(keys.tokenTag, bytes("tokenTagKey"));
  assert.deepEqual(keys.tokenBlock, bytes("tokenBlockKey"));
  assert.deepEqual(keys.icePassword, bytes("icePasswordKey"));
  assert.deepEqual(keys.trunkUp, bytes("trunkUpKey"));
  assert.deepEqual(keys.trunkDown, bytes("trunkDownKey"));
});

test("the token and its password", () => {
  const fields = {
    cluster: number("cluster"),
    transceiver: number("transceiverId"),
    epoch: bigInt("transceiverEpoch"),
    // The 16 bits had overflowed 422 times since 1970.
    expiresAtMs: (422 * 0x10000 + number("tokenExpiry")) * 64_000,
    nonce: number("tokenNonce"),
  };
  const ufrag = sealToken(fields, keys);
  assert.equal(ufrag, vector("ufrag"));
  assert.equal(Buffer.from(ufrag, "base64").toString("hex"), vector("token"));
  assert.equal(icePassword(ufrag, keys), vector("icePassword"));
  const token = {
    keyId: number("fleetKeyId"),
    kind: 0,
    cluster: fields.cluster,
    transceiver: fields.transceiver,
    expiry: number("tokenExpiry"),
    epoch: Number(fields.epoch & 0xffffn),
    nonce: fields.nonce,
  };
  assert.deepEqual(openToken(ufrag, ring), { ok: true, token, keys });
});

type Frame = [kind: number, path: Buffer | undefined, payload: Buffer];
for (const [name, direction, sender, senderEpoch, target, targetEpoch, frames] of [
  [
    "upDatagram",
    DIRECTION.up,
    "relayPortId",
    "relayEpoch",
    "transceiverId",
    "transceiverEpoch",
    [
      [FRAME_KIND.data, bytes("pathV4"), bytes("payloadV4")],
      [FRAME_KIND.data, bytes("pathV6"), bytes("payloadV6")],
    ],
  ],
  [
    "downDatagram",
    DIRECTION.down,
    "transceiverId",
    "transceiverEpoch",
    "relayPortId",
    "relayEpoch",
    [[FRAME_KIND.promote, bytes("pathV4"), Buffer.from(vector("ufrag"))]],
  ],
] as [string, Direction, string, string, string, string, Frame[]][]) {
  test(`the trunk datagram ${name}, written and read`, () => {
    const common = {
      direction,
      cluster: number("cluster"),
      targetId: number(target),
      targetEpoch: low32(targetEpoch),
    };
    const writer = new TrunkWriter({
      ...common,
      senderId: number(sender),
      senderEpoch: bigInt(senderEpoch),
      keys: () => keys,
    });
    for (const frame of frames) assert.ok(writer.append(...frame));
    assert.deepEqual(writer.flush(), [bytes(name)]);

    const reader = new TrunkReader({ ...common, keys: () => ring, acceptSender: () => true });
    const header = reader.open(bytes(name));
    assert.deepEqual(header, {
      keyId: number("fleetKeyId"),
      senderId: number(sender),
      senderEpoch: bigInt(senderEpoch),
      targetEpoch: low32(targetEpoch),
      sequence: bigInt("sequence"),
      framesStart: 32,
      framesEnd: bytes(name).length - 8,
    });
    const read: Frame[] = [];
    assert.ok(readFrames(bytes(name), header.framesStart, header.framesEnd, direction, (...frame) => read.push(frame)));
    assert.deepEqual(read, frames);
  });
}

const IN_ROUTING = ["fleetKey", "tokenTagKey", "tokenBlockKey", "icePasswordKey", "token", "ufrag", "icePassword"];
const IN_TRUNK = Object.keys(vectors).filter((name) => name !== "fleetKeyId");
for (const [document, names] of [
  ["docs/routing.md", IN_ROUTING],
  ["docs/trunk-protocol.md", IN_TRUNK],
] as const) {
  test(`${document} shows the same vectors`, () => {
    const shown = text(document).replace(/\s/g, "");
    for (const name of names) assert.ok(shown.includes(vector(name)), `${document} does not show ${name}`);
  });
}
