/** Backends in a whole system as an operator starts it: relay, transceiver process, a client, and the service or module. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Opus } from "../../src/transceiver/audio/opus.ts";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { FakeService } from "../kit/fake-service.ts";
import { joined, power, share, tone } from "../kit/tone.ts";
import { until } from "../kit/until.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const RATE = 24_000;

async function call(service: EarshotProcess): Promise<WeriftClient> {
  const client = new WeriftClient();
  const response = await fetch(`${service.url}/v1/realtime/calls`, {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: await client.offer(),
  });
  assert.equal(response.status, 201);
  await client.accept(await response.text());
  await client.connected();
  return client;
}

/** A tone, in real time, until `isEnough`. */
async function speakUntil(client: WeriftClient, opus: Opus, isEnough: () => boolean): Promise<void> {
  let packets = 0;
  const timer = setInterval(() => {
    const payload = opus.encode(new Uint8Array(tone(440, 20, RATE, packets * 20).buffer));
    client.sendAudio({ payload, timestamp: packets * 960 });
    packets++;
  }, 20);
  try {
    await until(isEnough, () => `after ${packets} packets not enough has come`);
  } finally {
    clearInterval(timer);
  }
}

describe("the websocket backend", () => {
  let service: FakeService;
  let earshot: EarshotProcess;
  let opus: Opus;
  before(async () => {
    service = await FakeService.open();
    opus = await Opus.open(RATE);
    process.env.EARSHOT_BACKEND_KEY = "sk-test-secret";
    const listen = ["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--log-level", "debug"];
    earshot = await EarshotProcess.start("start", ...listen, "--backend", "websocket", "--backend-url", service.url);
    delete process.env.EARSHOT_BACKEND_KEY;
  });
  after(async () => {
    opus?.close();
    await earshot?.stop();
    await service?.close();
  });

  it("carries a conversation: the service hears the caller, the caller hears the service, and may interrupt", async () => {
    const client = await call(earshot);
    await service.connected();
    assert.equal(service.requests[0]!.headers.authorization, "Bearer sk-test-secret");

    await speakUntil(client, opus, () => service.of("input_audio_buffer.append").length >= 25);
    const appended = service.of("input_audio_buffer.append").slice(5);
    const bytes = Buffer.concat(appended.map(({ audio }) => Buffer.from(String(audio), "base64")));
    const heard = new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    assert.ok(share(heard, 440, RATE) > 0.9, "the service does not hear the tone");

    service.say(tone(700, 5_000, RATE));
    await until(
      () => client.received.length >= 25,
      () => `the client hears ${client.received.length} packets`,
    );
    const samples = joined(client.received.slice(5, 25).map(({ payload }) => opus.decode(payload)));
    assert.ok(share(samples, 700, RATE) > 0.9 && power(samples) > 1e6, "the client does not hear the tone");

    client.channel!.send('{"type":"response.cancel"}');
    const [truncated] = await service.got("conversation.item.truncate");
    assert.ok(Number(truncated!.audio_end_ms) >= 500 && Number(truncated!.audio_end_ms) < 4_000);
    await until(
      () => client.messages.some((message) => String(message).includes("output_audio_buffer.cleared")),
      () => "the client is not told",
    );
    const metrics = await earshot.metrics();
    assert.equal(metrics.sum("earshot_transceiver_services", 'state="open"'), 1);
    assert.equal(metrics.sum("earshot_transceiver_audio_out_flushed_total"), 1);
    await client.close();
    await until(
      () => service.connections[0]!.readyState === 3,
      () => "the service's connection outlives the call",
    );
    assert.doesNotMatch(earshot.log, /sk-test-secret|model=tiny/);
  });
});

describe("the module backend", () => {
  const folder = mkdtempSync(join(tmpdir(), "earshot-module-"));
  let earshot: EarshotProcess;
  before(async () => {
    const file = join(folder, "fragile.mjs");
    writeFileSync(
      file,
      `export default {
        name: "fragile",
        open: (call) => ({
          message: (channel, data) => {
            if (data === "timer") setTimeout(() => { throw new Error("a timer threw"); }, 1);
            else if (data === "promise") void Promise.reject(new Error("a promise was rejected"));
            else call.sendMessage(channel.id, data);
          },
        }),
      };`,
    );
    const listen = ["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    earshot = await EarshotProcess.start("start", ...listen, "--backend", "module", "--backend-module", file);
  });
  after(async () => {
    await earshot?.stop();
    rmSync(folder, { recursive: true });
  });

  for (const what of ["timer", "promise"]) {
    it(`that lets a ${what} fail unheard loses that call, not the process with the others`, async () => {
      const [bad, good] = await Promise.all([call(earshot), call(earshot)]);
      const failures = (await earshot.metrics()).sum("earshot_transceiver_backend_failures_total");
      bad.channel!.send(what);
      await until(
        () => bad.channel!.readyState === "closed",
        () => "its call goes on",
      );
      good.channel!.send("still there?");
      await until(
        () => good.messages.length === 1,
        () => "the other call has gone too",
      );
      const metrics = await earshot.metrics();
      assert.equal(metrics.sum("earshot_transceiver_backend_failures_total"), failures + 1);
      assert.equal(metrics.sum("earshot_front_child_restarts"), 0);
      assert.match(earshot.log, what === "timer" ? /a timer threw/ : /a promise was rejected/);
      await bad.close();
      await good.close();
    });
  }

  it("that cannot be loaded stops the start, with what is wrong", async () => {
    const file = join(folder, "none.mjs");
    const start = EarshotProcess.start(
      "start",
      "--http",
      "127.0.0.1:0",
      "--backend",
      "module",
      "--backend-module",
      file,
    );
    await assert.rejects(start, /BACKEND_MODULE: .*none\.mjs cannot be loaded/);
  });
});
