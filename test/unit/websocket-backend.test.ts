/** The websocket backend against a service that behaves, and against services that do not. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Opus } from "../../src/transceiver/audio/opus.ts";
import { type WebsocketBackendOptions, websocketBackend } from "../../src/transceiver/backends/realtime/websocket.ts";
import { TransceiverCounters } from "../../src/transceiver/counters.ts";
import { SERVICE_TIMING } from "../../src/transceiver/limits.ts";
import { BackendCallRig, EVENTS } from "../kit/backend-call.ts";
import { FakeService } from "../kit/fake-service.ts";
import { share, tone } from "../kit/tone.ts";
import { until } from "../kit/until.ts";

const RATE = 24_000;
const QUICK = { ...SERVICE_TIMING, retryMs: 5, retryMaxMs: 20, attempts: 3, closeMs: 50 };

const services: FakeService[] = [];
const rigs: BackendCallRig[] = [];

async function openService(port = 0): Promise<FakeService> {
  const service = await FakeService.open(port);
  services.push(service);
  return service;
}

function openCall(url: string, options: Partial<WebsocketBackendOptions> = {}): BackendCallRig {
  const counters = new TransceiverCounters();
  const backend = websocketBackend({ url, headers: {}, audio: "pcm16-24000", timing: QUICK, ...options }, counters);
  const rig = new BackendCallRig(backend, { counters });
  rigs.push(rig);
  return rig;
}

async function open(
  options: Partial<WebsocketBackendOptions> = {},
): Promise<{ service: FakeService; rig: BackendCallRig }> {
  const service = await openService();
  const rig = openCall(service.url, options);
  await service.connected();
  rig.link.channelOpened(EVENTS);
  return { service, rig };
}

/** So many packets of the caller's voice. */
async function speak(rig: BackendCallRig, packets: number): Promise<void> {
  const opus = await Opus.open(RATE);
  for (let index = 0; index < packets; index++) {
    rig.hear(opus.encode(new Uint8Array(tone(440, 20, RATE, index * 20).buffer)));
    rig.clock.advance(20);
  }
  opus.close();
}

const wait = (what: string, condition: () => boolean) => until(condition, () => what);
const isTold = (rig: BackendCallRig, type: string) => rig.events.some((event) => event.type === type);

afterEach(async () => {
  for (const rig of rigs.splice(0)) rig.link.ended("stopped");
  for (const service of services.splice(0)) await service.close();
});

