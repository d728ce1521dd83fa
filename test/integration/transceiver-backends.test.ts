/** What a backend gets from its calls, and what it may do to them. */

import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { call, closeClients, closeRig, openRig } from "../kit/transceiver-rig.ts";
import { until } from "../kit/until.ts";

afterEach(closeClients);

describe("backends", () => {
  test("one that throws ends its call, and only that", async () => {
    const rig = await openRig({
      backend: {
        name: "faulty",
        open: (owner) => ({
          frame: () => {},
          channelOpened: () => {},
          channelClosed: () => {},
          message: (channel, data) => {
            if (data === "throw") throw new Error("the backend's own bug");
            owner.sendMessage(channel.id, data);
          },
          keyframeRequested: () => {},
          ended: () => {},
        }),
      },
    });
    const [bad, good] = await Promise.all([call(rig), call(rig)]);
    bad.client.channel!.send("throw");
    await until(
      () => rig.ended.includes(bad.callId),
      () => "the call goes on",
    );
    good.client.channel!.send("fine");
    await until(
      () => good.client.messages.length === 1,
      () => "the other call is silent",
    );
    assert.deepEqual(rig.ended, [bad.callId]);
    await closeRig(rig);
  });

  test("gets what was negotiated, and an empty message in either form goes through", async () => {
    const lines: unknown[] = [];
    const rig = await openRig({
      backend: {
        name: "probe",
        open: (owner) => {
          lines.push(owner.lines.map(({ line, kind, sends, codecs }) => [line, kind, sends, codecs[0]?.mimeType]));
          return {
            frame: () => {},
            channelOpened: () => {},
            channelClosed: () => {},
            message: (channel) => {
              owner.sendMessage(channel.id, "");
              owner.sendMessage(channel.id, Buffer.alloc(0));
              owner.sendMessage(channel.id, "end");
            },
            keyframeRequested: () => {},
            ended: () => {},
          };
        },
      },
    });
    const { client } = await call(rig);
    client.channel!.send("go");
    await until(
      () => client.messages.length === 3,
      () => `${client.messages.length} messages`,
    );
    assert.deepEqual(client.messages, ["", Buffer.alloc(0), "end"]);
    assert.deepEqual(lines, [[["0", "audio", true, "audio/opus"]]]);
    await closeRig(rig);
  });

  test("hears how loud the client says that it is, and where the client is", async () => {
    const heard: unknown[] = [];
    const rig = await openRig({
      backend: {
        name: "listener",
        open: (owner) => ({
          frame: ({ level }) => {
            heard.push(level, owner.remote);
          },
        }),
      },
    });
    const ID = 9;
    const transform = (offer: string) =>
      offer.replace(/^(m=audio .*\r\n)/m, `$1a=extmap:${ID} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n`);
    const { client } = await call(rig, { transform });
    const payload = Buffer.from("voice");
    client.sendAudio({ payload, timestamp: 960, level: { id: ID, payload: Buffer.from([0x80 | 33]) } });
    client.sendAudio({ payload, timestamp: 1920, level: { id: ID, payload: Buffer.from([127]) } });
    client.sendAudio({ payload, timestamp: 2880 });
    await until(
      () => heard.length === 6,
      () => `${heard.length / 2} frames`,
    );
    const { address, port } = client.reachedAt;
    const remote = `${address}:${port}`;
    assert.deepEqual(heard, [
      { levelDbov: -33, hasVoice: true },
      remote,
      { levelDbov: -127, hasVoice: false },
      remote,
      undefined,
      remote,
    ]);
    await closeRig(rig);
  });

  test("may send as soon as it hears of a channel", async () => {
    const rig = await openRig({
      backend: {
        name: "greeter",
        open: (owner) => ({
          channelOpened: ({ id, label }) => {
            owner.sendMessage(id, `hello, ${label}`);
          },
        }),
      },
    });
    const { client } = await call(rig);
    await until(
      () => client.messages.length === 1,
      () => "no greeting",
    );
    assert.deepEqual(client.messages, ["hello, words"]);
    await closeRig(rig);
  });

  test("may keep frames and messages: what comes later does not change them", async () => {
    const frames: { readonly timestamp: number; readonly payload: Buffer }[] = [];
    const messages: (string | Buffer)[] = [];
    const rig = await openRig({
      backend: {
        name: "collector",
        open: () => ({
          frame: ({ timestamp, payload }) => void frames.push({ timestamp, payload }),
          message: (_channel, data) => void messages.push(data),
        }),
      },
    });
    const { client } = await call(rig);
    const marks = Array.from({ length: 300 }, (_, index) => Buffer.from(`${index}`.padEnd(100, ".")));
    for (const [index, mark] of marks.entries()) {
      client.sendAudio({ payload: mark, timestamp: index * 960 });
      client.channel!.send(mark);
      if (index % 50 === 0) await sleep(1);
    }
    await until(
      () => messages.length === marks.length,
      () => `${messages.length} messages of ${marks.length}`,
    );
    // Of a burst of media some may be lost.
    assert.ok(frames.length > marks.length / 2, `${frames.length} frames`);
    for (const { timestamp, payload } of frames) assert.deepEqual(Buffer.from(payload), marks[timestamp / 960]);
    assert.deepEqual(messages, marks);
    await closeRig(rig);
  });

  test("a level of no bytes is no level, and ends nothing", async () => {
    const levels: unknown[] = [];
    const rig = await openRig({
      backend: { name: "listener", open: () => ({ frame: ({ level }) => void levels.push(level) }) },
    });
    const transform = (offer: string) =>
      offer.replace(/^(m=audio .*\r\n)/m, "$1a=extmap:9 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n");
    const { client, callId } = await call(rig, { transform });
    const payload = Buffer.from("voice");
    client.sendAudio({ payload, timestamp: 960, level: { id: 9, payload: Buffer.alloc(0) } });
    client.sendAudio({ payload, timestamp: 1920 });
    await until(
      () => levels.length > 0,
      () => "no frame",
    );
    assert.ok(levels.every((level) => level === undefined));
    assert.ok(!rig.ended.includes(callId));
    await closeRig(rig);
  });
});
