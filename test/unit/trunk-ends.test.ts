import assert from "node:assert/strict";
import { test } from "node:test";
import { TrunkEnds } from "../../src/relay/trunk-ends.ts";
import { pathBytes } from "../../src/trunk/path.ts";

test("the trunk's addresses and ports are told from clients', whatever the ingress and the notation", () => {
  const ends = new TrunkEnds();
  ends.setRelay("10.0.0.4", [7100, 7101]);
  ends.setTransceivers([
    { address: "10.0.0.5", port: 7000 },
    { address: "2001:db8:0::5", port: 7000 },
  ]);
  const has = (host: string, port: number, ingress = 1) => ends.has(pathBytes(ingress, host, port));
  assert.ok(has("10.0.0.4", 7100) && has("10.0.0.4", 7101, 9));
  assert.ok(has("10.0.0.5", 7000) && has("2001:db8::5", 7000, 3));
  assert.ok(!has("10.0.0.4", 7102) && !has("10.0.0.5", 7100) && !has("10.0.0.6", 7000));
  ends.setTransceivers([]);
  assert.ok(!has("10.0.0.5", 7000) && has("10.0.0.4", 7100));
});

test("a wildcard stands for every address of this host", () => {
  const ends = new TrunkEnds();
  ends.setRelay("0.0.0.0", [7100]);
  assert.ok(ends.has(pathBytes(1, "127.0.0.1", 7100)));
  assert.ok(!ends.has(pathBytes(1, "127.0.0.1", 7101)));
});
