import assert from "node:assert/strict";
import { test } from "node:test";
import { pathBytes, pathHost, pathIngress, pathKey, pathLength, pathPort } from "../../src/trunk/path.ts";

for (const [name, ingress, host, port, hex, shown] of [
  ["IPv4", 7, "192.0.2.1", 32853, "0400078055c0000201", "192.0.2.1"],
  ["IPv6", 8, "2001:db8::4711", 49152, "060008c00020010db8000000000000000000004711", "2001:db8::4711"],
  ["v4-mapped IPv6, which is IPv4", 0, "::ffff:192.0.2.1", 1, "0400000001c0000201", "192.0.2.1"],
  ["the largest of everything", 65535, "255.255.255.255", 65535, "04ffffffffffffffff", "255.255.255.255"],
] as const) {
  test(`path bytes hold and give back ${name}`, () => {
    const path = pathBytes(ingress, host, port);
    assert.equal(path.toString("hex"), hex);
    assert.equal(path.length, pathLength(path[0]!));
    assert.equal(pathIngress(path), ingress);
    assert.equal(pathPort(path), port);
    assert.equal(pathHost(path), shown);
  });
}

test("only families 4 and 6 have a length", () => {
  for (let family = 0; family < 256; family++) {
    assert.equal(pathLength(family), family === 4 ? 9 : family === 6 ? 21 : 0);
  }
});

test("keys are equal for equal paths only", () => {
  const paths = [
    pathBytes(1, "192.0.2.1", 5000),
    pathBytes(2, "192.0.2.1", 5000),
    pathBytes(1, "192.0.2.2", 5000),
    pathBytes(1, "192.0.2.1", 5001),
    pathBytes(1, "2001:db8::1", 5000),
    pathBytes(1, "2001:db8::80", 5000),
    pathBytes(1, "2001:db8::ff", 5000),
  ];
  assert.equal(new Set(paths.map(pathKey)).size, paths.length);
  assert.equal(pathKey(paths[0]!), pathKey(pathBytes(1, "::ffff:192.0.2.1", 5000)));
});
