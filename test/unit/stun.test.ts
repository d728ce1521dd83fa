import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { verifyFingerprint, verifyMessageIntegrity } from "../../src/stun/stun-integrity.ts";
import {
  localUfrag,
  readStun,
  readXorAddress,
  STUN_ATTRIBUTE,
  STUN_CLASS,
  stunAttribute,
} from "../../src/stun/stun-reader.ts";
import { errorCode, u32, u64, writeStun, xorAddress } from "../../src/stun/stun-writer.ts";
import {
  SAMPLE_IPV4_RESPONSE,
  SAMPLE_IPV6_RESPONSE,
  SAMPLE_LONG_TERM_REQUEST,
  SAMPLE_REQUEST,
} from "../vectors/rfc5769.ts";
import { alter, PASSWORD, raw, read, request, TRANSACTION_ID } from "./stun-messages.ts";

const CORPORA = join(import.meta.dirname, "../../../../shared/corpora/stun");
const { username, messageIntegrity: mi, messageIntegritySha256: sha256, fingerprint: fp } = STUN_ATTRIBUTE;
const NAME = Buffer.from("ours:theirs");
const HMAC = Buffer.alloc(20);

test("messages of every class and method can be written and read", () => {
  for (const messageClass of Object.values(STUN_CLASS)) {
    for (const method of [0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0xabc, 0xfff]) {
      const fields = { method, class: messageClass, transactionId: TRANSACTION_ID, attributes: [] };
      const message = read(writeStun(fields));
      assert.equal(message.method, method);
      assert.equal(message.class, messageClass);
    }
  }
  assert.equal(request().readUInt16BE(0), 0x0001);
});

test("values of every length are padded and found again", () => {
  for (let length = 0; length < 9; length++) {
    const value = Buffer.alloc(length, 0xff);
    const message = read(
      request([
        [0x8fff, value],
        [0x8ffe, Buffer.from("next")],
      ]),
    );
    assert.equal(message.bytes.length % 4, 0);
    assert.deepEqual(stunAttribute(message, 0x8fff), value);
    assert.equal(stunAttribute(message, 0x8ffe)?.toString(), "next");
    assert.ok(verifyMessageIntegrity(message, PASSWORD) && verifyFingerprint(message));
  }
});

test("without password and fingerprint the writer adds nothing", () => {
  const fields = { class: STUN_CLASS.indication, transactionId: TRANSACTION_ID, attributes: [], fingerprint: false };
  const written = writeStun(fields);
  assert.equal(written.toString("hex"), `001100002112a442${TRANSACTION_ID.toString("hex")}`);
  const message = read(written);
  assert.ok(!verifyMessageIntegrity(message, PASSWORD));
  assert.ok(!verifyFingerprint(message));
});

test("a bare header is a message", () => {
  assert.deepEqual(read(raw([])).attributes, []);
});

for (const [name, datagram] of [
  ["empty", Buffer.alloc(0)],
  ["a byte short of a header", raw([]).subarray(0, 19)],
  ["with the top bit set", alter(raw([]), 0, 0x80)],
  ["with the second bit set", alter(raw([]), 0, 0x40)],
  ["with another cookie", alter(raw([]), 7, 0x43)],
  ["with bytes after its end", Buffer.concat([raw([]), Buffer.alloc(4)])],
  ["cut off", raw([[username, Buffer.from("a:bc")]]).subarray(0, 24)],
  ["with a length that is no multiple of 4", alter(Buffer.concat([raw([]), Buffer.alloc(3)]), 3, 3)],
  ["with a length past its end", alter(raw([]), 3, 4)],
  ["with an attribute that runs past its end", raw([[username, Buffer.alloc(4), 5]])],
  ["with an attribute of 65,535 bytes that are not there", raw([[username, Buffer.alloc(4), 0xffff]])],
  ["whose last attribute lacks its padding", alter(raw([[username, Buffer.alloc(0), 1]]), 3, 4)],
  [
    "whose attributes leave a header without value",
    raw([
      [username, Buffer.alloc(8), 4],
      [1, Buffer.alloc(0), 1],
    ]),
  ],
] as const) {
  test(`a datagram ${name} is no message`, () => {
    assert.equal(readStun(datagram), undefined);
  });
}

for (const [name, attributes, expected] of [
  ["is what comes before the first colon", [[username, Buffer.from("a:b:c")]], "a"],
  ["can be empty", [[username, Buffer.from(":b")]], ""],
  ["needs a colon", [[username, Buffer.from("ours")]], undefined],
  ["needs a colon within the value, not in its padding", [[username, Buffer.from("our:"), 3]], undefined],
  ["needs a USERNAME", [[0x8022, NAME]], undefined],
  [
    "comes from the first USERNAME",
    [
      [username, Buffer.from("first:x")],
      [username, NAME],
    ],
    "first",
  ],
  [
    "comes from the first USERNAME even if that has no colon",
    [
      [username, Buffer.from("x")],
      [username, NAME],
    ],
    undefined,
  ],
  [
    "may follow other attributes",
    [
      [0x8022, Buffer.alloc(700)],
      [username, NAME],
    ],
    "ours",
  ],
  [
    "does not come after MESSAGE-INTEGRITY",
    [
      [mi, HMAC],
      [username, NAME],
    ],
    undefined,
  ],
  [
    "does not come after MESSAGE-INTEGRITY-SHA256",
    [
      [sha256, Buffer.alloc(32)],
      [username, NAME],
    ],
    undefined,
  ],
  [
    "does not come after a MESSAGE-INTEGRITY of no length",
    [
      [mi, Buffer.alloc(0)],
      [username, NAME],
    ],
    undefined,
  ],
  ["is one character for each byte", [[username, Buffer.from("\u00e9:x")]], "\u00c3\u00a9"],
] as [string, [number, Buffer, number?][], string | undefined][]) {
  test(`the local ufrag ${name}`, () => {
    assert.equal(localUfrag(read(raw(attributes))), expected);
  });
}

