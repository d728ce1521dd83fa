/** Whatever text comes for an offer or a fragment: it is read, or refused with a code and a short reason. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EarshotError } from "../../src/earshot-error.ts";
import { checkOffer } from "../../src/signalling/offer.ts";
import { readIceFragment, writeIceFragment } from "../../src/transceiver/ice-fragment.ts";
import { readOffer } from "../../src/transceiver/sdp-offer.ts";
import { Random } from "../kit/mutations.ts";
import { audioLine, dataLine, OFFERED, offerOf, rejected, videoLine } from "../kit/offers.ts";
import { spoiledSdp } from "../kit/sdp-mutations.ts";

const OFFERS = [
  offerOf(audioLine("0"), videoLine("1"), dataLine("2")),
  offerOf(dataLine("data"), audioLine("audio", "recvonly")),
  offerOf(rejected(videoLine("0")), audioLine("1", "sendonly")),
];
const FRAGMENTS = [
  writeIceFragment(OFFERED, "0", [{ address: "192.0.2.1", port: 9 }]),
  `a=group:BUNDLE 0 1\r\n${writeIceFragment(OFFERED, "0", [{ address: "2001:db8::1", port: 65535 }])}`,
];
const ROUNDS = 20_000;

/** What `read` gives, or undefined if it refuses as it may. */
function readOrRefused<T>(read: () => T, codes: readonly string[], text: string): T | undefined {
  try {
    return read();
  } catch (error) {
    assert.ok(error instanceof EarshotError, `${(error as Error).stack}\nfor ${JSON.stringify(text)}`);
    assert.ok(codes.includes(error.code), error.code);
    assert.ok(error.message.length < 300, error.message);
    return undefined;
  }
}

test("spoiled offers are read or refused; what is read is in a form that reads as itself", () => {
  const random = new Random(5);
  let read = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const text = spoiledSdp(random, random.pick(OFFERS), OFFERS);
    const ingest = random.chance(20);
    readOrRefused(() => checkOffer(text), ["SDP_INVALID"], text);
    const offer = readOrRefused(() => readOffer(text, { ingest }), ["SDP_INVALID", "SDP_UNSUPPORTED"], text);
    if (offer === undefined) continue;
    read++;
    assert.equal(readOffer(offer.sdp, { ingest }).sdp, offer.sdp, JSON.stringify(text));
  }
  // Neither all nor nothing, or the spoiling would be worth nothing.
  assert.ok(read > ROUNDS / 10 && read < ROUNDS * 0.9, `${read} of ${ROUNDS} were read`);
});

test("spoiled fragments are read or refused", () => {
  const random = new Random(6);
  let read = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const text = spoiledSdp(random, random.pick(FRAGMENTS), [...FRAGMENTS, ...OFFERS]);
    if (readOrRefused(() => readIceFragment(text), ["FRAGMENT_INVALID"], text) !== undefined) read++;
  }
  assert.ok(read > ROUNDS / 10 && read < ROUNDS * 0.9, `${read} of ${ROUNDS} were read`);
});

test("no text of the largest size takes the readers long", () => {
  // Such as would make a pattern that backtracks take minutes, which is what the runner's limit would find.
  for (const unit of ["a", " ", "a=", "m=audio 9 ", ":", "/", "0", "\r\n", "a=fingerprint:sha-256 ", "A0:", "1 "]) {
    const size = 65_000;
    const filler = unit.repeat(Math.floor(size / unit.length));
    for (const prefix of ["", "v=0\r\n", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF ", "v=0\r\na=group:BUNDLE "]) {
      readOrRefused(() => readOffer(prefix + filler), ["SDP_INVALID", "SDP_UNSUPPORTED"], unit);
      readOrRefused(() => checkOffer(prefix + filler), ["SDP_INVALID"], unit);
    }
    const short = filler.slice(0, 16_000);
    readOrRefused(() => readIceFragment(`a=candidate:${short}`), ["FRAGMENT_INVALID"], unit);
  }
});
