/** Our reading and writing of RTP headers against werift's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RtpPacket } from "werift";
import { mayReadRtp } from "../../src/transceiver/werift/rtp-check.ts";
import {
  extensionOf,
  headerOf,
  markerOf,
  payloadOf,
  payloadTypeOf,
  sequenceOf,
  ssrcOf,
  timestampOf,
  writeHeader,
} from "../../src/transceiver/werift/rtp-packet.ts";
import { mutated, Random } from "../kit/mutations.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

const SEEDS = [
  "80ef0001 00000002 f0000003 010203",
  "826f0001 00000002 00000003 00000004 00000005 aa",
  "906f0001 00000002 00000003 bede0002 1011 2161 62 00 00 00 aabb",
  "906f0001 00000002 00000003 10000002 01 01 05 02 02 6162 00 aabb",
  "906f0001 00000002 00000003 12340001 ffffffff aabb",
  "b06f0001 00000002 00000003 bede0001 10ff f9 00 aabb 0002",
].map(hex);

const ours = (packet: Buffer) => ({
  payloadType: payloadTypeOf(packet),
  marker: markerOf(packet),
  sequenceNumber: sequenceOf(packet),
  timestamp: timestampOf(packet),
  ssrc: ssrcOf(packet),
  payload: payloadOf(packet),
});
function weriftsOf(packet: Buffer) {
  const { header, payload } = RtpPacket.deSerialize(packet);
  const { payloadType, marker, sequenceNumber, timestamp, ssrc } = header;
  return { payloadType, marker, sequenceNumber, timestamp, ssrc, payload };
}

test("headers, payloads and extensions are read as werift reads them", () => {
  const random = new Random(11);
  let read = 0;
  let extensions = 0;
  for (let n = 0; n < 40_000; n++) {
    const packet = n < SEEDS.length ? SEEDS[n]! : mutated(random, Buffer.from(random.pick(SEEDS)), SEEDS);
    if (!mayReadRtp(packet)) continue;
    const profile = packet.length > 14 && (packet[0]! & 0x1f) === 0x10 ? packet.readUInt16BE(12) : 0;
    const { extensions: found } = RtpPacket.deSerialize(packet).header;
    // Where 15 ends the reading (RFC 8285, section 4.2) werift takes part of the extensions for payload.
    if (profile === 0xbede && packet.subarray(16).some((byte) => byte >> 4 === 15)) continue;
    read++;
    assert.deepEqual(ours(packet), weriftsOf(packet), packet.toString("hex"));
    if (profile !== 0xbede && profile !== 0x1000) continue;
    const seen = new Set<number>([0]);
    for (const { id, payload } of found) {
      // The first of several is what counts.
      if (seen.has(id)) continue;
      seen.add(id);
      extensions++;
      assert.deepEqual(extensionOf(packet, id), payload, packet.toString("hex"));
    }
  }
  assert.ok(read > 5_000 && extensions > 3_000, `${read} packets, ${extensions} extensions`);
});

test("what is no extension is not found", () => {
  assert.equal(extensionOf(SEEDS[0]!, 1), undefined);
  assert.equal(extensionOf(SEEDS[2]!, 3), undefined);
  assert.equal(extensionOf(SEEDS[3]!, 3), undefined);
  assert.equal(extensionOf(SEEDS[4]!, 15), undefined);
  assert.equal(extensionOf(SEEDS[5]!, 15), undefined);
});

for (const [name, mid] of Object.entries({
  "no mid": undefined,
  "a short mid": { id: 3, value: "0" },
  "the longest mid with a short header": { id: 14, value: "m".repeat(16) },
  "a mid that is too long for it": { id: 3, value: "m".repeat(17) },
  "an id that is too high for it": { id: 15, value: "audio" },
})) {
  test(`a header with ${name} is one that werift can read`, () => {
    const header = headerOf(0xf000_0001, mid);
    const packet = Buffer.concat([Buffer.alloc(header.length, 0xff), Buffer.from("voice")]);
    writeHeader(packet, header, { payloadType: 111, marker: true }, 65_535, 0xffff_fffe);
    assert.ok(mayReadRtp(packet));
    assert.deepEqual(weriftsOf(packet), {
      payloadType: 111,
      marker: true,
      sequenceNumber: 65_535,
      timestamp: 0xffff_fffe,
      ssrc: 0xf000_0001,
      payload: Buffer.from("voice"),
    });
    assert.equal(mid && extensionOf(packet, mid.id)?.toString(), mid?.value);
  });
}