test("addresses survive the way there and back, and v4-mapped IPv6 becomes IPv4", () => {
  for (const [given, host] of [
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["fe80::1", "fe80::1"],
    ["2001:DB8:0:0::0001", "2001:db8::1"],
    ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
  ] as const) {
    for (const port of [0, 1, 0x2112, 65535]) {
      assert.deepEqual(readXorAddress(xorAddress(given, port, TRANSACTION_ID), TRANSACTION_ID), { host, port });
    }
  }
});

test("an address value of a wrong length or family is none", () => {
  const v4 = xorAddress("192.0.2.1", 1, TRANSACTION_ID);
  const v6 = xorAddress("2001:db8::1", 1, TRANSACTION_ID);
  for (const value of [
    Buffer.alloc(0),
    v4.subarray(0, 1),
    v4.subarray(0, 7),
    Buffer.concat([v4, Buffer.alloc(1)]),
    v6.subarray(0, 8),
    v6.subarray(0, 19),
    Buffer.concat([v6, Buffer.alloc(4)]),
    alter(v4, 1, 2),
    alter(v6, 1, 1),
    alter(v4, 1, 0),
    alter(v4, 1, 3),
  ]) {
    assert.equal(readXorAddress(value, TRANSACTION_ID), undefined, value.toString("hex"));
  }
  assert.ok(readXorAddress(alter(v4, 0, 0xff), TRANSACTION_ID), "the first byte is reserved, and ignored");
});

test("small values are encoded as RFC 8489 and RFC 8445 say", () => {
  assert.equal(u32(0x6e0001ff).toString("hex"), "6e0001ff");
  assert.equal(u64(0x932ff9b151263b36n).toString("hex"), "932ff9b151263b36");
  assert.equal(errorCode(487, "Role Conflict").toString("latin1"), "\0\0\x04\x57Role Conflict");
  assert.equal(errorCode(400, "").toString("hex"), "00000400");
});

test("no datagram makes the reader throw or look past its end", () => {
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
  let wellFormed = 0;
  for (let round = 0; round < 20_000; round++) {
    const datagram = Buffer.from(random(2) === 0 ? SAMPLE_REQUEST : request());
    for (let changes = random(4); changes >= 0; changes--) datagram[random(datagram.length)] = random(256);
    if (readAll(datagram.subarray(0, datagram.length - 4 * random(3)))) wellFormed++;
  }
  assert.ok(wellFormed > 1_000);
});

/** Calls everything that reads; true if the datagram is well-formed. */
function readAll(datagram: Buffer): boolean {
  const message = readStun(datagram);
  if (message === undefined) return false;
  let end = 20;
  for (const { offset, length } of message.attributes) {
    assert.equal(offset, end + 4);
    end = offset + ((length + 3) & ~3);
  }
  assert.equal(end, datagram.length);
  localUfrag(message);
  verifyMessageIntegrity(message, PASSWORD);
  verifyFingerprint(message);
  const address = stunAttribute(message, STUN_ATTRIBUTE.xorMappedAddress);
  if (address) readXorAddress(address, message.transactionId);
  return true;
}

test("third-party corpora, where they are at hand", () => {
  if (!existsSync(CORPORA)) return;
  for (const folder of ["coturn", "pion/fuzz-message"]) {
    for (const name of readdirSync(join(CORPORA, folder))) readAll(readFileSync(join(CORPORA, folder, name)));
  }
  for (const [name, sample] of [
    ["reqstc", SAMPLE_REQUEST],
    ["respv4", SAMPLE_IPV4_RESPONSE],
    ["respv6", SAMPLE_IPV6_RESPONSE],
    ["reqltc", SAMPLE_LONG_TERM_REQUEST],
  ] as const) {
    assert.deepEqual(readFileSync(join(CORPORA, `coturn/FuzzStun-input_${name}.raw`)), sample);
  }
  assert.ok(readAll(readFileSync(join(CORPORA, "pion/ex1_chrome.stun"))));
  const rows = readFileSync(join(CORPORA, "pion/frombrowsers.csv"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("ip,"));
  assert.ok(rows.length > 0);
  for (const row of rows) {
    const message = read(Buffer.from(row.split(",")[1]!, "base64"));
    assert.equal(message.method, 1);
    assert.equal(message.class, STUN_CLASS.request);
    const hasFingerprint = message.attributes.some(({ type }) => type === fp);
    assert.equal(verifyFingerprint(message), hasFingerprint);
  }
});
