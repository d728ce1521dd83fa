import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  fingerprint,
  messageIntegrity,
  verifyFingerprint,
  verifyMessageIntegrity,
} from "../../src/stun/stun-integrity.ts";
import {
  localUfrag,
  readStun,
  readXorAddress,
  STUN_ATTRIBUTE,
  STUN_CLASS,
  stunAttribute,
} from "../../src/stun/stun-reader.ts";
import { u32, writeStun, xorAddress } from "../../src/stun/stun-writer.ts";
import {
  LONG_TERM_PASSWORD,
  LONG_TERM_REALM,
  LONG_TERM_USERNAME,
  SAMPLE_IPV4_RESPONSE,
  SAMPLE_IPV6_RESPONSE,
  SAMPLE_LONG_TERM_REQUEST,
  SAMPLE_REQUEST,
  SAMPLE_TRANSACTION_ID,
  SHORT_TERM_PASSWORD,
} from "../vectors/rfc5769.ts";
import { PASSWORD, raw, read, request, sealed } from "./stun-messages.ts";

const { username, messageIntegrity: mi, messageIntegritySha256: sha256, fingerprint: fp } = STUN_ATTRIBUTE;
const NAME = Buffer.from("ours:theirs");
const HMAC = Buffer.alloc(20);

test("RFC 5769, 2.1: the sample request", () => {
  const message = read(SAMPLE_REQUEST);
  assert.equal(message.method, 1);
  assert.equal(message.class, STUN_CLASS.request);
  assert.deepEqual(message.transactionId, SAMPLE_TRANSACTION_ID);
  assert.deepEqual(
    message.attributes.map(({ type, offset, length }) => [type, offset, length]),
    [
      [STUN_ATTRIBUTE.software, 24, 16],
      [STUN_ATTRIBUTE.priority, 44, 4],
      [STUN_ATTRIBUTE.iceControlled, 52, 8],
      [STUN_ATTRIBUTE.username, 64, 9],
      [STUN_ATTRIBUTE.messageIntegrity, 80, 20],
      [STUN_ATTRIBUTE.fingerprint, 104, 4],
    ],
  );
  assert.equal(stunAttribute(message, STUN_ATTRIBUTE.software)?.toString(), "STUN test client");
  assert.equal(stunAttribute(message, STUN_ATTRIBUTE.priority)?.readUInt32BE(), 0x6e0001ff);
  assert.equal(stunAttribute(message, STUN_ATTRIBUTE.iceControlled)?.readBigUInt64BE(), 0x932ff9b151263b36n);
  assert.equal(stunAttribute(message, STUN_ATTRIBUTE.username)?.toString(), "evtj:h6vY");
  assert.equal(localUfrag(message), "evtj");
  assert.ok(verifyMessageIntegrity(message, SHORT_TERM_PASSWORD));
  assert.ok(verifyMessageIntegrity(message, Buffer.from(SHORT_TERM_PASSWORD)));
  assert.ok(verifyFingerprint(message));
  assert.ok(!verifyMessageIntegrity(message, `${SHORT_TERM_PASSWORD}x`));
});

for (const [name, sample, host] of [
  ["2.2: the sample response over IPv4", SAMPLE_IPV4_RESPONSE, "192.0.2.1"],
  ["2.3: the sample response over IPv6", SAMPLE_IPV6_RESPONSE, "2001:db8:1234:5678:11:2233:4455:6677"],
] as const) {
  test(`RFC 5769, ${name}`, () => {
    const message = read(sample);
    assert.equal(message.method, 1);
    assert.equal(message.class, STUN_CLASS.success);
    assert.deepEqual(message.transactionId, SAMPLE_TRANSACTION_ID);
    assert.equal(stunAttribute(message, STUN_ATTRIBUTE.software)?.toString(), "test vector");
    const address = stunAttribute(message, STUN_ATTRIBUTE.xorMappedAddress)!;
    assert.deepEqual(readXorAddress(address, message.transactionId), { host, port: 32853 });
    assert.deepEqual(xorAddress(host, 32853, message.transactionId), address);
    assert.ok(verifyMessageIntegrity(message, SHORT_TERM_PASSWORD));
    assert.ok(verifyFingerprint(message));
    assert.equal(localUfrag(message), undefined);
  });
}

