import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { test } from "node:test";
import { type DerivedKeys, KeyRing } from "../../src/keys/key-ring.ts";
import { decodeIceChars, encodeIceChars } from "../../src/token/ice-chars.ts";
import {
  icePassword,
  type OpenedToken,
  openToken,
  sealToken,
  TOKEN_KIND_TRANSCEIVER,
  type Token,
  tokenExpired,
} from "../../src/token/token.ts";
import { siphash24 } from "../../src/trunk/siphash.ts";

const TICK_MS = 64_000;
const ISSUED_MS = 1_770_000_000_000;
const FIELDS = {
  cluster: 0x0102,
  transceiver: 0x0a0b0c0d,
  epoch: 0x19c_1c38_a400n,
  expiresAtMs: ISSUED_MS + 4 * 3_600_000,
  nonce: 0xdecade01,
};
const ring = new KeyRing([
  { id: 3, secret: Buffer.alloc(32, 1), signs: true },
  { id: 60, secret: Buffer.alloc(32, 2), signs: false },
]);

function reason(opened: OpenedToken): string {
  return opened.ok ? "opened" : opened.reason;
}

/** A token with any first byte and any block, tagged as its key's holder would. */
function sealBlock(first: number, block: Buffer, keys: DerivedKeys): string {
  const cipher = createCipheriv("aes-128-ecb", keys.tokenBlock, null).setAutoPadding(false);
  const bytes = Buffer.concat([Buffer.from([first]), cipher.update(block), Buffer.alloc(8)]);
  siphash24(keys.tokenTag, bytes, 0, 17, bytes, 17);
  return bytes.toString("base64", 0, 24);
}

test("what is sealed can be opened, with every key of the ring", () => {
  for (const keys of ring.all) {
    const ufrag = sealToken(FIELDS, keys);
    assert.match(ufrag, /^[A-Za-z0-9+/]{32}$/);
    const token = {
      keyId: keys.id,
      kind: TOKEN_KIND_TRANSCEIVER,
      cluster: 0x0102,
      transceiver: 0x0a0b0c0d,
      expiry: Math.ceil(FIELDS.expiresAtMs / TICK_MS) & 0xffff,
      epoch: 0xa400,
      nonce: 0xdecade01,
    };
    assert.deepEqual(openToken(ufrag, ring), { ok: true, token, keys });
  }
});

test("the extremes of every field survive", () => {
  for (const fields of [
    { cluster: 0, transceiver: 0, epoch: 1n, expiresAtMs: 0, nonce: 0 },
    { cluster: 0xffff, transceiver: 0xffffffff, epoch: 2n ** 64n - 1n, expiresAtMs: 8.64e15, nonce: 0xffffffff },
  ]) {
    const opened = openToken(sealToken(fields, ring.signing), ring);
    assert.ok(opened.ok);
    const { cluster, transceiver, epoch, nonce } = opened.token;
    assert.deepEqual([cluster, transceiver, nonce], [fields.cluster, fields.transceiver, fields.nonce]);
    assert.equal(epoch, Number(fields.epoch & 0xffffn));
  }
});

test("tokens that differ in the nonce alone share no block", () => {
  const one = Buffer.from(sealToken(FIELDS, ring.signing), "base64");
  const two = Buffer.from(sealToken({ ...FIELDS, nonce: FIELDS.nonce + 1 }, ring.signing), "base64");
  assert.notDeepEqual(one.subarray(1, 17), two.subarray(1, 17));
  assert.notDeepEqual(one.subarray(17), two.subarray(17));
});

test("a token with any one of its 192 bits turned does not open", () => {
  const bytes = Buffer.from(sealToken(FIELDS, ring.signing), "base64");
  const reasons: Record<string, number> = {};
  for (let bit = 0; bit < 192; bit++) {
    const turned = Buffer.from(bytes);
    turned[bit >>> 3]! ^= 0x80 >>> (bit & 7);
    const why = reason(openToken(turned.toString("base64"), ring));
    reasons[why] = (reasons[why] ?? 0) + 1;
  }
  // Two version bits, six bits of the key id, and all that the tag covers or is.
  assert.deepEqual(reasons, { version: 2, key: 6, tag: 184 });
});

test("a token does not open under the other key's id, or with a key that is not known", () => {
  const bytes = Buffer.from(sealToken(FIELDS, ring.signing), "base64");
  bytes[0] = 60;
  assert.equal(reason(openToken(bytes.toString("base64"), ring)), "tag");
  const stranger = new KeyRing([{ id: 3, secret: Buffer.alloc(32, 9), signs: true }]);
  assert.equal(reason(openToken(sealToken(FIELDS, stranger.signing), ring)), "tag");
  assert.equal(reason(openToken(sealToken(FIELDS, { ...ring.signing, id: 4 }), ring)), "key");
});