describe("a call with a service", () => {
  it("opens its own connection with the headers, and asks for the session that is wanted", async () => {
    const { service, rig } = await open({
      headers: { Authorization: "Bearer sk-1", "X-Team": "voice" },
      session: { instructions: "Be brief.", audio: { output: { voice: "low", format: { type: "audio/pcmu" } } } },
    });
    const [{ url, headers }] = service.requests as [FakeService["requests"][0]];
    assert.equal(url, "/v1/realtime?model=tiny");
    assert.deepEqual([headers.authorization, headers["x-team"]], ["Bearer sk-1", "voice"]);
    assert.deepEqual(service.of("session.update"), [
      {
        type: "session.update",
        session: {
          type: "realtime",
          instructions: "Be brief.",
          audio: {
            input: { format: { type: "audio/pcm", rate: 24_000 } },
            output: { voice: "low", format: { type: "audio/pcm", rate: 24_000 } },
          },
        },
      },
    ]);
    assert.deepEqual(rig.counters.services, { connecting: 0, open: 1, waiting: 0 });
    rig.link.ended("hang-up");
    await wait("the connection closes", () => service.connections[0]!.readyState === 3);
    assert.deepEqual(rig.counters.services, { connecting: 0, open: 0, waiting: 0 });
  });

  it("gives the service the caller's voice as samples", async () => {
    const { service, rig } = await open();
    await speak(rig, 25);
    const appended = await service.got("input_audio_buffer.append", 25);
    const pieces = appended.map(({ audio }) => Buffer.from(String(audio), "base64"));
    assert.ok(pieces.every((piece) => piece.length === 960));
    const bytes = Buffer.concat(pieces.slice(5));
    const heard = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
    assert.ok(share(heard, 440, RATE) > 0.95);
  });

  it("gives it packets untouched where it wants those, and plays its packets", async () => {
    const { service, rig } = await open({ audio: "packets" });
    const packet = Buffer.from([0xf8, 1, 2, 3]);
    rig.hear(packet);
    rig.hear(Buffer.from("video"), "video");
    const [appended] = await service.got("input_audio_buffer.append");
    assert.deepEqual(Buffer.from(String(appended!.audio), "base64"), packet);
    service.send({ type: "response.audio.delta", delta: packet.toString("base64") });
    await wait("the packet is played", () => {
      rig.clock.advance(20);
      return rig.frames.length > 0;
    });
    assert.deepEqual(rig.frames[0]!.payload, packet);
    assert.equal(service.of("input_audio_buffer.append").length, 1);
  });

  for (const type of ["response.output_audio.delta", "response.audio.delta"]) {
    it(`plays what it says in ${type}, at the pace of speech`, async () => {
      const { service, rig } = await open();
      service.send({ type, delta: Buffer.from(tone(440, 500, RATE).buffer).toString("base64") });
      await wait("it begins", () => isTold(rig, "output_audio_buffer.started"));
      rig.clock.advance(200);
      assert.ok(rig.frames.length >= 9 && rig.frames.length <= 11, `${rig.frames.length} packets in 200 ms`);
      rig.clock.advance(2_000);
      assert.equal(rig.frames.length, 30);
      assert.deepEqual(
        rig.events.map((event) => event.type),
        ["output_audio_buffer.started", "output_audio_buffer.stopped"],
      );
    });
  }

  it("passes every other event on, both ways, and no audio to the data channel", async () => {
    const { service, rig } = await open();
    const fromService = { type: "response.output_audio_transcript.delta", delta: "Hello", more: { deep: [1] } };
    const fromClient = { type: "session.update", session: { voice: "high" } };
    service.say(tone(440, 20, RATE));
    service.send(fromService);
    rig.link.message(EVENTS, JSON.stringify(fromClient));
    await wait("the event arrives", () => isTold(rig, fromService.type));
    assert.deepEqual(rig.events, [{ type: "output_audio_buffer.started", response_id: "resp_1" }, fromService]);
    await service.got("session.update", 2);
    assert.deepEqual(service.of("session.update")[1], fromClient);
  });

  it("keeps events for a client whose channel is not open yet", async () => {
    const service = await openService();
    const rig = openCall(service.url);
    await service.connected();
    service.send({ type: "session.created" });
    service.send({ type: "session.updated" });
    await sleep(20);
    rig.link.channelOpened(EVENTS);
    await wait("both arrive", () => rig.messages.length === 2);
    assert.deepEqual(
      rig.events.map(({ type }) => type),
      ["session.created", "session.updated"],
    );
  });

  it("takes a typed line for something said, and sends binary messages back", async () => {
    const { service, rig } = await open();
    rig.link.message(EVENTS, "What time is it?");
    await service.got("response.create");
    assert.deepEqual(service.of("conversation.item.create"), [
      {
        type: "conversation.item.create",
        item: { type: "message", role: "user", content: [{ type: "input_text", text: "What time is it?" }] },
      },
    ]);
    rig.link.message(EVENTS, Buffer.from([1, 2]));
    assert.deepEqual(rig.messages, [Buffer.from([1, 2])]);
  });
});