test("RFC 5769, 2.4: the sample request with long-term authentication", () => {
  const message = read(SAMPLE_LONG_TERM_REQUEST);
  assert.equal(stunAttribute(message, username)?.toString(), LONG_TERM_USERNAME);
  assert.equal(localUfrag(message), undefined);
  const secret = `${LONG_TERM_USERNAME}:${LONG_TERM_REALM}:${LONG_TERM_PASSWORD}`;
  const key = createHash("md5").update(secret).digest();
  assert.ok(verifyMessageIntegrity(message, key));
  assert.ok(!verifyFingerprint(message));
});

test("the writer makes the samples of RFC 5769 but for their padding, which it sends as zeros", () => {
  for (const sample of [SAMPLE_REQUEST, SAMPLE_IPV4_RESPONSE, SAMPLE_IPV6_RESPONSE]) {
    const zeroed = Buffer.from(sample);
    const message = read(zeroed);
    for (const { offset, length } of message.attributes) zeroed.fill(0, offset + length, (offset + length + 3) & ~3);
    for (const { type, offset } of message.attributes) {
      if (type === mi) messageIntegrity(zeroed, offset - 4, SHORT_TERM_PASSWORD).copy(zeroed, offset);
      if (type === fp) zeroed.writeUInt32BE(fingerprint(zeroed, offset - 4), offset);
    }
    const attributes = message.attributes
      .filter(({ type }) => type !== mi && type !== fp)
      .map(({ type, offset, length }) => [type, zeroed.subarray(offset, offset + length)] as const);
    const { class: messageClass, transactionId } = message;
    const written = writeStun({ class: messageClass, transactionId, attributes, password: SHORT_TERM_PASSWORD });
    assert.deepEqual(written, zeroed);
  }
});

test("any one bit turned in an authenticated request is noticed", () => {
  for (const valid of [SAMPLE_REQUEST, request()]) {
    const password = valid === SAMPLE_REQUEST ? SHORT_TERM_PASSWORD : PASSWORD;
    const accepted = (datagram: Buffer) => {
      const message = readStun(datagram);
      return message !== undefined && verifyMessageIntegrity(message, password) && verifyFingerprint(message);
    };
    assert.ok(accepted(valid));
    for (let bit = 0; bit < valid.length * 8; bit++) {
      const turned = Buffer.from(valid);
      turned[bit >>> 3]! ^= 0x80 >>> (bit & 7);
      assert.ok(!accepted(turned), `bit ${bit}`);
    }
  }
});

test("integrity alone notices any one bit turned before the end of MESSAGE-INTEGRITY", () => {
  const integrityEnd = SAMPLE_REQUEST.length - 8;
  for (let bit = 0; bit < integrityEnd * 8; bit++) {
    const turned = Buffer.from(SAMPLE_REQUEST);
    turned[bit >>> 3]! ^= 0x80 >>> (bit & 7);
    const message = readStun(turned);
    assert.ok(message === undefined || !verifyMessageIntegrity(message, SHORT_TERM_PASSWORD), `bit ${bit}`);
  }
});

