/** The pacing of what backends say, in simulated time: when each packet goes out, with what header, and what is cut off. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AudioOut } from "../../src/transceiver/audio/audio-out.ts";
import { Opus } from "../../src/transceiver/audio/opus.ts";
import { type OutQueue, PacketQueue, PcmQueue } from "../../src/transceiver/audio/out-queue.ts";
import { Ticker } from "../../src/transceiver/audio/ticker.ts";
import type { MediaCodec, MediaFrame } from "../../src/transceiver/backends/backend.ts";
import { SimulatedClock } from "../kit/simulated-clock.ts";
import { joined, power, share, tone } from "../kit/tone.ts";

const OPUS: MediaCodec = { payloadType: 111, mimeType: "audio/opus", clockRate: 48_000, channels: 2 };
const PCMU: MediaCodec = { payloadType: 0, mimeType: "audio/pcmu", clockRate: 8_000, channels: 1 };
const SILENCE = "f8fffe";
/** 20 ms of CELT, told apart by its last byte. */
const packet = (mark: number) => Buffer.from([0xf8, 1, mark]);

interface Sent {
  readonly atMs: number;
  readonly frame: MediaFrame;
}

class Scene {
  readonly clock: SimulatedClock;
  readonly sent: Sent[] = [];
  readonly events: string[] = [];
  readonly out: AudioOut;
  hasTarget = true;
  readonly #startMs: number;

