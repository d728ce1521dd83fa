import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { randomKeyRing } from "../../src/keys/key-file.ts";
import { openToken } from "../../src/token/token.ts";
import type { Backend } from "../../src/transceiver/backends/backend.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { eventually } from "../kit/eventually.ts";
import { credentialsOf } from "../kit/ice-checks.ts";
import { MiniRelay } from "../kit/mini-relay.ts";
import { until } from "../kit/until.ts";
import { WeriftClient, type WeriftClientOptions } from "../kit/werift-client.ts";

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === "::1"));
const keys = randomKeyRing();
const CLUSTER = 3;
const ID = 12;
const EPOCH = BigInt(Date.now());

interface Rig {
  readonly transceiver: Transceiver;
  readonly relay: MiniRelay;
  readonly ended: string[];
  /** Why, in the same order. */
  readonly reasons: string[];
}

async function openRig(
  options: { maxCalls?: number; maxCallMs?: number; maxIdleMs?: number; backend?: Backend } = {},
): Promise<Rig> {
  const relay = await MiniRelay.open({
    keys,
    cluster: CLUSTER,
    transceiver: { id: ID, epoch: EPOCH },
    addresses: hasIpv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"],
  });
  const ended: string[] = [];
  const reasons: string[] = [];
  const transceiver = new Transceiver({
    id: ID,
    cluster: CLUSTER,
    epoch: EPOCH,
    keys,
    trunk: { address: "127.0.0.1", port: 0 },
    advertise: relay.ingresses,
    maxCallMs: options.maxCallMs ?? 3_600_000,
    ...(options.maxIdleMs !== undefined && { maxIdleMs: options.maxIdleMs }),
    limits: { maxCalls: options.maxCalls ?? 10 },
    logger: pino({ level: "silent" }),
    onCallEnded: (callId, reason) => {
      ended.push(callId);
      reasons.push(reason);
    },
    ...(options.backend && { backend: options.backend }),
  });
  const trunk = await transceiver.start();
  relay.connect(trunk.port);
  return { transceiver, relay, ended, reasons };
}

async function closeRig({ transceiver, relay }: Rig): Promise<void> {
  await transceiver.stop();
  await relay.close();
}

const clients: WeriftClient[] = [];

/** A connected client. */
async function call(
  rig: Rig,
  options: WeriftClientOptions & { transform?: (offer: string) => string } = {},
): Promise<{ client: WeriftClient; callId: string; answerSdp: string }> {
  const client = new WeriftClient(options);
  clients.push(client);
  const offer = await client.offer();
  const { callId, answerSdp } = await rig.transceiver.createCall(options.transform?.(offer) ?? offer);
  await client.accept(answerSdp);
  await client.connected();
  return { client, callId, answerSdp };
}

async function metric(rig: Rig, name: string): Promise<number> {
  const text = await rig.transceiver.registry.metrics();
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
  assert.ok(line, `no metric ${name}`);
  return Number(line.split(" ").at(-1));
}

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});

