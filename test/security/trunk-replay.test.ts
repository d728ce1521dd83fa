/**
 * Somebody on the trunk's network, without a key, sees every datagram and sends what it likes from where it likes. It redirects
 * nothing, and nothing that it sends comes to a client: what has been seen once is a replay, and what is changed has a wrong
 * tag. Nor can a transceiver speak for a path that is another's.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { isMedia } from "../kit/datagram-class.ts";
import { eventually } from "../kit/eventually.ts";
import { Listener } from "../kit/listener.ts";
import { echoes, System } from "../kit/system.ts";
import { type RawHeader, rawFrame, sealTrunk } from "../kit/trunk-datagrams.ts";
import { type CapturedFrame, frameBytesOf, framesOf, headerOf } from "../kit/trunk-frames.ts";
import type { Captured } from "../kit/trunk-tap.ts";
import { until } from "../kit/until.ts";
import type { WeriftClient } from "../kit/werift-client.ts";

let system: System;
let attacker: Listener;
let client: WeriftClient;

beforeEach(async () => {
  system = await System.open({ transceivers: 2 });
  attacker = await Listener.open();
  client = await system.call(0);
  await echoes(client, "first");
});
afterEach(async () => {
  await attacker.close();
  await system.close();
});

/** The last one of the client's media that has gone by. */
function media(direction: Captured["direction"]): CapturedFrame {
  return framesOf(system.places[0]!.tap, direction)
    .filter(({ payload }) => isMedia(payload))
    .at(-1)!;
}

function ping(): CapturedFrame {
  return framesOf(system.places[0]!.tap, "up").find(({ kind }) => kind === FRAME_KIND.ping)!;
}

/** With a right tag, and so what the attacker cannot make. */
function sealed(like: Captured, header: Partial<RawHeader>, frames = frameBytesOf(like)): Buffer {
  const { trunkUp, trunkDown } = system.keys.signing;
  return sealTrunk({ ...headerOf(like), ...header }, frames, like.direction === "up" ? trunkUp : trunkDown);
}

/** Later than all that will come. */
const fresh = (like: Captured): bigint => headerOf(like).sequence + 100_000n;

const grown = (what: string, count: () => Promise<number>, from: number, by: number) =>
  eventually(what, count, (value) => value === from + by);

describe("up, to the transceiver", () => {
  const toTransceiver = (...datagrams: Buffer[]) => attacker.send(system.places[0]!.tap.transceiverPort, ...datagrams);

  test("everything captured and sent again, from another address, is dropped as a replay and redirects nothing", async () => {
    const replay = () => system.count("trunk_drop_replay");
    const all = system.places[0]!.tap.of("up").map(({ datagram }) => datagram);
    const before = await replay();
    await toTransceiver(...all);
    await grown("replays", replay, before, all.length);
    await echoes(client, "second");
    assert.deepEqual(attacker.received, []);
  });

  test("a captured ping gets no pong, and the relay goes on hearing its own", async () => {
    const replay = () => system.count("trunk_drop_replay");
    const before = await replay();
    await toTransceiver(ping().from.datagram);
    await grown("replays", replay, before, 1);
    assert.deepEqual(attacker.received, []);
    await system.knows(2);
  });

  test("a ping captured before a restart does not keep the new process from the relay", async () => {
    const { tap } = system.places[0]!;
    const captured = ping().from.datagram;
    tap.cut = true;
    await system.replace(0);
    // It names no epoch, so a transceiver that has just begun cannot know that it is old.
    await toTransceiver(captured);
    await until(
      () => attacker.received.length === 1,
      () => "the new process does not answer",
    );
    tap.cut = false;
    const passed = tap.of("down").length;
    await until(
      () => tap.of("down").length > passed,
      () => "the relay's own pings are not answered where they come from",
    );
    client = await system.call(0);
    await echoes(client, "with the new process");
  });

  test("a changed datagram is dropped, and counted by what is wrong with it", async () => {
    const { from } = media("up");
    const flipped = Buffer.from(from.datagram);
    flipped[40]! ^= 1;
    const { senderEpoch, targetEpoch, targetId, cluster } = headerOf(from);
    const wrong: readonly [counter: string, datagram: Buffer][] = [
      ["malformed", from.datagram.subarray(0, 40)],
      ["malformed", sealed(from, { versionAndFlags: 0x11, sequence: fresh(from) })],
      ["key", sealed(from, { keyId: 63, sequence: fresh(from) })],
      ["tag", flipped],
      ["target", sealed(from, { cluster: cluster + 1, sequence: fresh(from) })],
      ["target", sealed(from, { targetId: targetId + 1, sequence: fresh(from) })],
      ["target", sealed(from, { targetEpoch: (targetEpoch ^ 1) >>> 0, sequence: fresh(from) })],
      ["sender", sealed(from, { senderEpoch: senderEpoch - 1n, sequence: fresh(from) })],
    ];
    for (const [counter, datagram] of wrong) {
      const count = () => system.count(`trunk_drop_${counter}`);
      const before = await count();
      await toTransceiver(datagram);
      await grown(counter, count, before, 1);
    }
    await echoes(client, "second");
    assert.deepEqual(attacker.received, []);
  });

  test("control: if its sequence were fresh and its tag right, it would turn the call's answers to the attacker", async () => {
    const { from } = media("up");
    await toTransceiver(sealed(from, { sequence: fresh(from) }));
    await until(
      () => attacker.received.length > 0,
      () => "nothing came to the attacker",
    );
  });
});