  constructor(options: {
    queue?: OutQueue;
    codec?: MediaCodec;
    maxQueuedMs?: number;
    ticker?: Ticker;
    clock?: SimulatedClock;
    onPlayed?: () => void;
  }) {
    const { codec = OPUS, maxQueuedMs = 1_000 } = options;
    this.clock = options.clock ?? new SimulatedClock();
    this.#startMs = this.clock.nowMs();
    this.out = new AudioOut({
      queue: options.queue ?? new PacketQueue(() => codec),
      maxQueuedMs,
      ticker: options.ticker ?? new Ticker(this.clock),
      host: {
        target: () => (this.hasTarget ? { line: "0", codec } : undefined),
        send: (frame) => this.sent.push({ atMs: this.clock.nowMs() - this.#startMs, frame }),
        drained: () => this.events.push("drained"),
        played: () => {
          this.events.push("played");
          options.onPlayed?.();
        },
        dropped: (why) => this.events.push(`dropped: ${why}`),
        flushed: () => this.events.push("flushed"),
        failed: (error) => this.events.push(`failed: ${(error as Error).message}`),
      },
    });
  }

  /** What was sent and is no silence. */
  get spoken(): Sent[] {
    return this.sent.filter(({ frame }) => frame.payload.toString("hex") !== SILENCE);
  }

  marks(): number[] {
    return this.spoken.map(({ frame }) => frame.payload[2]!);
  }
}

const steps = (frames: readonly Sent[], of: (frame: MediaFrame) => number, modulo: number) =>
  frames.slice(1).map(({ frame }, index) => (of(frame) - of(frames[index]!.frame) + modulo) % modulo);

describe("what a backend says", () => {
  it("goes out one packet every 20 ms, however fast it was written", () => {
    const scene = new Scene({});
    for (let mark = 0; mark < 25; mark++) scene.out.write(packet(mark));
    assert.equal(scene.out.queuedMs, 500);
    scene.clock.advance(2_000);
    assert.deepEqual(
      scene.marks(),
      Array.from({ length: 25 }, (_, mark) => mark),
    );
    assert.deepEqual(
      scene.spoken.map(({ atMs }) => atMs),
      Array.from({ length: 25 }, (_, index) => Math.max(5, index * 20)),
    );
    assert.equal(scene.out.playedMs, 500);
    assert.equal(scene.out.queuedMs, 0);
  });

  it("does not drift in an hour", () => {
    const scene = new Scene({ maxQueuedMs: 4_000_000 });
    for (let index = 0; index < 180_000; index++) scene.out.write(packet(0));
    scene.clock.advance(3_600_000 - 20);
    assert.equal(scene.sent.length, 180_000);
    assert.equal(scene.sent.at(-1)!.atMs, 3_600_000 - 20);
  });

  it("has consecutive sequence numbers, timestamps of 20 ms, and one marker where it begins", () => {
    const scene = new Scene({});
    for (let mark = 0; mark < 10; mark++) scene.out.write(packet(mark));
    scene.clock.advance(1_000);
    assert.deepEqual(new Set(steps(scene.sent, ({ sequence }) => sequence, 2 ** 16)), new Set([1]));
    assert.deepEqual(new Set(steps(scene.spoken, ({ timestamp }) => timestamp, 2 ** 32)), new Set([960]));
    assert.deepEqual(
      scene.spoken.map(({ frame }) => frame.marker),
      [true, ...Array(9).fill(false)],
    );
    assert.ok(scene.sent.every(({ frame }) => frame.payloadType === 111 && frame.line === "0"));
  });

  it("ends in a little silence, then nothing is sent and no timer runs", () => {
    const scene = new Scene({});
    scene.out.write(packet(1));
    scene.clock.advance(10_000);
    assert.equal(scene.sent.length - scene.spoken.length, 5);
    assert.deepEqual(scene.events, ["played"]);
    assert.equal(scene.clock.timers, 0);
  });

  it("tells a pause by its timestamp, and begins after it with a marker", () => {
    const scene = new Scene({});
    scene.out.write(packet(1));
    scene.clock.advance(3_000);
    scene.out.write(packet(2));
    scene.clock.advance(1_000);
    const [first, second] = scene.spoken;
    assert.equal((second!.frame.timestamp - first!.frame.timestamp) >>> 0, 3_000 * 48);
    assert.equal(second!.frame.marker, true);
    assert.deepEqual(new Set(steps(scene.sent, ({ sequence }) => sequence, 2 ** 16)), new Set([1]));
  });

  it("waits for a writer in real time that is late now and then", () => {
    const scene = new Scene({});
    for (let mark = 0; mark < 50; mark++) {
      scene.out.write(packet(mark));
      scene.clock.advance(mark % 2 === 0 ? 35 : 5);
    }
    assert.deepEqual(scene.marks().length, 50);
    assert.equal(scene.sent.length, scene.spoken.length);
    assert.deepEqual(new Set(steps(scene.sent, ({ timestamp }) => timestamp, 2 ** 32)), new Set([960]));
  });

  it("catches up after a short stall of the process, and pauses after a long one", () => {
    const scene = new Scene({});
    for (let mark = 0; mark < 30; mark++) scene.out.write(packet(mark));
    scene.clock.advance(100);
    const before = scene.sent.length;
    scene.clock.stall(100);
    assert.equal(scene.sent.length, before + 5);
    scene.clock.stall(500);
    assert.equal(scene.sent.length, before + 6);
    const [last, first] = scene.sent.slice(-2);
    assert.ok((first!.frame.timestamp - last!.frame.timestamp) >>> 0 > 400 * 48);
    assert.equal(first!.frame.marker, true);
    scene.clock.advance(1_000);
    assert.equal(scene.marks().length, 30);
  });

  it("is cut off at once: what was queued is never heard, and silence follows without a gap", () => {
    const scene = new Scene({});
    for (let mark = 0; mark < 40; mark++) scene.out.write(packet(mark));
    scene.clock.advance(100);
    const heard = scene.spoken.length;
    assert.equal(scene.out.flush(), 800 - heard * 20);
    assert.equal(scene.out.queuedMs, 0);
    assert.equal(scene.out.playedMs, heard * 20);
    scene.clock.advance(1_000);
    assert.equal(scene.spoken.length, heard);
    assert.equal(scene.sent.length, heard + 5);
    assert.deepEqual(new Set(steps(scene.sent, ({ timestamp }) => timestamp, 2 ** 32)), new Set([960]));
    assert.deepEqual(scene.events, ["flushed", "drained"]);
  });

  it("can go on right after it was cut off", () => {
    const scene = new Scene({});
    for (let mark = 0; mark < 10; mark++) scene.out.write(packet(mark));
    scene.clock.advance(60);
    scene.out.flush();
    scene.out.write(packet(100));
    scene.clock.advance(1_000);
    assert.deepEqual(scene.marks(), [0, 1, 2, 3, 100]);
  });

  it("a flush with nothing to say does nothing", () => {
    const scene = new Scene({});
    assert.equal(scene.out.flush(), 0);
    scene.clock.advance(1_000);
    assert.deepEqual([scene.sent, scene.events], [[], []]);
  });

  it("is bounded: says when to wait, when to go on, and drops what does not fit", () => {
    const scene = new Scene({ maxQueuedMs: 200 });
    const answers = Array.from({ length: 12 }, (_, mark) => scene.out.write(packet(mark)));
    assert.deepEqual(answers, [true, true, true, true, true, ...Array(7).fill(false)]);
    assert.equal(scene.out.queuedMs, 200);
    assert.deepEqual(scene.events, ["dropped: full", "dropped: full"]);
    scene.clock.advance(2_000);
    assert.deepEqual(scene.marks(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(scene.events.slice(2), ["drained", "played"]);
  });

  it("is nobody's to hear in a call without a line for it", () => {
    const scene = new Scene({});
    scene.hasTarget = false;
    assert.equal(scene.out.write(packet(1)), false);
    scene.clock.advance(1_000);
    assert.deepEqual([scene.sent, scene.events, scene.clock.timers], [[], ["dropped: unheard"], 0]);
  });

  it("is over with the call", () => {
    const scene = new Scene({});
    for (let mark = 0; mark < 10; mark++) scene.out.write(packet(mark));
    scene.clock.advance(50);
    const heard = scene.sent.length;
    scene.out.close();
    assert.equal(scene.out.write(packet(1)), false);
    scene.clock.advance(1_000);
    assert.equal(scene.sent.length, heard);
    assert.equal(scene.clock.timers, 0);
  });

  it("can be written from within the news that all was heard", () => {
    let left = 3;
    const scene: Scene = new Scene({
      onPlayed: () => {
        if (left-- > 0) scene.out.write(packet(left));
      },
    });
    scene.out.write(packet(9));
    scene.clock.advance(1_000);
    assert.deepEqual(scene.marks(), [9, 2, 1, 0]);
  });

  it("keeps the time of other codecs by their clock, and refuses what is no packet of them", () => {
    const scene = new Scene({ codec: PCMU });
    for (let index = 0; index < 3; index++) scene.out.write(Buffer.alloc(160));
    scene.out.write(Buffer.alloc(0));
    scene.clock.advance(1_000);
    assert.deepEqual(
      steps(scene.sent, ({ timestamp }) => timestamp, 2 ** 32),
      [160, 160],
    );
    assert.deepEqual(scene.events, ["dropped: malformed", "played"]);
    assert.equal(scene.clock.timers, 0);
  });
});

describe("one timer", () => {
  it("serves all calls, and stops when none speaks", () => {
    const clock = new SimulatedClock();
    const ticker = new Ticker(clock);
    const scenes = Array.from({ length: 50 }, () => new Scene({ clock, ticker }));
    for (const { out } of scenes) for (let mark = 0; mark < 10; mark++) out.write(packet(mark));
    assert.equal(clock.timers, 1);
    clock.advance(1_000);
    assert.ok(scenes.every((scene) => scene.spoken.length === 10));
    assert.equal(clock.timers, 0);
  });

  it("goes on for the others when one call's encoder fails", () => {
    const clock = new SimulatedClock();
    const ticker = new Ticker(clock);
    const broken: OutQueue = {
      queuedMs: 20,
      push: () => ({ takenMs: 20, isWhole: true }),
      next: () => {
        throw new Error("no memory");
      },
      silence: () => undefined,
      clear: () => {},
    };
    const one = new Scene({ clock, ticker, queue: broken });
    const other = new Scene({ clock, ticker });
    one.out.write(packet(1));
    for (let mark = 0; mark < 10; mark++) other.out.write(packet(mark));
    clock.advance(1_000);
    assert.deepEqual(one.events, ["failed: no memory"]);
    assert.equal(other.spoken.length, 10);
  });
});

describe("samples", () => {
  for (const rate of [24_000, 48_000] as const) {
    it(`at ${rate} Hz are heard as the tone that they were, in pieces of any size`, async (test) => {
      const opus = await Opus.open(rate);
      test.after(() => opus.close());
      const scene = new Scene({ queue: new PcmQueue(opus), maxQueuedMs: 10_000 });
      const bytes = Buffer.from(tone(440, 1_000, rate).buffer);
      // Odd sizes too: a piece may end in the middle of a sample.
      for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7 + 3) % 1_999) {
        scene.out.write(bytes.subarray(at, at + size));
      }
      assert.equal(scene.out.queuedMs, 1_000);
      scene.clock.advance(2_000);
      assert.equal(scene.sent.length, 55);
      assert.equal(scene.out.playedMs, 1_000);
      const heard = scene.sent.map(({ frame }) => opus.decode(frame.payload));
      const middle = joined(heard.slice(5, 45));
      assert.ok(share(middle, 440, rate) > 0.95, `only ${share(middle, 440, rate)} of it is the tone`);
      assert.ok(power(middle) > 0.5 * power(tone(440, 800, rate)));
      assert.ok(power(joined(heard.slice(-3))) < 100, "it does not end in silence");
    });
  }

  it("written as Int16Array and as bytes are the same; the memory may be used again", async (test) => {
    const opus = await Opus.open(24_000);
    test.after(() => opus.close());
    const scene = new Scene({ queue: new PcmQueue(opus) });
    const samples = tone(440, 30, 24_000);
    scene.out.write(samples);
    samples.fill(0);
    assert.equal(scene.out.queuedMs, 30);
    scene.clock.advance(60);
    assert.equal(scene.spoken.length, 2);
    assert.equal(scene.out.playedMs, 30);
    const heard = joined(scene.spoken.map(({ frame }) => opus.decode(frame.payload)));
    assert.ok(power(heard) > 1_000);
  });

  it("that do not all fit are cut, not dropped as a whole", async (test) => {
    const opus = await Opus.open(24_000);
    test.after(() => opus.close());
    const scene = new Scene({ queue: new PcmQueue(opus), maxQueuedMs: 100 });
    assert.equal(scene.out.write(tone(440, 1_000, 24_000)), false);
    assert.equal(scene.out.queuedMs, 100);
    assert.deepEqual(scene.events, ["dropped: full"]);
  });
});
