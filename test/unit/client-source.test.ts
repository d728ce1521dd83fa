/** Which sources a client can have, and that their paths are those of the one definition in src/trunk/path.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientPath } from "../../src/engine/js/client-source.ts";
import { pathBytes } from "../../src/trunk/path.ts";

const PORT = 50_000;

for (const host of [
  "1.2.3.4",
  "10.0.0.1",
  "100.64.255.1",
  "192.168.1.255",
  "223.255.255.255",
  "2001:db8::1",
  "fd00::2",
  "fec0::1",
]) {
  test(`${host} may be a client`, () => {
    assert.deepEqual(clientPath(3, false, host, PORT), pathBytes(3, host, PORT));
    assert.equal(clientPath(3, false, host, 0), undefined, "but not with port 0");
  });
}

for (const host of [
  "0.0.0.0",
  "0.1.2.3",
  "224.0.0.1",
  "239.255.255.255",
  "240.0.0.1",
  "255.255.255.255",
  "::",
  "ff02::1",
  "fe80::1",
  "fe80::1%eth0",
  "febf::1",
  "::ffff:1.2.3.4",
  "::1.2.3.4",
  "::2",
]) {
  test(`${host} may not, on any ingress`, () => {
    assert.equal(clientPath(3, false, host, PORT), undefined);
    assert.equal(clientPath(3, true, host, PORT), undefined);
  });
}

for (const host of ["127.0.0.1", "127.255.255.254", "::1"]) {
  test(`${host} may, on a loopback ingress only`, () => {
    assert.equal(clientPath(3, false, host, PORT), undefined);
    assert.deepEqual(clientPath(3, true, host, PORT), pathBytes(3, host, PORT));
  });
}
