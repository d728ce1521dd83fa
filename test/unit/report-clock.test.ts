import assert from "node:assert/strict";
import { test } from "node:test";
import { ntpTimestamp, ReportClock } from "../../src/transceiver/werift/report-clock.ts";

for (const [unixMs, seconds, fraction] of [
  [0, 2_208_988_800n, 0n],
  [500, 2_208_988_800n, 1n << 31n],
  [1_700_000_000_250, 3_908_988_800n, 1n << 30n],
  [1_700_000_000_999, 3_908_988_800n, 4_290_672_328n],
] as const) {
  test(`${unixMs} ms of Unix time are ${seconds} s and ${fraction} 2^32ths since 1900`, () => {
    const ntp = ntpTimestamp(unixMs);
    assert.equal(ntp >> 32n, seconds);
    const off = (ntp & 0xffff_ffffn) - fraction;
    assert.ok(off >= -1n && off <= 1n, `${off} off`);
  });
}

test("a sender that says that it has sent is asked for that moment, in RFC 3550's form", () => {
  const sender = { ntpTimestamp: 0n } as ConstructorParameters<typeof ReportClock>[0];
  new ReportClock(sender);
  const before = ntpTimestamp(performance.timeOrigin + performance.now());
  sender.ntpTimestamp = 12_345n;
  const after = ntpTimestamp(performance.timeOrigin + performance.now());
  assert.ok(before <= sender.ntpTimestamp && sender.ntpTimestamp <= after);
  assert.equal(sender.ntpTimestamp, sender.ntpTimestamp);
});
