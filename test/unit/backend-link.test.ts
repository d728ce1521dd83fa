/** One call's backend: what it gets, what it can do, and that its mistakes and its slowness are its own. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Opus } from "../../src/transceiver/audio/opus.ts";
import type { AudioFrame, Backend, BackendCall, BackendSession } from "../../src/transceiver/backends/backend.ts";
import { echoBackend } from "../../src/transceiver/backends/echo.ts";
import { BackendCallRig, EVENTS } from "../kit/backend-call.ts";
import { power, share, tone } from "../kit/tone.ts";
import { until } from "../kit/until.ts";

const packet = Buffer.from([0xf8, 0xff, 0xfe]);
const withSession = (session: BackendSession, audio: Backend["audio"] = "packets"): Backend => ({
  name: "test",
  audio,
  open: () => session,
});

describe("a call's backend", () => {
  it("echo sends packets back untouched", async () => {
    const rig = new BackendCallRig(echoBackend);
    await turn();
    rig.hear(packet);
    rig.hear(Buffer.from("video"), "video");
    rig.link.message(EVENTS, "text");
    assert.deepEqual(
      rig.frames.map(({ payload, sequence, kind }) => [payload, sequence, kind]),
      [
        [packet, 101, "audio"],
        [Buffer.from("video"), 102, "video"],
      ],
    );
    assert.deepEqual(rig.messages, ["text"]);
    rig.link.ended("hang-up");
  });

  it("that asks for samples gets those, and what it says is encoded and paced", async () => {
    const heard: AudioFrame[] = [];
    const backend: Backend = {
      name: "samples",
      audio: "pcm16-48000",
      open: (call) => ({
        audio: (frame) => {
          heard.push(frame);
          call.audio.write(frame.samples);
        },
      }),
    };
    const rig = new BackendCallRig(backend);
    const opus = await Opus.open(48_000);
    await turn();
    for (let index = 0; index < 25; index++) {
      rig.hear(opus.encode(new Uint8Array(tone(440, 20, 48_000, index * 20).buffer)));
      rig.clock.advance(20);
    }
    assert.equal(heard.length, 25);
    assert.ok(share(heard[20]!.samples, 440, 48_000) > 0.9);
    assert.ok(rig.frames.length >= 24);
    const said = rig.frames.map(({ payload }) => opus.decode(payload));
    assert.ok(share(said[20]!, 440, 48_000) > 0.9 && power(said[20]!) > 1e6);
    assert.equal(rig.counters.count.audio_in_received, 25);
    assert.equal(rig.counters.count.audio_out_sent, rig.frames.length);
    opus.close();
    rig.link.ended("hang-up");
  });

  it("that asks for samples still gets video as packets", async () => {
    const kinds: string[] = [];
    const rig = new BackendCallRig(withSession({ frame: ({ kind }) => void kinds.push(kind) }, "pcm16-24000"));
    await until(
      () => {
        rig.hear(Buffer.from("video"), "video");
        rig.hear(packet);
        return kinds.length > 0;
      },
      () => "no frame",
    );
    assert.deepEqual(new Set(kinds), new Set(["video"]));
    rig.link.ended("hang-up");
  });

  it("knows the call: its id, lines, where the client is, and why it ended", async () => {
    let call: BackendCall | undefined;
    const ends: string[] = [];
    const rig = new BackendCallRig({
      name: "curious",
      open: (given) => {
        call = given;
        return { ended: (reason) => void ends.push(reason) };
      },
    });
    await turn();
    assert.equal(call!.id, "call-1");
    assert.equal(call!.remote, "203.0.113.7:50000");
    assert.equal(call!.lines[0]!.codecs[0]!.mimeType, "audio/opus");
    assert.equal(call!.signal.aborted, false);
    rig.link.ended("consent-expired");
    rig.link.ended("stopped");
    assert.equal(call!.signal.reason, "consent-expired");
    assert.deepEqual(ends, ["consent-expired"]);
    assert.equal(call!.audio.write(packet), false);
  });

  it("may open slowly: messages wait for it, media does not", async () => {
    let open = (_session: BackendSession) => {};
    const told: string[] = [];
    const rig = new BackendCallRig({
      name: "slow",
      open: () =>
        new Promise((resolve) => {
          open = resolve;
        }),
    });
    await turn();
    rig.link.channelOpened(EVENTS);
    rig.link.message(EVENTS, "hello");
    rig.hear(packet);
    open({
      frame: () => void told.push("frame"),
      channelOpened: ({ label }) => void told.push(`opened ${label}`),
      message: (_channel, data) => void told.push(`message ${data}`),
    });
    await turn();
    rig.hear(packet);
    assert.deepEqual(told, ["opened events", "message hello", "frame"]);
    rig.link.ended("hang-up");
  });

  it("keeps a bounded number of messages for one that does not open", async () => {
    const rig = new BackendCallRig({ name: "never", open: () => new Promise(() => {}) });
    for (let index = 0; index < 1_000; index++) rig.link.message(EVENTS, "hello");
    assert.equal(rig.counters.count.backend_drop_busy, 1_000 - 64);
    rig.link.ended("hang-up");
  });

  const mistakes: readonly [what: string, backend: Backend][] = [
    [
      "throws when it opens",
      {
        name: "bad",
        open: () => {
          throw new Error("sorry");
        },
      },
    ],
    ["rejects when it opens", { name: "bad", open: () => Promise.reject(new Error("sorry")) }],
    [
      "throws when it is told something",
      withSession({
        frame: () => {
          throw new Error("sorry");
        },
      }),
    ],
    ["rejects later", withSession({ frame: () => turn().then(() => Promise.reject(new Error("sorry"))) })],
    [
      "throws in the middle of several frames of samples",
      withSession(
        {
          audio: () => {
            throw new Error("sorry");
          },
        },
        "pcm16-24000",
      ),
    ],
  ];
  for (const [what, backend] of mistakes) {
    it(`that ${what} ends its call with that error`, async () => {
      const rig = new BackendCallRig(backend);
      await turn();
      for (const sequence of [1, 30, 31, 32, 33]) {
        const header = { line: "0", kind: "audio", payloadType: 111, marker: false } as const;
        rig.link.frame({ ...header, sequence, timestamp: sequence * 960, payload: packet });
      }
      assert.equal(await rig.failed(), "sorry");
      rig.hear(packet);
      await turn();
      assert.equal(rig.failures.length, 1);
      assert.equal(rig.counters.count.backend_failures, 1);
    });
  }

  it("that is slow misses media, and holds nothing up", async () => {
    let finish = () => {};
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    let frames = 0;
    const rig = new BackendCallRig(
      withSession({
        frame: () => {
          frames++;
          return slow;
        },
      }),
    );
    await turn();
    for (let index = 0; index < 80; index++) rig.hear(packet);
    assert.equal(frames, 50);
    assert.equal(rig.counters.count.backend_drop_busy, 30);
    finish();
    await turn();
    rig.hear(packet);
    assert.equal(frames, 51);
    rig.link.ended("hang-up");
  });

  it("frees its codecs: thousands of calls leave no memory behind", async () => {
    const backend = withSession({}, "pcm16-24000");
    const open = async () => {
      const rig = new BackendCallRig(backend);
      await turn();
      rig.hear(packet);
      rig.link.ended("hang-up");
    };
    for (let index = 0; index < 500; index++) await open();
    const before = process.memoryUsage().arrayBuffers + process.memoryUsage().external;
    for (let index = 0; index < 2_000; index++) await open();
    const grownBytes = process.memoryUsage().arrayBuffers + process.memoryUsage().external - before;
    // 2,000 codecs that are not freed take some 50 MB.
    assert.ok(grownBytes < 8_000_000, `${grownBytes} bytes more`);
  });
});