describe("down, to the relay", () => {
  const toWorker = (...datagrams: Buffer[]) => attacker.send(media("down").from.relayPort, ...datagrams);
  const forwarded = () => system.relayCount("frame_forwarded");

  test("everything captured and sent again, from another address, is dropped as a replay and reaches no client", async () => {
    const worker = media("down").from.relayPort;
    const all = system.places[0]!.tap.of("down").filter(({ relayPort }) => relayPort === worker);
    const replay = () => system.relayCount("down_drop_replay");
    const [before, sent] = [await replay(), await forwarded()];
    await toWorker(...all.map(({ datagram }) => datagram));
    await grown("replays", replay, before, all.length);
    assert.equal(await forwarded(), sent);
    await echoes(client, "second");
  });

  test("a pong captured and sent again does not keep a transceiver alive that is gone", async () => {
    const { tap } = system.places[0]!;
    tap.cut = true;
    const pongs = framesOf(tap, "down").filter(({ kind }) => kind === FRAME_KIND.pong);
    const port = pongs[0]!.from.relayPort;
    const dead = async () => (await system.relayMetrics()).sum("earshot_relay_transceivers", 'state="dead"');
    await eventually(
      "a dead transceiver",
      async () => {
        await attacker.send(port, ...pongs.map(({ from }) => from.datagram));
        return dead();
      },
      (count) => count === 1,
    );
  });

  test("a changed datagram is dropped, and counted by what is wrong with it", async () => {
    const { from } = media("down");
    const flipped = Buffer.from(from.datagram);
    flipped[40]! ^= 1;
    const { senderId, senderEpoch, targetEpoch, targetId } = headerOf(from);
    const wrong: readonly [counter: string, datagram: Buffer][] = [
      ["tag", flipped],
      ["target", sealed(from, { targetId: targetId + 1, sequence: fresh(from) })],
      ["target", sealed(from, { targetEpoch: (targetEpoch ^ 1) >>> 0, sequence: fresh(from) })],
      ["sender", sealed(from, { senderId: senderId + 100, sequence: fresh(from) })],
      ["sender", sealed(from, { senderEpoch: senderEpoch - 1n, sequence: fresh(from) })],
      ["malformed", media("up").from.datagram], // the other direction's
    ];
    const sent = await forwarded();
    for (const [counter, datagram] of wrong) {
      const count = () => system.relayCount(`down_drop_${counter}`);
      const before = await count();
      await toWorker(datagram);
      await grown(counter, count, before, 1);
    }
    assert.equal(await forwarded(), sent);
    await echoes(client, "second");
  });

  test("control: if its sequence were fresh and its tag right, the client would get it", async () => {
    const { from } = media("down");
    const sent = await forwarded();
    await toWorker(sealed(from, { sequence: fresh(from) }));
    await eventually("a forwarded frame", forwarded, (count) => count > sent);
  });
});

describe("a transceiver that speaks for a path of another", () => {
  const ours = () => media("down");
  /** Everything that could touch the path, from the transceiver at this place. */
  const frames = (): Buffer => {
    const { path, payload } = ours();
    const ufrag = framesOf(system.places[0]!.tap, "down").find(({ kind }) => kind === FRAME_KIND.promote)!.payload;
    return Buffer.concat([
      rawFrame(FRAME_KIND.data, path, payload),
      rawFrame(FRAME_KIND.promote, path, ufrag),
      rawFrame(FRAME_KIND.flowEnd, path, ufrag),
    ]);
  };
  const flowsAre = async (assured: number) =>
    eventually(
      `${assured} assured flows`,
      async () => (await system.relayMetrics()).sum("earshot_relay_flows", 'state="assured"'),
      (count) => count === assured,
    );
  const speak = async (index: number): Promise<void> => {
    const { id, epoch } = system.places[index]!;
    const { from } = ours();
    const datagram = sealed(from, { senderId: id, senderEpoch: epoch, sequence: fresh(from) }, frames());
    const before = await system.relayCount("frame_control");
    await attacker.send(from.relayPort, datagram);
    await eventually(
      "control frames",
      () => system.relayCount("frame_control"),
      (count) => count >= before + 2,
    );
  };

  test("is not heard: its frames are dropped and counted, and it can neither take the path nor end it", async () => {
    const before = await system.relayCount("frame_drop_not_owner");
    await speak(1);
    assert.equal(await system.relayCount("frame_drop_not_owner"), before + 1);
    await flowsAre(1);
    await echoes(client, "second");
  });

  test("control: the owner would be", async () => {
    const before = await system.relayCount("frame_drop_not_owner");
    await speak(0);
    assert.equal(await system.relayCount("frame_drop_not_owner"), before);
    await flowsAre(0);
  });
});