describe("a transceiver behind a relay", () => {
  let rig: Rig;

  before(async () => {
    rig = await openRig();
  });

  after(async () => {
    await closeRig(rig);
  });

  test("answers with a token, the ingresses, the passive role and no ice-lite", async () => {
    const client = new WeriftClient();
    clients.push(client);
    const { callId, answerSdp } = await rig.transceiver.createCall(await client.offer());
    const opened = openToken(/^a=ice-ufrag:(.*)$/m.exec(answerSdp)![1]!.trim(), keys);
    assert.ok(opened.ok);
    assert.equal(opened.token.transceiver, ID);
    assert.equal(opened.token.cluster, CLUSTER);
    for (const { address, port } of rig.relay.ingresses) {
      assert.match(answerSdp, new RegExp(`^a=candidate:\\d+ 1 udp \\d+ ${address} ${port} typ host\\r$`, "m"));
    }
    assert.match(answerSdp, /^a=end-of-candidates\r$/m);
    assert.doesNotMatch(answerSdp, /ice-lite/);
    const setups = [...answerSdp.matchAll(/^a=setup:(.*)\r$/gm)].map(([, setup]) => setup);
    assert.deepEqual(setups, ["passive", "passive"]);
    assert.match(answerSdp, /^a=group:BUNDLE 0 1\r$/m);
    assert.match(answerSdp, /^a=sendrecv\r$/m);
    await rig.transceiver.endCall(callId);
  });

  test("echoes audio: payload, timestamp, marker and payload type are kept", async () => {
    const { client } = await call(rig);
    const sent = Array.from({ length: 25 }, (_, i) => ({
      payload: Buffer.from(`frame ${i}`),
      timestamp: 48_000 + 960 * i,
      marker: i === 0,
    }));
    for (const frame of sent) client.sendAudio(frame);
    await until(
      () => client.received.length === sent.length,
      () => `${client.received.length} of ${sent.length} frames came back`,
    );
    assert.deepEqual(
      client.received.map(({ header, payload }) => ({
        payload: Buffer.from(payload),
        timestamp: header.timestamp,
        marker: header.marker,
      })),
      sent,
    );
    assert.ok(client.received.every(({ header }) => header.payloadType === 96 && header.ssrc !== client.ssrc));
  });

  test("echoes strings and binary messages, empty and large ones too", async () => {
    const { client } = await call(rig, { audio: false });
    const messages = ["hello", "", "ünïcödé", Buffer.of(0, 1, 2, 255), "x".repeat(60_000), Buffer.alloc(20_000, 7)];
    for (const message of messages) {
      // werift itself cannot send empty messages.
      if (message !== "") client.channel!.send(message);
    }
    const expected = messages.filter((message) => message !== "");
    await until(
      () => client.messages.length === expected.length,
      () => `${client.messages.length} of ${expected.length} messages came back`,
    );
    assert.deepEqual(client.messages, expected);
  });

  test("serves two calls at once, each its own", async () => {
    const [one, two] = await Promise.all([call(rig), call(rig)]);
    assert.notEqual(one.callId, two.callId);
    for (let i = 0; i < 20; i++) {
      one.client.sendAudio({ payload: Buffer.from(`one ${i}`), timestamp: i });
      two.client.sendAudio({ payload: Buffer.from(`two ${i}`), timestamp: i });
    }
    one.client.channel!.send("to one");
    two.client.channel!.send("to two");
    await until(
      () => one.client.received.length + two.client.received.length === 40 && two.client.messages.length === 1,
      () => `${one.client.received.length} and ${two.client.received.length} frames`,
    );
    assert.ok(one.client.received.every(({ payload }) => payload.toString().startsWith("one")));
    assert.ok(two.client.received.every(({ payload }) => payload.toString().startsWith("two")));
    assert.deepEqual([one.client.messages, two.client.messages], [["to one"], ["to two"]]);
    await until(
      () => rig.transceiver.health().calls === 2,
      () => `${rig.transceiver.health().calls} calls`,
    );
  });

  test("serves IPv6", { skip: !hasIpv6 }, async () => {
    const { client } = await call(rig, { address: "::1" });
    client.channel!.send("over six");
    await until(
      () => client.messages.length === 1,
      () => "no message came back",
    );
    assert.deepEqual(client.messages, ["over six"]);
  });

  test("endCall ends that call alone, and tells relay and client", async () => {
    const { client, callId } = await call(rig);
    const other = await call(rig);
    const flowEnds = rig.relay.controlOf(FRAME_KIND.flowEnd).length;
    assert.equal(await rig.transceiver.endCall(callId), true);
    assert.equal(await rig.transceiver.endCall(callId), false);
    assert.ok(rig.ended.includes(callId));
    await until(
      () => client.channel!.readyState === "closed",
      () => "the client's channel is still open",
    );
    await until(
      () => rig.relay.controlOf(FRAME_KIND.flowEnd).length > flowEnds,
      () => "no flow end",
    );
    const { payload, path } = rig.relay.controlOf(FRAME_KIND.flowEnd).at(-1)!;
    assert.ok(openToken(payload.toString(), keys).ok);
    assert.ok(rig.relay.clients.some((known) => known.equals(path!)));
    other.client.channel!.send("still there");
    await until(
      () => other.client.messages.length === 1,
      () => "the other call is silent",
    );
  });

  test("a client that hangs up ends its call", async () => {
    const { client, callId } = await call(rig);
    await client.close();
    await until(
      () => rig.ended.includes(callId),
      () => "the call goes on",
    );
    assert.ok((await rig.transceiver.registry.metrics()).includes('calls_ended_total{reason="hang-up"}'));
  });

  test("promotes each path that it proves, with the token that proved it", async () => {
    rig.relay.control.length = 0;
    await call(rig, { audio: false });
    const promotes = rig.relay.controlOf(FRAME_KIND.promote);
    assert.ok(promotes.length > 0);
    for (const { payload } of promotes) assert.ok(openToken(payload.toString(), keys).ok);
  });

  test("restarts ICE while media goes on", async () => {
    const { client, callId } = await call(rig);
    rig.relay.control.length = 0;
    const updated = await rig.transceiver.updateCall(callId, await client.offer({ iceRestart: true }));
    assert.ok(updated);
    client.sendAudio({ payload: Buffer.from("during"), timestamp: 1 });
    await client.accept(updated.answerSdp);
    await client.checkAgain();
    const ufrag = /^a=ice-ufrag:(.*)\r$/m.exec(updated.answerSdp)![1];
    await until(
      () => rig.relay.controlOf(FRAME_KIND.promote).some(({ payload }) => payload.toString() === ufrag),
      () => "no path of the new generation was proved",
    );
    client.sendAudio({ payload: Buffer.from("after"), timestamp: 2 });
    await until(
      () => client.received.some(({ payload }) => payload.toString() === "after"),
      () => `${client.received.length} frames came back`,
    );
  });

  test("restarts ICE by fragment while media goes on, and answers a repeated fragment alike", async () => {
    const { client, callId, answerSdp } = await call(rig);
    const before = credentialsOf(await client.offer());
    const theirs = credentialsOf(await client.offer({ iceRestart: true }));
    const fragmentOf = ({ ufrag, password }: typeof theirs) => `a=ice-ufrag:${ufrag}\r\na=ice-pwd:${password}\r\n`;
    const trickled = rig.transceiver.takeFragment(callId, fragmentOf(before), true);
    assert.equal(trickled?.fragment, undefined);
    assert.equal(trickled?.ufrag, credentialsOf(answerSdp).ufrag);

    rig.relay.control.length = 0;
    const restarted = rig.transceiver.takeFragment(callId, fragmentOf(theirs), true);
    assert.ok(restarted?.fragment);
    assert.notEqual(restarted.ufrag, trickled?.ufrag);
    assert.deepEqual(rig.transceiver.takeFragment(callId, fragmentOf(theirs), true), restarted);
    const late = rig.transceiver.takeFragment(callId, fragmentOf(theirs), false);
    assert.deepEqual(late, { fragment: undefined, ufrag: restarted.ufrag });

    const ours = credentialsOf(restarted.fragment);
    assert.equal(ours.ufrag, restarted.ufrag);
    for (const { address, port } of rig.relay.ingresses) {
      assert.match(restarted.fragment, new RegExp(`^a=candidate:\\d+ 1 udp \\d+ ${address} ${port} typ host\\r$`, "m"));
    }
    client.sendAudio({ payload: Buffer.from("during"), timestamp: 1 });
    await client.accept(
      answerSdp
        .replace(/^a=ice-ufrag:.*\r$/gm, `a=ice-ufrag:${ours.ufrag}\r`)
        .replace(/^a=ice-pwd:.*\r$/gm, `a=ice-pwd:${ours.password}\r`),
    );
    await client.checkAgain();
    await until(
      () => rig.relay.controlOf(FRAME_KIND.promote).some(({ payload }) => payload.toString() === ours.ufrag),
      () => "no path of the new generation was proved",
    );
    client.sendAudio({ payload: Buffer.from("after"), timestamp: 2 });
    await until(
      () => client.received.some(({ payload }) => payload.toString() === "after"),
      () => `${client.received.length} frames came back`,
    );
  });

  test("follows a client to another address once that is proved, and takes no media from there before", async () => {
    const { client, callId } = await call(rig);
    const unproved = () => metric(rig, "earshot_transceiver_client_drop_unproved_total");
    const before = await unproved();
    const moved = rig.relay.move(client.reachedAt.port);
    client.sendAudio({ payload: Buffer.from("too early"), timestamp: 1 });
    await eventually("what comes from nowhere is dropped", unproved, (now) => now > before);
    assert.equal(rig.transceiver.describeCall(callId)?.client?.port, client.reachedAt.port);
    // The client's next check is due within some seconds.
    await eventually(
      "the call at its new address",
      async () => rig.transceiver.describeCall(callId)?.client?.port,
      (port) => port === moved,
      15_000,
    );
    client.sendAudio({ payload: Buffer.from("from there"), timestamp: 2 });
    client.channel!.send("from there");
    await until(
      () => client.messages.length === 1 && client.received.length === 1,
      () => `${client.messages.length} messages and ${client.received.length} frames came back`,
    );
    assert.equal(client.received[0]!.payload.toString(), "from there");
  });

  test("says how a call is", async () => {
    const { client, callId } = await call(rig);
    client.sendAudio({ payload: Buffer.from("frame"), timestamp: 1 });
    client.channel!.send("one");
    client.channel!.send("two");
    await until(
      () => client.messages.length === 2 && client.received.length === 1,
      () => "not all came back",
    );
    const { state, createdMs, connectedMs, client: reached, frames, messages } = rig.transceiver.describeCall(callId)!;
    assert.ok(connectedMs !== undefined && connectedMs >= createdMs);
    assert.deepEqual(
      { state, reached, frames, messages },
      {
        state: "connected",
        reached: client.reachedAt,
        frames: { received: 1, sent: 1 },
        messages: { received: 2, sent: 2 },
      },
    );
    await rig.transceiver.endCall(callId);
    assert.equal(rig.transceiver.describeCall(callId), undefined);
    assert.equal(rig.transceiver.takeFragment(callId, "", true), undefined);
  });

  test("takes what a WHIP client sends, and sends it no media", async () => {
    const client = new WeriftClient({ data: false });
    clients.push(client);
    const { answerSdp, callId } = await rig.transceiver.createCall(await client.offer(), { ingest: true });
    assert.match(answerSdp, /^a=recvonly\r$/m);
    await client.accept(answerSdp);
    await client.connected();
    for (let i = 0; i < 20; i++) client.sendAudio({ payload: Buffer.from(`frame ${i}`), timestamp: i });
    await until(
      () => rig.transceiver.describeCall(callId)?.frames.received === 20,
      () => "not all frames came in",
    );
    assert.equal(client.received.length, 0);
  });

  test("asserts a proved path that the relay does not know, and no other", async () => {
    await call(rig, { audio: false });
    rig.relay.control.length = 0;
    const known = rig.relay.clients.at(-1)!;
    const unknown = Buffer.from(known);
    unknown.writeUInt16BE(1, 3);
    rig.relay.up(FRAME_KIND.unknownPath, unknown, Buffer.alloc(0));
    rig.relay.up(FRAME_KIND.unknownPath, known, Buffer.alloc(0));
    await until(
      () => rig.relay.controlOf(FRAME_KIND.assert).length > 0,
      () => "no assert",
    );
    const asserts = rig.relay.controlOf(FRAME_KIND.assert);
    assert.equal(asserts.length, 1);
    assert.ok(asserts[0]!.path!.equals(known));
    assert.ok(openToken(asserts[0]!.payload.toString(), keys).ok);
  });

  test("answers pings", async () => {
    rig.relay.control.length = 0;
    rig.relay.up(FRAME_KIND.ping, undefined, Buffer.from("12345678"));
    await until(
      () => rig.relay.controlOf(FRAME_KIND.pong).length > 0,
      () => "no pong",
    );
    assert.deepEqual(rig.relay.controlOf(FRAME_KIND.pong)[0]!.payload, Buffer.from("12345678\0"));
  });

  test("hostile bytes in a call are counted, and the call goes on", async () => {
    const { client } = await call(rig);
    const path = rig.relay.clients.at(-1)!;
    const up = (bytes: Buffer) => rig.relay.up(FRAME_KIND.data, path, bytes);
    const record = (type: number, epoch: number, fragment: Buffer) => {
      const header = Buffer.from([type, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9, 0, fragment.length]);
      return Buffer.concat([header, fragment]);
    };
    const faultsBefore = await metric(rig, "earshot_transceiver_werift_faults_total");
    const droppedBefore = await metric(rig, "earshot_transceiver_session_drop_dtls_total");
    up(record(21, 0, Buffer.of(1, 0)));
    up(record(21, 0, Buffer.of(2, 40)));
    up(record(21, 1, Buffer.of(1, 0)));
    up(record(21, 1, Buffer.concat([Buffer.of(1, 0), Buffer.alloc(24)])));
    up(record(22, 0, Buffer.concat([Buffer.of(1, 0, 0, 0, 0, 0, 0, 0), Buffer.alloc(20)])));
    up(record(22, 0, Buffer.concat([Buffer.of(20, 0, 0, 12, 0, 3, 0, 0, 0, 0, 0, 12), Buffer.alloc(12)])));
    up(record(24, 1, Buffer.alloc(40)));
    up(Buffer.concat([record(23, 1, Buffer.alloc(30)), record(21, 0, Buffer.of(1, 0))]));
    for (const first of [20, 22, 23, 128, 144, 191]) {
      for (let length = 1; length < 60; length += 7) up(Buffer.alloc(length, first));
    }
    for (let seed = 0; seed < 200; seed++) {
      const bytes = Buffer.from(Array.from({ length: 1 + ((seed * 37) % 300) }, (_, i) => (seed * 131 + i * 71) & 255));
      up(bytes);
    }
    client.sendAudio({ payload: Buffer.from("alive"), timestamp: 5 });
    client.channel!.send("alive");
    await until(
      () => client.received.length === 1 && client.messages.length === 1,
      () => `${client.received.length} frames and ${client.messages.length} messages came back`,
    );
    assert.ok((await metric(rig, "earshot_transceiver_session_drop_dtls_total")) - droppedBefore >= 8);
    assert.ok((await metric(rig, "earshot_transceiver_werift_faults_total")) >= faultsBefore);
  });

  const stacks: [name: string, transform: (offer: string) => string][] = [
    ["end lines in LF alone", (offer) => offer.replaceAll("\r\n", "\n")],
    ["do not name their SSRCs", (offer) => offer.replace(/^a=ssrc.*\r\n/gm, "")],
    ["trickle", (offer) => offer.replace(/^a=(candidate|end-of-candidates).*\r\n/gm, "")],
    [
      "send one ufrag for each m-line",
      (offer) => {
        const [head, media, data] = offer.split(/^(?=m=)/m);
        const other = data!
          .replace(/a=ice-ufrag:.*/, "a=ice-ufrag:other")
          .replace(/a=ice-pwd:.*/, `a=ice-pwd:${"p".repeat(22)}`);
        return [head, media, other].join("");
      },
    ],
    [
      "offer bundle-only m-lines",
      (offer) => {
        const [head, media, data] = offer.split(/^(?=m=)/m);
        const bare = data!
          .replace(/^a=(ice-|fingerprint|setup|candidate|end-of).*\r\n/gm, "")
          .replace("application 9", "application 0");
        return [head, media, bare, "a=bundle-only\r\n"].join("");
      },
    ],
  ];
  for (const [name, transform] of stacks) {
    test(`serves clients that ${name}`, async () => {
      const { client } = await call(rig, { transform });
      client.sendAudio({ payload: Buffer.from("frame"), timestamp: 7 });
      client.channel!.send("message");
      await until(
        () => client.received.length === 1 && client.messages.length === 1,
        () => `${client.received.length} frames and ${client.messages.length} messages came back`,
      );
    });
  }

  test("what cannot be answered is refused with its reason, and leaves nothing behind", async () => {
    const client = new WeriftClient();
    clients.push(client);
    const offer = await client.offer();
    const calls = rig.transceiver.health().calls;
    const unknownCodecs = offer
      .replace(/opus|OPUS/g, "speex")
      .replace(/^a=rtpmap:0 .*\r\n/m, "")
      .replace(/^m=application.*$/ms, "");
    for (const [sdp, code] of [
      ["nonsense", "SDP_INVALID"],
      [offer.replace("a=sctp-port:5000", "a=sctp-port:none"), "SDP_INVALID"],
      [offer.replace("v=0\r\n", "v=0\r\na=ice-lite\r\n"), "SDP_UNSUPPORTED"],
      [unknownCodecs.replace("BUNDLE 0 1", "BUNDLE 0"), "SDP_UNSUPPORTED"],
    ] as const) {
      await assert.rejects(rig.transceiver.createCall(sdp), { code });
    }
    assert.ok(rig.transceiver.health().calls <= calls);
  });

  test("every client datagram ends in exactly one counter", async () => {
    const path = Buffer.from([4, 0, 1, 0x12, 0x34, 127, 0, 0, 1]);
    for (let first = 0; first < 256; first++) rig.relay.up(FRAME_KIND.data, path, Buffer.alloc(1 + first, first));
    rig.relay.upRaw(Buffer.alloc(100));
    await until(
      () => rig.transceiver.health().ok,
      () => "not live",
    );
    const text = async () => await rig.transceiver.registry.metrics();
    const values = (metrics: string) =>
      Object.fromEntries(
        [...metrics.matchAll(/^earshot_transceiver_(\w+)_total (\d+)$/gm)].map(([, name, value]) => [
          name,
          Number(value),
        ]),
      ) as Record<string, number>;
    const sum = (all: Record<string, number>, prefix: string) =>
      Object.entries(all).reduce((total, [name, value]) => (name.startsWith(prefix) ? total + value : total), 0);
    const isSettled = (all: Record<string, number>) =>
      all.frame_data ===
        all.client_request_answered! +
          all.client_request_refused! +
          all.client_response_accepted! +
          all.client_delivered! +
          sum(all, "client_drop_") &&
      all.frame_received === all.frame_data! + all.frame_ping! + all.frame_unknown_path! &&
      all.trunk_received === all.trunk_accepted! + sum(all, "trunk_drop_") &&
      all.trunk_drop_malformed === 1 &&
      all.client_drop_class! >= 16 + 64 + 64;
    await eventually("counters that add up", async () => values(await text()), isSettled);
  });
});