describe("an interruption", () => {
  const interruptions: readonly [what: string, interrupt: (service: FakeService, rig: BackendCallRig) => void][] = [
    ["the service hears speech", (service) => service.send({ type: "input_audio_buffer.speech_started" })],
    ["the client cancels", (_, rig) => rig.link.message(EVENTS, '{"type":"response.cancel"}')],
    ["the client clears the buffer", (_, rig) => rig.link.message(EVENTS, '{"type":"output_audio_buffer.clear"}')],
  ];
  for (const [what, interrupt] of interruptions) {
    it(`when ${what}: silence at once, and the service hears how much was heard`, async () => {
      const { service, rig } = await open();
      service.say(tone(440, 3_000, RATE));
      await wait("it begins", () => isTold(rig, "output_audio_buffer.started"));
      rig.clock.advance(1_000);
      const spoken = rig.frames.length;
      interrupt(service, rig);
      const [truncated] = await service.got("conversation.item.truncate");
      rig.clock.advance(2_000);
      assert.deepEqual(truncated, {
        type: "conversation.item.truncate",
        item_id: "item_1",
        content_index: 0,
        audio_end_ms: spoken * 20,
      });
      assert.equal(rig.frames.length, spoken + 5);
      assert.equal(rig.counters.count.audio_out_flushed, 1);
      assert.ok(isTold(rig, "output_audio_buffer.cleared"));
      assert.ok(!isTold(rig, "output_audio_buffer.stopped"));
      assert.equal(service.of("response.cancel").length, what === "the client cancels" ? 1 : 0);
      assert.equal(service.of("output_audio_buffer.clear").length, 0);
    });
  }

  it("drops what of that response is still on its way, and plays the next", async () => {
    const { service, rig } = await open();
    service.say(tone(440, 1_000, RATE));
    await wait("it begins", () => isTold(rig, "output_audio_buffer.started"));
    rig.clock.advance(100);
    service.send({ type: "input_audio_buffer.speech_started" });
    service.say(tone(440, 1_000, RATE));
    service.send({ type: "marker.1" });
    await wait("all has arrived", () => isTold(rig, "marker.1"));
    const spoken = rig.frames.length;
    rig.clock.advance(1_000);
    assert.equal(rig.frames.length, spoken + 5);
    service.say(tone(440, 100, RATE), { response: "resp_2", item: "item_2" });
    service.send({ type: "marker.2" });
    await wait("the next has arrived", () => isTold(rig, "marker.2"));
    rig.clock.advance(1_000);
    assert.equal(rig.frames.length, spoken + 5 + 5 + 5);
  });

  it("counts what was heard of each item apart", async () => {
    const { service, rig } = await open();
    service.say(tone(440, 300, RATE), { item: "item_1" });
    service.say(tone(440, 400, RATE), { item: "item_2" });
    service.say(tone(440, 400, RATE), { item: "item_2" });
    service.say(tone(440, 400, RATE), { item: "item_3" });
    service.send({ type: "marker" });
    await wait("all has arrived", () => isTold(rig, "marker"));
    rig.clock.advance(595);
    rig.link.message(EVENTS, '{"type":"response.cancel"}');
    await service.got("conversation.item.truncate", 2);
    assert.deepEqual(
      service.of("conversation.item.truncate").map(({ item_id, audio_end_ms }) => [item_id, audio_end_ms]),
      [
        ["item_2", 300],
        ["item_3", 0],
      ],
    );
  });

  it("of nothing changes nothing", async () => {
    const { service, rig } = await open();
    service.say(tone(440, 100, RATE));
    await wait("it begins", () => isTold(rig, "output_audio_buffer.started"));
    rig.clock.advance(2_000);
    service.send({ type: "input_audio_buffer.speech_started" });
    await wait("it arrives", () => isTold(rig, "input_audio_buffer.speech_started"));
    rig.link.message(EVENTS, '{"type":"response.cancel"}');
    await service.got("response.cancel");
    assert.equal(service.of("conversation.item.truncate").length, 0);
    assert.ok(!isTold(rig, "output_audio_buffer.cleared"));
  });
});

