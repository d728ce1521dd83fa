/** What is answered to what is offered: m-line for m-line, and nothing that was not offered. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { pino } from "pino";
import { randomKeyRing } from "../../src/keys/key-file.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { audioLine, dataLine, offerOf, rejected, videoLine } from "../kit/offers.ts";

const transceiver = new Transceiver({
  id: 1,
  cluster: 1,
  epoch: BigInt(Date.now()),
  keys: randomKeyRing(),
  trunk: { address: "127.0.0.1", port: 0 },
  advertise: [{ address: "203.0.113.7", port: 3478 }],
  maxCallMs: 60_000,
  limits: { maxCalls: 50 },
  logger: pino({ level: "silent" }),
});

interface Line {
  readonly kind: string;
  readonly taken: boolean;
  readonly mid: string | undefined;
  readonly direction: string | undefined;
  readonly codecs: readonly string[];
  readonly extensions: readonly string[];
}

function linesOf(sdp: string): Line[] {
  return sdp
    .split(/^(?=m=)/m)
    .slice(1)
    .map((section) => {
      const [, kind = "", port] = /^m=(\S+) (\d+)/.exec(section) ?? [];
      return {
        kind,
        taken: port !== "0",
        mid: /^a=mid:(.*)\r$/m.exec(section)?.[1],
        direction: /^a=(sendrecv|sendonly|recvonly|inactive)\r$/m.exec(section)?.[1],
        codecs: [...section.matchAll(/^a=rtpmap:(\d+ [^/]+)/gm)].map(([, codec]) => codec!),
        extensions: [...section.matchAll(/^a=extmap:(\d+) \S+:([^:\r]+)\r$/gm)].map(([, id, name]) => `${id} ${name}`),
      };
    });
}

async function answerTo(offer: string): Promise<string> {
  const { callId, answerSdp } = await transceiver.createCall(offer);
  await transceiver.endCall(callId);
  return answerSdp;
}

describe("the answer", () => {
  before(() => transceiver.start());
  after(() => transceiver.stop());

  const AUDIO = {
    kind: "audio",
    taken: true,
    direction: "sendrecv",
    codecs: ["111 opus", "0 PCMU", "8 PCMA", "9 G722"],
    extensions: ["1 ssrc-audio-level", "4 mid"],
  };
  const VIDEO = {
    kind: "video",
    taken: true,
    direction: "sendrecv",
    codecs: ["96 VP8", "103 H264"],
    extensions: ["4 mid"],
  };
  const DATA = { kind: "application", taken: true, direction: undefined, codecs: [], extensions: [] };

  const cases: [name: string, offer: string, lines: Line[], group: string][] = [
    [
      "has the m-lines of the offer in their order, with their mids, numbers and extensions",
      offerOf(audioLine("0"), videoLine("1"), dataLine("2")),
      [
        { ...AUDIO, mid: "0" },
        { ...VIDEO, mid: "1" },
        { ...DATA, mid: "2" },
      ],
      "0 1 2",
    ],
    [
      "keeps an order and mids that no browser has",
      offerOf(dataLine("words"), videoLine("eyes"), audioLine("voice")),
      [
        { ...DATA, mid: "words" },
        { ...VIDEO, mid: "eyes" },
        { ...AUDIO, mid: "voice" },
      ],
      "words eyes voice",
    ],
    [
      "turns directions round",
      offerOf(audioLine("0", "sendonly"), audioLine("1", "recvonly"), audioLine("2", "inactive"), audioLine("3")),
      [
        { ...AUDIO, mid: "0", direction: "recvonly" },
        { ...AUDIO, mid: "1", direction: "sendonly" },
        { ...AUDIO, mid: "2", direction: "inactive" },
        { ...AUDIO, mid: "3" },
      ],
      "0 1 2 3",
    ],
    [
      "rejects in its place a line with no codec in common",
      offerOf(
        audioLine("0"),
        videoLine("1").filter((line) => !/^a=rtpmap:(96|103)/.test(line)),
        dataLine("2"),
      ),
      [
        { ...AUDIO, mid: "0" },
        { ...VIDEO, mid: "1", taken: false, direction: "inactive", codecs: ["97 rtx", "104 H265"], extensions: [] },
        { ...DATA, mid: "2" },
      ],
      "0 2",
    ],
    [
      "leaves a rejected line rejected",
      offerOf(audioLine("0"), rejected(videoLine("1")), dataLine("2")),
      [
        { ...AUDIO, mid: "0" },
        { ...VIDEO, mid: "1", taken: false, direction: "inactive", extensions: [] },
        { ...DATA, mid: "2" },
      ],
      "0 2",
    ],
  ];
  for (const [name, offer, lines, group] of cases) {
    test(name, async () => {
      const answer = await answerTo(offer);
      const found = linesOf(answer);
      // What a rejected line says of codecs means nothing.
      const meaning = (all: readonly Line[]) => all.map((line) => (line.taken ? line : { ...line, codecs: [] }));
      assert.deepEqual(meaning(found), meaning(lines));
      assert.match(answer, new RegExp(`^a=group:BUNDLE ${group}\\r$`, "m"));
    });
  }

  test("names nothing that was not offered, and one certificate, role and ICE session for all", async () => {
    const offer = offerOf(audioLine("0"), videoLine("1"), dataLine("2"));
    const answer = await answerTo(offer);
    const offered = new Set(offer.match(/^a=(?:rtpmap|extmap|rtcp-fb):.*$/gm));
    const answered = answer.match(/^a=(?:rtpmap|extmap|rtcp-fb):[^\r]*/gm) ?? [];
    assert.deepEqual(
      answered.filter((line) => !offered.has(`${line}\r`) && !offered.has(line)),
      [],
    );
    assert.doesNotMatch(answer, /extmap-allow-mixed|ice-lite|rtcp-rsize|candidate:.* tcp /);
    for (const name of ["ice-ufrag", "ice-pwd", "fingerprint", "setup"]) {
      const values = new Set([...answer.matchAll(new RegExp(`^a=${name}:(.*)\\r$`, "gm"))].map(([, value]) => value));
      assert.equal(values.size, 1, name);
    }
  });

  test("to a client that can only be active is passive too", async () => {
    const answer = await answerTo(offerOf(audioLine("0")).replace("a=setup:actpass", "a=setup:active"));
    assert.match(answer, /^a=setup:passive\r$/m);
  });

  test("that would take nothing is a refusal", async () => {
    const offer = offerOf(videoLine("0").filter((line) => !/^a=rtpmap:(96|103)/.test(line)));
    await assert.rejects(transceiver.createCall(offer), { code: "SDP_UNSUPPORTED", message: /no codec in common/ });
  });
});
