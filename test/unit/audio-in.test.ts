/** What a caller says, decoded: in order, concealed, filled up, and cheap for a client that sends nonsense. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { AudioIn } from "../../src/transceiver/audio/audio-in.ts";
import { Opus } from "../../src/transceiver/audio/opus.ts";
import { opusMs, packetMs } from "../../src/transceiver/audio/packet-duration.ts";
import { Reorder } from "../../src/transceiver/audio/reorder.ts";
import type { AudioFrame, MediaFrame } from "../../src/transceiver/backends/backend.ts";
import { SimulatedClock } from "../kit/simulated-clock.ts";
import { joined, power, share, tone } from "../kit/tone.ts";

const RATE = 24_000;
const FIRST = { sequence: 65_530, timestamp: 0xffff_f000 };

describe("reordering", () => {
  const pushed = (sequences: readonly number[]) => {
    const reorder = new Reorder<{ sequence: number }>();
    const out: (number | string)[] = [];
    const arrivals = sequences.map((sequence) =>
      reorder.push({ sequence }, (packet, lost) => {
        if (lost > 0) out.push(`${lost} lost`);
        out.push(packet.sequence);
      }),
    );
    return { out, refused: arrivals.filter((arrival) => arrival !== "taken") };
  };
  const cases: readonly [what: string, arrive: number[], out: (number | string)[], refused: string[]][] = [
    ["what comes in order", [1, 2, 3], [1, 2, 3], []],
    ["two that changed places", [1, 3, 2, 4], [1, 2, 3, 4], []],
    ["across the end of the numbers", [65_534, 0, 65_535, 1], [65_534, 65_535, 0, 1], []],
    ["one that is lost", [1, 3, 4, 5, 6], [1, "1 lost", 3, 4, 5, 6], []],
    ["one that comes after it was given up", [1, 3, 4, 5, 6, 2, 7], [1, "1 lost", 3, 4, 5, 6, 7], ["late"]],
    ["two gaps", [1, 3, 5, 7, 9], [1, "1 lost", 3], []],
    ["one that comes twice", [1, 2, 2, 4, 4, 3], [1, 2, 3, 4], ["late", "duplicate"]],
    ["many lost", [1, 40, 41, 42, 43], [1, "38 lost", 40, 41, 42, 43], []],
    ["a sender that begins anew, further on", [1, 2, 9_000, 9_001], [1, 2, 9_000, 9_001], []],
    ["a sender that begins anew, further back", [9_000, 9_001, 5, 6], [9_000, 9_001, 5, 6], []],
    ["what was held when it began anew", [1, 3, 9_000], [1, "1 lost", 3, 9_000], []],
  ];
  for (const [what, arrive, out, refused] of cases) {
    it(what, () => assert.deepEqual(pushed(arrive), { out, refused }));
  }
});

describe("how long a packet is", () => {
  const opus: readonly [bytes: number[], ms: number | undefined][] = [
    [[0xf8], 20],
    [[0x00], 10],
    [[0x18], 60],
    [[0x60], 10],
    [[0x80], 2.5],
    [[0xf9], 40],
    [[0xfb, 3], 60],
    [[0xfb, 6], 120],
    [[0xfb, 7], undefined],
    [[0xfb, 0], undefined],
    [[0xfb], undefined],
    [[], undefined],
  ];
  for (const [bytes, ms] of opus) it(`Opus ${bytes}: ${ms} ms`, () => assert.equal(opusMs(Buffer.from(bytes)), ms));
  it("G.711 by its length, and nothing of codecs that are not known", () => {
    const codec = { payloadType: 0, clockRate: 8_000, channels: 1 };
    assert.equal(packetMs({ ...codec, mimeType: "audio/pcmu" }, Buffer.alloc(160)), 20);
    assert.equal(packetMs({ ...codec, mimeType: "audio/pcma" }, Buffer.alloc(0)), undefined);
    assert.equal(packetMs({ ...codec, mimeType: "audio/red" }, Buffer.alloc(160)), undefined);
  });
});

describe("decoding", () => {
  let opus: Opus;
  before(async () => {
    opus = await Opus.open(RATE);
  });
  after(() => opus.close());

  /** So many packets of a tone. */
  async function packets(count: number): Promise<MediaFrame[]> {
    const sender = await Opus.open(RATE);
    const frames = Array.from({ length: count }, (_, index) => frameOf(index, encoded(sender, index)));
    sender.close();
    return frames;
  }

  const encoded = (sender: Opus, index: number) =>
    sender.encode(new Uint8Array(tone(440, 20, RATE, index * 20).buffer));

  const frameOf = (index: number, payload: Buffer, timestampOf = index): MediaFrame => ({
    line: "0",
    kind: "audio",
    payloadType: 111,
    sequence: (FIRST.sequence + index) & 0xffff,
    timestamp: (FIRST.timestamp + timestampOf * 960) >>> 0,
    marker: false,
    payload,
  });

  function listen(clock = new SimulatedClock()) {
    const heard: AudioFrame[] = [];
    const dropped: string[] = [];
    const audioIn = new AudioIn(opus, () => clock.nowMs(), {
      isOpus: ({ payloadType }) => payloadType === 111,
      audio: (frame) => heard.push(frame),
      dropped: (why) => dropped.push(why),
    });
    return { audioIn, heard, dropped, clock };
  }

  const origins = (heard: readonly AudioFrame[]) => heard.map(({ origin }) => origin);
  /** Each begins where the one before it ended. */
  function assertSeamless(heard: readonly AudioFrame[]): void {
    for (const [index, { timestamp }] of heard.entries()) {
      if (index === 0) continue;
      const before = heard[index - 1]!;
      assert.equal(timestamp, (before.timestamp + (before.samples.length * 48_000) / RATE) >>> 0, `frame ${index}`);
    }
  }

  it("gives the tone back, with timestamps and levels of its packets", async () => {
    const { audioIn, heard, dropped } = listen();
    const level = { levelDbov: -20, hasVoice: true };
    for (const frame of await packets(50)) audioIn.frame({ ...frame, level });
    assert.equal(heard.length, 50);
    assert.deepEqual(dropped, []);
    assertSeamless(heard);
    assert.equal(heard[0]!.timestamp, FIRST.timestamp);
    assert.ok(heard.every((frame) => frame.samples.length === 480 && frame.line === "0"));
    assert.ok(heard.every((frame) => frame.level === level));
    const middle = joined(heard.slice(10).map(({ samples }) => samples));
    assert.ok(share(middle, 440, RATE) > 0.95);
  });

  it("puts packets in order", async () => {
    const { audioIn, heard } = listen();
    const [a, b, c, d] = (await packets(4)) as [MediaFrame, MediaFrame, MediaFrame, MediaFrame];
    for (const frame of [a, c, b, d]) audioIn.frame(frame);
    assert.deepEqual(origins(heard), ["received", "received", "received", "received"]);
    assertSeamless(heard);
  });

  it("conceals what is lost: the tone goes on", async () => {
    const { audioIn, heard } = listen();
    for (const [index, frame] of (await packets(40)).entries()) {
      if (index !== 20 && index !== 21) audioIn.frame(frame);
    }
    assert.equal(heard.length, 40);
    assertSeamless(heard);
    assert.deepEqual(origins(heard.slice(19, 24)), ["received", "concealed", "concealed", "received", "received"]);
    const gap = joined(heard.slice(20, 22).map(({ samples }) => samples));
    assert.ok(power(gap) > 0.2 * power(tone(440, 40, RATE)), "there is a hole");
    assert.ok(share(gap, 440, RATE) > 0.8, "it is not the tone");
  });

  it("recovers the last lost packet from the copy that the next one carries", async () => {
    const sender = await Opus.open(RATE);
    // A change of tone that only the lost packet announces, so that concealment alone cannot know of it.
    const hertz = (index: number) => (index < 20 ? 300 : 1_100);
    const sent = Array.from({ length: 30 }, (_, index) =>
      frameOf(index, sender.encode(new Uint8Array(tone(hertz(index), 20, RATE, index * 20).buffer))),
    );
    sender.close();
    const { audioIn, heard } = listen();
    for (const [index, frame] of sent.entries()) if (index !== 21) audioIn.frame(frame);
    assert.equal(heard[21]!.origin, "concealed");
    assert.ok(share(heard[21]!.samples, 1_100, RATE) > 0.5);
  });

  it("fills a long loss with what the decoder makes up, then silence, a second at most", async () => {
    const { audioIn, heard } = listen();
    const sent = await packets(100);
    for (const frame of [...sent.slice(0, 10), ...sent.slice(95)]) audioIn.frame(frame);
    const made = heard.slice(10, -5);
    assert.deepEqual(
      origins(made),
      [...Array(5).fill("concealed"), ...Array(50).fill("silence")].slice(0, made.length),
    );
    assert.equal(made.length, 55);
    assert.ok(made.slice(5).every(({ samples }) => power(samples) === 0));
  });

  it("fills time in which the client sent nothing, as with DTX, with silence", async () => {
    const { audioIn, heard } = listen();
    const [a, b, c] = (await packets(3)) as [MediaFrame, MediaFrame, MediaFrame];
    audioIn.frame(a);
    audioIn.frame(frameOf(1, b.payload, 21));
    audioIn.frame(frameOf(2, c.payload, 22));
    assert.deepEqual(origins(heard), ["received", ...Array(20).fill("silence"), "received", "received"]);
    assertSeamless(heard);
  });

  it("goes on after a client's clock has begun anew", async () => {
    const { audioIn, heard } = listen();
    const [a, b, c] = (await packets(3)) as [MediaFrame, MediaFrame, MediaFrame];
    for (const frame of [a, { ...b, timestamp: 50_000_000 }, { ...c, timestamp: 50_000_960 }]) audioIn.frame(frame);
    assert.deepEqual(origins(heard), ["received", "received", "received"]);
    assert.deepEqual(
      heard.slice(1).map(({ timestamp }) => timestamp),
      [50_000_000, 50_000_960],
    );
  });

  it("drops other codecs, further lines, repeated and malformed packets, each under its name", async () => {
    const { audioIn, heard, dropped } = listen();
    const [a, b] = (await packets(2)) as [MediaFrame, MediaFrame];
    audioIn.frame(a);
    audioIn.frame({ ...b, payloadType: 0 });
    audioIn.frame({ ...b, line: "1" });
    audioIn.frame({ ...b, payload: Buffer.alloc(0) });
    audioIn.frame({ ...b, payload: Buffer.from([0xfb, 0]) });
    audioIn.frame(b);
    audioIn.frame(b);
    assert.equal(heard.length, 2);
    assert.deepEqual(dropped, ["codec", "codec", "malformed", "malformed", "late"]);
  });

  it("makes something up for a packet that cannot be decoded", async () => {
    const { audioIn, heard, dropped } = listen();
    const [a, , c] = (await packets(3)) as [MediaFrame, MediaFrame, MediaFrame];
    // Code 3, padded beyond the packet's end.
    for (const frame of [a, frameOf(1, Buffer.from([0xfb, 0x41, 0xff, 0xff])), c]) audioIn.frame(frame);
    assert.deepEqual(dropped, ["malformed"]);
    assert.deepEqual(origins(heard), ["received", "concealed", "received"]);
    assertSeamless(heard);
  });

  it("never throws, whatever a client sends, and gives out no more than was paid for", () => {
    const { audioIn, heard, clock } = listen();
    let random = 12_345;
    const next = () => {
      random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
      return random;
    };
    for (let index = 0; index < 20_000; index++) {
      const payload = Buffer.from(Array.from({ length: next() % 40 }, () => next() >>> 16));
      const sequence = next() % 4 === 0 ? next() & 0xffff : index & 0xffff;
      audioIn.frame({ ...frameOf(0, payload), sequence, timestamp: next() });
      if (index % 10 === 0) clock.advance(20);
    }
    assert.ok(heard.length > 100);
  });

  it("decodes no flood, and goes on for who slows down", async () => {
    const { audioIn, heard, dropped, clock } = listen();
    const sent = await packets(400);
    for (const frame of sent) audioIn.frame(frame);
    assert.equal(heard.length, 200);
    assert.deepEqual(new Set(dropped), new Set(["flood"]));
    clock.advance(100);
    for (const frame of (await packets(402)).slice(400)) audioIn.frame(frame);
    assert.equal(dropped.length, 200);
  });
});