test("after MESSAGE-INTEGRITY only MESSAGE-INTEGRITY-SHA256 and FINGERPRINT count, after that only FINGERPRINT", () => {
  const late: [number, Buffer][] = [
    [0x25, Buffer.alloc(0)],
    [0x24, u32(1)],
    [username, NAME],
  ];
  const afterBoth = read(raw([[mi, HMAC], [sha256, Buffer.alloc(32)], ...late, [fp, u32(0)]]));
  assert.ok(stunAttribute(afterBoth, mi) && stunAttribute(afterBoth, sha256) && stunAttribute(afterBoth, fp));
  for (const [type] of late) assert.equal(stunAttribute(afterBoth, type), undefined);
  const wrongOrder = read(
    raw([
      [sha256, Buffer.alloc(32)],
      [mi, HMAC],
      [fp, u32(0)],
    ]),
  );
  assert.equal(stunAttribute(wrongOrder, mi), undefined);
  assert.ok(stunAttribute(wrongOrder, sha256) && stunAttribute(wrongOrder, fp));
  const twice = read(
    raw([
      [mi, Buffer.alloc(20, 1)],
      [mi, Buffer.alloc(20, 2)],
    ]),
  );
  assert.deepEqual(stunAttribute(twice, mi), Buffer.alloc(20, 1));
});

test("attributes added behind MESSAGE-INTEGRITY leave it valid and have no effect", () => {
  const message = read(
    sealed(
      raw([
        [username, NAME],
        [mi, HMAC],
        [0x25, Buffer.alloc(0)],
        [fp, u32(0)],
      ]),
    ),
  );
  assert.ok(verifyMessageIntegrity(message, PASSWORD) && verifyFingerprint(message));
  assert.equal(stunAttribute(message, STUN_ATTRIBUTE.useCandidate), undefined);
  assert.equal(localUfrag(message), "ours");
});

for (const [name, attributes] of [
  ["is not there", [[username, NAME]]],
  ["is a byte short", [[mi, Buffer.alloc(19)]]],
  ["is a byte long", [[mi, Buffer.alloc(21)]]],
  ["is empty", [[mi, Buffer.alloc(0)]]],
  [
    "comes after MESSAGE-INTEGRITY-SHA256",
    [
      [sha256, Buffer.alloc(32)],
      [mi, HMAC],
    ],
  ],
] as [string, [number, Buffer][]][]) {
  test(`integrity is not given when MESSAGE-INTEGRITY ${name}`, () => {
    assert.ok(!verifyMessageIntegrity(read(sealed(raw(attributes))), PASSWORD));
  });
}

test("a second MESSAGE-INTEGRITY does not help a wrong first one", () => {
  const datagram = sealed(
    raw([
      [username, NAME],
      [mi, HMAC],
      [mi, HMAC],
    ]),
  );
  assert.ok(verifyMessageIntegrity(read(datagram), PASSWORD));
  datagram[read(datagram).attributes[1]!.offset]! ^= 1;
  const [, , second] = read(datagram).attributes;
  messageIntegrity(datagram, second!.offset - 4, PASSWORD).copy(datagram, second!.offset);
  assert.ok(!verifyMessageIntegrity(read(datagram), PASSWORD));
});

for (const [name, attributes] of [
  ["is not there", [[username, NAME]]],
  [
    "is not last",
    [
      [fp, u32(0)],
      [username, NAME],
    ],
  ],
  [
    "is there twice",
    [
      [fp, u32(0)],
      [fp, u32(0)],
    ],
  ],
  ["is too short", [[fp, Buffer.alloc(3)]]],
  ["is too long", [[fp, Buffer.alloc(5)]]],
  ["is empty", [[fp, Buffer.alloc(0)]]],
] as [string, [number, Buffer][]][]) {
  test(`the fingerprint is wrong when it ${name}`, () => {
    assert.ok(!verifyFingerprint(read(sealed(raw(attributes)))));
  });
}

test("the fingerprint is the CRC-32 with STUN's own mask, not the plain one", () => {
  const datagram = sealed(raw([[fp, u32(0)]]));
  assert.ok(verifyFingerprint(read(datagram)));
  datagram.writeUInt32BE((datagram.readUInt32BE(24) ^ 0x5354554e) >>> 0, 24);
  assert.ok(!verifyFingerprint(read(datagram)));
});

test("verifying changes nothing in the message", () => {
  const datagram = request();
  const before = Buffer.from(datagram);
  const message = read(datagram);
  verifyMessageIntegrity(message, PASSWORD);
  verifyFingerprint(message);
  assert.deepEqual(datagram, before);
});
