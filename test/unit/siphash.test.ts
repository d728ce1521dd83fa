import assert from "node:assert/strict";
import { test } from "node:test";
import { siphash24 } from "../../src/trunk/siphash.ts";

/** The reference implementation's vectors_sip64: key 00..0f, input the first n of 00, 01, 02, ..., for n from 0 to 63. */
const REFERENCE_TAGS = `
  310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785
  b7877127e09427cf 8da699cd64557618 cee3fe586e46c9cb 37d1018bf50002ab
  6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4
  fbe50e86bc8f1e75 903d84c02756ea14 eef27a8e90ca23f7 e545be4961ca29a1
  db9bc2577fcc2a3f 9447be2cf5e99a69 9cd38d96f0b3c14b bd6179a71dc96dbb
  98eea21af25cd6be c7673b2eb0cbf2d0 883ea3e395675393 c8ce5ccd8c030ca8
  94af49f6c650adb8 eab8858ade92e1bc f315bb5bb835d817 adcf6b0763612e2f
  a5c91da7acaa4dde 716595876650a2a6 28ef495c53a387ad 42c341d8fa92d832
  ce7cf2722f512771 e37859f94623f3a7 381205bb1ab0e012 ae97a10fd434e015
  b4a31508beff4d31 81396229f0907902 4d0cf49ee5d4dcca 5c73336a76d8bf9a
  d0a704536ba93e0e 925958fcd6420cad a915c29bc8067318 952b79f3bc0aa6d4
  f21df2e41d4535f9 87577519048f53a9 10a56cf5dfcd9adb eb75095ccd986cd0
  51a9cb9ecba312e6 96afadfc2ce666c7 72fe52975a4364ee 5a1645b276d592a1
  b274cb8ebf87870a 6f9bb4203de7b381 eaecb2a30b22a87f 9924a43cc1315724
  bd838d3aafbf8db7 0b1a2a3265d51aea 135079a3231ce660 932b2846e4d70666
  e1915f5cb1eca46c f325965ca16d629f 575ff28e60381be5 724506eb4c328a95
`
  .trim()
  .split(/\s+/);

function tag(key: Buffer, bytes: Buffer, start = 0, end = bytes.length): string {
  const out = Buffer.alloc(8);
  siphash24(key, bytes, start, end, out, 0);
  return out.toString("hex");
}

/** SipHash-2-4 written from the paper with 64-bit words, sharing nothing with the implementation under test. */
function bigIntTag(key: Buffer, bytes: Buffer): string {
  const word = (value: bigint) => BigInt.asUintN(64, value);
  const rotate = (value: bigint, by: bigint) => word(value << by) | (value >> (64n - by));
  const k0 = key.readBigUInt64LE(0);
  const k1 = key.readBigUInt64LE(8);
  let [v0, v1, v2, v3] = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      v0 = word(v0 + v1);
      v1 = rotate(v1, 13n) ^ v0;
      v0 = rotate(v0, 32n);
      v2 = word(v2 + v3);
      v3 = rotate(v3, 16n) ^ v2;
      v0 = word(v0 + v3);
      v3 = rotate(v3, 21n) ^ v0;
      v2 = word(v2 + v1);
      v1 = rotate(v1, 17n) ^ v2;
      v2 = rotate(v2, 32n);
    }
  };
  const padded = Buffer.alloc((Math.floor(bytes.length / 8) + 1) * 8);
  bytes.copy(padded);
  padded[padded.length - 1] = bytes.length & 0xff;
  for (let at = 0; at < padded.length; at += 8) {
    const m = padded.readBigUInt64LE(at);
    v3 ^= m;
    rounds(2);
    v0 ^= m;
  }
  v2 ^= 0xffn;
  rounds(4);
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(v0 ^ v1 ^ v2 ^ v3);
  return out.toString("hex");
}

/** Bytes that look random and are the same in every run (xorshift32). */
function pseudoRandomBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

test("the reference vectors come out", () => {
  const key = Buffer.from([...Array(16).keys()]);
  const input = Buffer.from([...Array(64).keys()]);
  assert.equal(REFERENCE_TAGS.length, 64);
  REFERENCE_TAGS.forEach((expected, length) => {
    assert.equal(tag(key, input, 0, length), expected, `input of ${length} bytes`);
  });
});

test("it agrees with an implementation in 64-bit words, carries of all kinds included", () => {
  for (let length = 0; length < 300; length++) {
    const key = pseudoRandomBytes(16, 7 + length);
    const input = pseudoRandomBytes(length, 99 + length);
    assert.equal(tag(key, input), bigIntTag(key, input), `input of ${length} bytes`);
  }
  const ones = Buffer.alloc(1400, 0xff);
  assert.equal(tag(Buffer.alloc(16, 0xff), ones), bigIntTag(Buffer.alloc(16, 0xff), ones));
});

test("only the bytes from start to end count, and only 8 bytes are written", () => {
  const key = pseudoRandomBytes(16, 3);
  const input = pseudoRandomBytes(64, 4);
  for (const [start, end] of [
    [0, 0],
    [5, 5],
    [3, 20],
    [8, 64],
    [1, 9],
  ] as const) {
    const out = Buffer.alloc(24, 0xee);
    siphash24(key, input, start, end, out, 7);
    const expected = Buffer.alloc(24, 0xee);
    Buffer.from(tag(key, Buffer.from(input.subarray(start, end))), "hex").copy(expected, 7);
    assert.deepEqual(out, expected, `${start} to ${end}`);
  }
});