test("a token of another version, kind or reserved byte does not open, rightly tagged though it is", () => {
  const keys = ring.signing;
  const block = Buffer.alloc(16);
  assert.equal(reason(openToken(sealBlock(keys.id, block, keys), ring)), "opened");
  for (const version of [1, 2, 3]) {
    assert.equal(reason(openToken(sealBlock((version << 6) | keys.id, block, keys), ring)), "version");
  }
  for (const kind of [1, 2, 255]) {
    assert.equal(reason(openToken(sealBlock(keys.id, Buffer.from([kind, ...block.subarray(1)]), keys), ring)), "kind");
  }
  for (const reserved of [1, 0x80, 255]) {
    const bad = Buffer.from([0, reserved, ...block.subarray(2)]);
    assert.equal(reason(openToken(sealBlock(keys.id, bad, keys), ring)), "reserved");
  }
});

test("a token has one spelling: nothing but 32 ice-chars opens", () => {
  const ufrag = sealToken(FIELDS, ring.signing);
  const strangers = [
    ...'-_= \t\r\n\0"%,.:;@[`{~',
    "\u007f",
    "\u0080",
    "\u00c1",
    "\u0141",
    "\u4141",
    "\uff21",
    "\ud83d",
  ];
  for (const stranger of strangers) {
    for (const at of [0, 1, 2, 3, 15, 28, 29, 30, 31]) {
      const text = ufrag.slice(0, at) + stranger + ufrag.slice(at + 1);
      assert.equal(reason(openToken(text, ring)), "characters", `${JSON.stringify(stranger)} at ${at}`);
    }
  }
  // Node's own decoder takes both of these for the same 24 bytes.
  const urlSafe = "-_".repeat(16);
  assert.deepEqual(Buffer.from(urlSafe, "base64"), Buffer.from("+/".repeat(16), "base64"));
  for (const text of [
    "",
    urlSafe,
    ufrag.slice(1),
    `${ufrag}=`,
    `${ufrag}A`,
    ` ${ufrag}`,
    `${ufrag}\n`,
    `${ufrag.slice(0, 16)} ${ufrag.slice(16)}`,
    ufrag + ufrag,
    "A".repeat(100_000),
  ]) {
    assert.equal(reason(openToken(text, ring)), "characters", JSON.stringify(text.slice(0, 40)));
  }
});

test("ice-chars are base64 without padding, both ways", () => {
  const out = Buffer.alloc(24);
  for (let value = 0; value < 256; value++) {
    const bytes = Buffer.from([...Array(24).keys()].map((i) => (value * (2 * i + 1)) & 0xff));
    assert.equal(encodeIceChars(bytes), bytes.toString("base64"));
    assert.ok(decodeIceChars(encodeIceChars(bytes), out));
    assert.deepEqual(out, bytes);
  }
});

test("a token is valid up to its expiry and for less than 64 s more", () => {
  for (const expiresAtMs of [
    ISSUED_MS,
    ISSUED_MS + 1,
    Math.floor(ISSUED_MS / TICK_MS) * TICK_MS,
    // The 16 bits overflow between issue and expiry.
    0x10000 * TICK_MS * 422,
    0x10000 * TICK_MS * 422 + 1,
  ]) {
    const opened = openToken(sealToken({ ...FIELDS, expiresAtMs }, ring.signing), ring);
    assert.ok(opened.ok);
    const { token } = opened;
    assert.equal(tokenExpired(token, expiresAtMs - 1), false);
    assert.equal(tokenExpired(token, expiresAtMs - 23 * 86_400_000), false);
    assert.equal(tokenExpired(token, expiresAtMs + TICK_MS), true);
    assert.equal(tokenExpired(token, expiresAtMs + 23 * 86_400_000), true);
  }
});

test("expiry is serial arithmetic on 16 bits: half of the ticks are past, half are still to come", () => {
  const token = (expiry: number): Token => {
    return { keyId: 0, kind: 0, cluster: 0, transceiver: 0, epoch: 0, nonce: 0, expiry };
  };
  for (const [now, expiry, expired] of [
    [100, 100, true],
    [100, 101, false],
    [100, 99, true],
    [0xffff, 0, false],
    [0, 0xffff, true],
    [0xffff, 0x7ffe, false],
    [0x8000, 1, true],
    [0x7fff, 0xffff, false],
    [0x7fff, 0, true],
    [0x8000, 0, false],
  ] as const) {
    assert.equal(tokenExpired(token(expiry), now * TICK_MS), expired, `now ${now}, expiry ${expiry}`);
    assert.equal(tokenExpired(token(expiry), (now + 0x10000 * 400) * TICK_MS + TICK_MS - 1), expired);
  }
});

test("the password follows from ufrag and key, and has 24 ice-chars", () => {
  const ufrag = sealToken(FIELDS, ring.signing);
  const password = icePassword(ufrag, ring.signing);
  assert.match(password, /^[A-Za-z0-9+/]{24}$/);
  assert.equal(icePassword(ufrag, ring.signing), password);
  assert.notEqual(icePassword(ufrag, ring.get(60)!), password);
  assert.notEqual(icePassword(sealToken({ ...FIELDS, nonce: 1 }, ring.signing), ring.signing), password);
});