describe("a service that misbehaves", () => {
  it("and goes away is connected to again, with its session; what was said meanwhile is not lost", async () => {
    const { service, rig } = await open();
    service.connections[0]!.terminate();
    await wait("the loss is noticed", () => rig.counters.count.service_retries > 0);
    await speak(rig, 10);
    rig.link.message(EVENTS, '{"type":"response.create"}');
    await service.connected(2);
    await service.got("input_audio_buffer.append", 10);
    await service.got("response.create");
    assert.equal(rig.counters.count.service_connections, 2);
    assert.equal(
      service.received.at(service.received.findLastIndex(({ type }) => type === "session.update"))!.type,
      "session.update",
    );
    assert.deepEqual(rig.failures, []);
  });

  it("and is not there is tried a few times; then the call ends, with a reason", async () => {
    const service = await openService();
    const { url } = service;
    await service.close();
    services.pop();
    const rig = openCall(url);
    assert.match(await rig.failed(), /^the service cannot be used: connect ECONNREFUSED .*See --backend-url/);
    assert.equal(rig.counters.count.service_retries, QUICK.attempts);
    assert.deepEqual(rig.counters.services, { connecting: 0, open: 0, waiting: 0 });
  });

  it("and closes every connection at once is not called for ever", async () => {
    const service = await openService();
    const rig = openCall(service.url);
    const closer = setInterval(() => service.connections.at(-1)?.close(4_001), 1);
    assert.match(await rig.failed(), /it closed the connection, code 4001/);
    clearInterval(closer);
    assert.equal(service.requests.length, 1 + QUICK.attempts);
  });

  for (const status of [401, 403, 404]) {
    it(`and answers ${status} is not asked again`, async () => {
      const service = await openService();
      service.refuseWith = status;
      const rig = openCall(service.url);
      assert.match(await rig.failed(), new RegExp(`it answered ${status}`));
      assert.equal(service.requests.length, 1);
    });
  }

  for (const status of [429, 503]) {
    it(`and answers ${status} is asked again`, async () => {
      const service = await openService();
      service.refuseWith = status;
      const rig = openCall(service.url);
      await wait("two requests", () => service.requests.length >= 2);
      service.refuseWith = undefined;
      await service.connected();
      assert.deepEqual(rig.failures, []);
    });
  }

  it("and never answers the handshake is given up", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    const rig = openCall(`ws://127.0.0.1:${port}`, { timing: { ...QUICK, connectMs: 30, attempts: 1 } });
    assert.match(await rig.failed(), /Opening handshake has timed out/);
    silent.close();
  });

  it("and falls silent is noticed by its missing pongs", async () => {
    const service = await openService();
    const rig = openCall(service.url, { timing: { ...QUICK, pingMs: 40 } });
    await service.connected();
    // What it reads is pings; not reading them is as good as being gone.
    service.connections[0]!.pause();
    await service.connected(2);
    assert.deepEqual(rig.failures, []);
  });

  it("and says nothing at all costs nothing", async () => {
    const { rig } = await open();
    await speak(rig, 50);
    rig.clock.advance(60_000);
    assert.deepEqual([rig.failures, rig.frames, rig.messages], [[], [], []]);
  });

  it("and does not keep up loses the oldest audio, within bounds, and nobody waits", async () => {
    const { service, rig } = await open({ audio: "packets" });
    service.connections[0]!.pause();
    // Large packets, so that the kernel's buffers are full soon.
    const packet = Buffer.alloc(60_000, 0xf8);
    await wait("audio is dropped", () => {
      for (let index = 0; index < 20; index++) rig.hear(packet);
      return rig.counters.count.service_drop_audio > 50;
    });
    assert.deepEqual(rig.failures, []);
    service.connections[0]!.resume();
    const { length } = service.of("input_audio_buffer.append");
    await wait("what was held arrives", () => {
      rig.hear(Buffer.from([0xf8]));
      return service.of("input_audio_buffer.append").length > length + 50;
    });
  });

  const nonsense: readonly [what: string, text: string][] = [
    ["no JSON", "{"],
    ["an array", "[1]"],
    ["null", "null"],
    ["an event without a type", '{"typ":"x"}'],
    ["a delta that is no string", '{"type":"response.audio.delta","delta":{"a":1}}'],
    ["a delta that is no base64", '{"type":"response.audio.delta","delta":"%%%"}'],
    ["a delta that is empty", '{"type":"response.audio.delta","delta":""}'],
  ];
  for (const [what, text] of nonsense) {
    it(`and sends ${what} is heard no less for it`, async () => {
      const { service, rig } = await open();
      service.send(text);
      service.send({ type: "marker" });
      await wait("the next event arrives", () => isTold(rig, "marker"));
      assert.equal(rig.counters.count.service_drop_event, 1);
      assert.deepEqual(rig.failures, []);
    });
  }

  it("and sends binary messages is not understood", async () => {
    const { service, rig } = await open();
    service.connections[0]!.send(Buffer.from("{}"));
    service.send({ type: "marker" });
    await wait("the next event arrives", () => isTold(rig, "marker"));
    assert.equal(rig.counters.count.service_drop_event, 1);
  });

  it("and sends events with anything in any place is survived", async () => {
    const { service, rig } = await open();
    const types = [
      "response.output_audio.delta",
      "response.audio.delta",
      "input_audio_buffer.speech_started",
      "error",
      "",
    ];
    const values = [
      undefined,
      null,
      true,
      -1,
      1e308,
      "",
      "x",
      "AAAA",
      "\u0000",
      [],
      {},
      [[]],
      { type: "response.done" },
    ];
    let random = 7;
    const pick = <T>(list: readonly T[]): T => {
      random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
      return list[(random >>> 8) % list.length]!;
    };
    const fields = ["delta", "response_id", "item_id", "content_index", "output_index", "session", "error"];
    for (let count = 0; count < 2_000; count++) {
      const event = Object.fromEntries(fields.map((field) => [field, pick(values)]));
      service.send({ ...event, type: pick(types) });
    }
    service.say(tone(440, 100, RATE), { response: "resp_last" });
    service.send({ type: "marker" });
    await wait("the last event arrives", () => isTold(rig, "marker"));
    rig.clock.advance(5_000);
    assert.deepEqual(rig.failures, []);
    assert.ok(rig.counters.count.service_drop_event > 100);
    assert.ok(rig.frames.length >= 5);
  });

  it("and sends a message beyond all bounds loses its connection, not the call", async () => {
    const { service, rig } = await open();
    service.send({ type: "x", filler: "x".repeat(2 << 20) });
    await service.connected(2);
    assert.ok(!isTold(rig, "x"));
    assert.deepEqual(rig.failures, []);
  });

  it("and says more than the queue holds is cut there", async () => {
    const { service, rig } = await open();
    for (let index = 0; index < 30; index++) service.say(tone(440, 500, RATE));
    service.send({ type: "marker" });
    await wait("all has arrived", () => isTold(rig, "marker"));
    assert.equal(rig.counters.count.audio_out_drop_full, 10);
    rig.clock.advance(60_000);
    assert.equal(rig.frames.length, 500 + 5);
  });
});

describe("a client that misbehaves", () => {
  it("by sending too much is not passed on", async () => {
    const { service, rig } = await open();
    rig.link.message(EVENTS, JSON.stringify({ type: "x", filler: "x".repeat(300_000) }));
    rig.link.message(EVENTS, '{"type":"marker"}');
    await service.got("marker");
    assert.equal(service.of("x").length, 0);
    assert.equal(rig.counters.count.service_drop_client_event, 1);
  });

  it("by flooding a service that is away holds no more than a few events", async () => {
    const service = await openService();
    service.refuseWith = 503;
    const rig = openCall(service.url, { timing: { ...QUICK, attempts: 1_000 } });
    await wait("a refusal", () => service.requests.length > 0);
    for (let index = 0; index < 1_000; index++) rig.link.message(EVENTS, '{"type":"marker"}');
    assert.equal(rig.counters.count.service_drop_event, 1_000 - 64);
  });
});
