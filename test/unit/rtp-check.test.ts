/** Which decrypted RTP and RTCP werift may read: all that is well formed, and nothing that claims more than it holds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RtcpPacketConverter, RtpPacket } from "werift";
import { MAX_RTCP_PACKETS, mayReadRtcp, mayReadRtp } from "../../src/transceiver/werift/rtp-check.ts";
import { mutated, Random } from "../kit/mutations.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const RTP = "806f0001 00000002 00000003";

const GOOD_RTP: Record<string, string> = {
  "a header alone": RTP,
  "a payload": `${RTP} 010203`,
  "sources that contributed": `826f0001 00000002 00000003 00000004 00000005 aa`,
  "one-byte extensions": `906f0001 00000002 00000003 bede0002 10ff 2161 62 00 00 00 aabb`,
  "a one-byte extension that ends the reading": `906f0001 00000002 00000003 bede0001 10ff f9 00 aabb`,
  "two-byte extensions": `906f0001 00000002 00000003 10000002 01 00 02 02 6162 00 00 aabb`,
  "an extension of another profile": `906f0001 00000002 00000003 12340001 ffffffff aabb`,
  padding: `a06f0001 00000002 00000003 aabb 0002`,
  "nothing but padding": `a06f0001 00000002 00000003 00000004`,
};
const BAD_RTP: Record<string, string> = {
  nothing: "",
  "half a header": "806f0001 00000002 0000",
  "another version": "406f0001 00000002 00000003",
  "fewer sources than it says": "8f6f0001 00000002 00000003 00000004",
  "an extension header that is cut off": "906f0001 00000002 00000003 bede",
  "an extension longer than the packet, which would be read for minutes":
    "906f0001 00000002 00000003 bedeffff 10ff 0000",
  "a one-byte element that leaves its extension": "906f0001 00000002 00000003 bede0001 1fff 0000 aabb",
  "a two-byte element without a length": "906f0001 00000002 00000003 10000001 00 00 00 01",
  "a two-byte element that leaves its extension": "906f0001 00000002 00000003 10000001 01 09 0000",
  "padding of no bytes": "a06f0001 00000002 00000003 aa00",
  "padding longer than the payload": "a06f0001 00000002 00000003 aa03",
  "padding without a payload": "a06f0001 00000002 00000003",
};

const RECEIVER_REPORT = "81c90007 00000001 00000002 00000000 00000001 00000000 00000000 00000000";
const NACK = "81cd0003 00000001 00000002 00010000";
const GOOD_RTCP: Record<string, string> = {
  "a report": RECEIVER_REPORT,
  "a compound": `${RECEIVER_REPORT} 81ca0003 00000001 0102 6162 0000 0000 ${NACK} 81ce0002 00000001 00000002`,
  padding: "a1cd0004 00000001 00000002 00010000 00000004",
  "a type that nobody knows": "80d00001 00000001",
};
const BAD_RTCP: Record<string, string> = {
  nothing: "",
  "half a header": "81c9",
  "another version": NACK.replace(/^8/, "4"),
  "a length behind the end": NACK.replace("0003", "0004"),
  "something behind the end": `${NACK} 81`,
  "more packets than anybody sends": NACK.repeat(MAX_RTCP_PACKETS + 1),
  "padding longer than the packet": "a1cd0003 00000001 00000002 000000ff",
  "transport-wide feedback, which is not negotiated": "8fcd0005 00000001 00000002 0001ffff 00000000 20020000",
};

for (const [kind, good, bad, may] of [
  ["RTP", GOOD_RTP, BAD_RTP, mayReadRtp],
  ["RTCP", GOOD_RTCP, BAD_RTCP, mayReadRtcp],
] as const) {
  for (const [name, text] of Object.entries(good))
    test(`${kind}: ${name} may be read`, () => assert.equal(may(hex(text)), true));
  for (const [name, text] of Object.entries(bad))
    test(`${kind}: ${name} may not`, () => assert.equal(may(hex(text)), false));
}

test("werift reads what passes within its packet's bounds, and in no time", () => {
  const random = new Random(5);
  const rtp = Object.values(GOOD_RTP).map(hex);
  const rtcp = Object.values(GOOD_RTCP).map(hex);
  let read = 0;
  for (let n = 0; n < 60_000; n++) {
    const media = mutated(random, Buffer.from(random.pick(rtp)), rtp);
    if (mayReadRtp(media)) {
      const { header, payload } = RtpPacket.deSerialize(media);
      const size = header.extensions.reduce((sum, extension) => sum + extension.payload.length, payload.length);
      assert.ok(size + header.csrc.length * 4 <= media.length, media.toString("hex"));
      read++;
    }
    const control = mutated(random, Buffer.from(random.pick(rtcp)), rtcp);
    if (mayReadRtcp(control))
      read += RtcpPacketConverter.deSerialize(control).length > MAX_RTCP_PACKETS ? Number.NaN : 1;
  }
  assert.ok(read > 10_000, `${read}`);
});

test("control: without the check werift makes extensions of bytes that the packet does not have", () => {
  const packet = hex("906f0001 00000002 00000003 bede0400 10ff 0000");
  assert.equal(mayReadRtp(packet), false);
  assert.ok(RtpPacket.deSerialize(packet).header.extensions.length > packet.length * 10);
});