describe("limits", () => {
  test("refuses more calls than it may hold, and takes them again when one has ended", async () => {
    const rig = await openRig({ maxCalls: 1 });
    const client = new WeriftClient();
    clients.push(client);
    const offer = await client.offer();
    const { callId } = await rig.transceiver.createCall(offer);
    await assert.rejects(rig.transceiver.createCall(offer), { code: "OVERLOADED" });
    await rig.transceiver.endCall(callId);
    await rig.transceiver.createCall(offer);
    await closeRig(rig);
    assert.equal(rig.ended.length, 2);
  });

  test("takes no call while there is no ingress, or while it drains", async () => {
    const rig = await openRig();
    const client = new WeriftClient();
    clients.push(client);
    const offer = await client.offer();
    rig.transceiver.setAdvertise([]);
    await assert.rejects(rig.transceiver.createCall(offer), { code: "OVERLOADED" });
    rig.transceiver.setAdvertise(rig.relay.ingresses);
    rig.relay.up(FRAME_KIND.ping, undefined, Buffer.alloc(8));
    await until(
      () => rig.relay.controlOf(FRAME_KIND.pong).length === 1,
      () => "no pong",
    );
    rig.transceiver.drain();
    await until(
      () => rig.relay.controlOf(FRAME_KIND.drain).length === 1,
      () => "no drain",
    );
    await assert.rejects(rig.transceiver.createCall(offer), { code: "OVERLOADED" });
    rig.relay.up(FRAME_KIND.ping, undefined, Buffer.alloc(8));
    await until(
      () => rig.relay.controlOf(FRAME_KIND.pong).length === 2,
      () => "no second pong",
    );
    assert.equal(rig.relay.controlOf(FRAME_KIND.pong)[1]!.payload[8], 1);
    assert.equal(rig.transceiver.health().ok, false);
    await closeRig(rig);
  });

  test("ends a call that has lasted as long as it may", async () => {
    const rig = await openRig({ maxCallMs: 1_000 });
    const { callId } = await call(rig, { audio: false });
    await until(
      () => rig.ended.includes(callId),
      () => "the call goes on",
    );
    assert.match(await rig.transceiver.registry.metrics(), /calls_ended_total\{reason="max-duration"\} 1/);
    await closeRig(rig);
  });

  test("ends a call in which nothing comes or goes, and no other", async () => {
    const rig = await openRig({ maxIdleMs: 1_500 });
    const { client } = await call(rig);
    const talking = setInterval(() => client.channel!.send("still there"), 100);
    const { callId } = await call(rig, { audio: false });
    await until(
      () => rig.ended.length > 0,
      () => "the call goes on",
    );
    assert.deepEqual([rig.ended, rig.reasons], [[callId], ["idle"]]);
    clearInterval(talking);
    await until(
      () => rig.ended.length === 2,
      () => "the other call goes on in silence",
    );
    assert.deepEqual(rig.reasons, ["idle", "idle"]);
    await closeRig(rig);
  });

  test("stop ends every call and closes the trunk", async () => {
    const rig = await openRig();
    const { callId } = await call(rig);
    await closeRig(rig);
    assert.deepEqual(rig.ended, [callId]);
    await rig.transceiver.stop();
  });

  test("a trunk port that is taken is an error with a code", async () => {
    const taken = createSocket("udp4");
    await new Promise<void>((resolve) => taken.bind(0, "127.0.0.1", resolve));
    const transceiver = new Transceiver({
      id: 1,
      cluster: 1,
      epoch: EPOCH,
      keys,
      trunk: { address: "127.0.0.1", port: taken.address().port },
      advertise: [],
      maxCallMs: 1_000,
      limits: { maxCalls: 1 },
      logger: pino({ level: "silent" }),
    });
    await assert.rejects(transceiver.start(), { code: "EADDRINUSE" });
    await new Promise<void>((resolve) => taken.close(() => resolve()));
  });
});

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
