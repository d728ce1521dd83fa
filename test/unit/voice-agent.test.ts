/** The parts of the example agent: when it hears speech, what it answers, and its voices. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { packageRoot } from "../../src/package-root.ts";
import { joined, power, tone } from "../kit/tone.ts";

const RATE = 24_000;
const load = (file: string) => import(new URL(file, packageRoot).href);
const { SpeechDetector } = await load("examples/voice-agent/speech-detector.mjs");
const { Conversation } = await load("examples/voice-agent/conversation.mjs");
const { mumble } = await load("examples/voice-agent/robot-voice.mjs");
const { findVoice } = await load("examples/voice-agent/voice.mjs");

const silence = (ms: number) => new Int16Array((ms * RATE) / 1000);
const noise = (ms: number, amplitude: number) =>
  Int16Array.from({ length: (ms * RATE) / 1000 }, (_, index) => Math.round(amplitude * Math.sin(index * index)));

describe("the speech detector", () => {
  const changes = (...parts: Int16Array[]) => {
    const detector = new SpeechDetector();
    const heard: string[] = [];
    for (const samples of parts) {
      for (let at = 0; at < samples.length; at += 480) {
        const change = detector.hear(samples.subarray(at, at + 480), RATE);
        if (change !== undefined) heard.push(change.type === "stopped" ? `stopped ${change.spokenMs}` : change.type);
      }
    }
    return heard;
  };
  const cases: readonly [what: string, parts: Int16Array[], heard: string[]][] = [
    ["silence", [silence(3_000)], []],
    ["a second of speech", [silence(500), tone(300, 1_000, RATE), silence(1_000)], ["started", "stopped 1000"]],
    ["a gap between words", [tone(300, 500, RATE), silence(400), tone(300, 500, RATE)], ["started"]],
    ["a click", [silence(500), tone(300, 40, RATE), silence(1_000)], []],
    ["a noisy room", [noise(20_000, 200)], []],
    [
      "speech in a noisy room",
      [noise(10_000, 200), tone(300, 1_000, RATE), noise(2_000, 200)],
      ["started", "stopped 1000"],
    ],
  ];
  for (const [what, parts, heard] of cases) it(`${what}: ${heard}`, () => assert.deepEqual(changes(...parts), heard));
});

describe("the conversation", () => {
  interface Event {
    readonly type: string;
    readonly transcript?: string;
    readonly delta?: string;
  }
  async function begin() {
    const sent: Event[] = [];
    const said: string[] = [];
    const voice = {
      name: "test",
      say: async (text: string) => {
        said.push(text);
        return tone(300, 250, RATE);
      },
    };
    const conversation = new Conversation(voice, (event: Event) => sent.push(event));
    const hear = async (samples: Int16Array) => {
      for (let at = 0; at < samples.length; at += 480) {
        const audio = Buffer.from(new Uint8Array(samples.slice(at, at + 480).buffer)).toString("base64");
        await conversation.take({ type: "input_audio_buffer.append", audio });
      }
    };
    await conversation.take({ type: "session.update", session: { voice: "low" } });
    return { conversation, sent, said, hear };
  }

  it("greets once, in the events of the Realtime API, with all of its voice", async () => {
    const { conversation, sent, said } = await begin();
    await conversation.take({ type: "session.update", session: {} });
    assert.deepEqual(
      sent.map(({ type }) => type),
      [
        "session.created",
        "session.updated",
        "response.created",
        "response.output_audio.delta",
        "response.output_audio.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.done",
        "session.updated",
      ],
    );
    const bytes = Buffer.concat(sent.map(({ delta = "" }) => Buffer.from(delta, "base64")));
    assert.deepEqual(bytes, Buffer.from(tone(300, 250, RATE).buffer));
    assert.equal(said.length, 1);
  });

  it("answers when the caller has finished, and knows when it was interrupted", async () => {
    const { conversation, sent, said, hear } = await begin();
    await hear(joined([silence(200), tone(300, 1_500, RATE), silence(700)]));
    assert.match(said[1]!, /^You spoke for 1\.5 seconds\./);
    await conversation.take({ type: "conversation.item.truncate", item_id: "item_2", audio_end_ms: 1_240 });
    await hear(joined([tone(300, 500, RATE), silence(700)]));
    assert.match(said[2]!, /^You interrupted me after 1\.2 seconds\. You spoke for 0\.5 seconds\./);
    const heard = sent.filter(({ type }) => type.startsWith("input_audio_buffer")).map(({ type }) => type);
    const once = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"];
    assert.deepEqual(heard, [...once, ...once]);
  });

  it("answers what is typed", async () => {
    const { conversation, said } = await begin();
    for (const text of ["Good morning", "What time is it?"]) {
      await conversation.take({ type: "conversation.item.create", item: { content: [{ type: "input_text", text }] } });
      await conversation.take({ type: "response.create" });
    }
    assert.equal(said[1], "You wrote: Good morning");
    assert.match(said[2]!, /^It is \d+:\d\d\.$/);
  });
});

describe("its voice", () => {
  it("of its own mumbles as long as the text is, neither silent nor clipped", () => {
    const samples: Int16Array = mumble("Good morning, robot.", RATE);
    assert.ok(samples.length > RATE && samples.length < 3 * RATE);
    assert.ok(power(samples) > 1e5);
    assert.ok(samples.every((sample) => Math.abs(sample) < 32_000));
    assert.equal(power(mumble("  ", RATE)) < 1, true);
  });

  it("of espeak-ng speaks, whatever the text looks like", async () => {
    const voice = await findVoice();
    assert.equal(voice.name, "espeak-ng");
    const samples: Int16Array = await voice.say("--help. Good morning.");
    assert.ok(samples.length > RATE / 2 && power(samples) > 1e5);
  });
});
