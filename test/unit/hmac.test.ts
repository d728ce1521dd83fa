/** HMAC of our own against that of node:crypto, which shares nothing with it but the hash. */
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";
import { hmac } from "../../src/stun/hmac.ts";

test("RFC 2202 and RFC 4231, test case 2", () => {
  const message = Buffer.from("what do ya want for nothing?");
  const hex = (algorithm: "sha1" | "sha256") =>
    Buffer.from(hmac(algorithm, "Jefe", "binary", message), "latin1").toString("hex");
  assert.equal(hex("sha1"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  assert.equal(hex("sha256"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
});

for (const algorithm of ["sha1", "sha256"] as const) {
  test(`${algorithm}: any key, any message, in any parts`, () => {
    for (const keyBytes of [0, 1, 16, 24, 32, 63, 64, 65, 200]) {
      for (const length of [0, 1, 55, 56, 63, 64, 65, 100, 1_400, 2_047, 2_048, 2_049, 65_555, 3]) {
        const key = randomBytes(keyBytes);
        const message = randomBytes(length);
        const cut = length >> 1;
        const expected = createHmac(algorithm, key).update(message).digest();
        const what = `key of ${keyBytes}, message of ${length}`;
        assert.equal(hmac(algorithm, key, "base64", message), expected.toString("base64"), what);
        const parts = [message.subarray(0, cut), message.subarray(cut)];
        assert.equal(hmac(algorithm, key, "binary", ...parts), expected.toString("latin1"), what);
      }
    }
  });

  test(`${algorithm}: a key as text is its UTF-8`, () => {
    const message = Buffer.from("message");
    for (const key of ["", "x".repeat(24), "ключ", "é".repeat(40)]) {
      assert.equal(
        hmac(algorithm, key, "base64", message),
        createHmac(algorithm, key).update(message).digest("base64"),
      );
    }
  });
}
