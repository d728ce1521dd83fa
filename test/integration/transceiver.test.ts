/** A transceiver behind a relay: calls, ICE, media and messages, over real sockets. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { openToken } from "../../src/token/token.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { eventually } from "../kit/eventually.ts";
import { credentialsOf } from "../kit/ice-checks.ts";
import {
  CLUSTER,
  call,
  clients,
  closeClients,
  closeRig,
  hasIpv6,
  ID,
  keys,
  metric,
  openRig,
  type Rig,
} from "../kit/transceiver-rig.ts";
import { until } from "../kit/until.ts";
import { WeriftClient } from "../kit/werift-client.ts";

afterEach(closeClients);

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
