/**
 * What the transceiver's DTLS and SRTP make of hostile bytes, from end to end: nobody without the keys ends a call or is
 * heard in it, and nobody becomes a call's client without the certificate that its offer announces.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { GenericNack, RtcpTransportLayerFeedback } from "werift";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { isDtls, isMedia } from "../kit/datagram-class.ts";
import { unauthenticRecords } from "../kit/dtls-records.ts";
import { eventually } from "../kit/eventually.ts";
import { prepareSpoofing, spoof } from "../kit/spoof.ts";
import { addressOf, echoes, System } from "../kit/system.ts";
import { framesOf } from "../kit/trunk-frames.ts";
import { until } from "../kit/until.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const FRAMES = 20;
const WRONG_SHA256 = Array.from({ length: 32 }, () => "AB").join(":");

let system: System;

before(async () => {
  prepareSpoofing();
  system = await System.open();
});
after(() => system.close());

/** What the clients have sent so far, of one class. */
const sent = (isOne: (datagram: Buffer) => boolean): Buffer[] =>
  framesOf(system.places[0]!.tap, "up")
    .filter(({ kind, payload }) => kind === FRAME_KIND.data && isOne(payload))
    .map(({ payload }) => Buffer.from(payload));

describe("a call that is up", () => {
  let client: WeriftClient;

  beforeEach(async () => {
    client = await system.call();
  });
  afterEach(() => client.close());

  const attack = async (...datagrams: readonly Buffer[]): Promise<void> => {
    const received = await system.relayCount("up_received");
    await spoof(addressOf(client), system.port, ...datagrams);
    await system.quiet(received + datagrams.length);
  };
  const goesOn = async (mark: string): Promise<void> => {
    await echoes(client, mark);
    client.channel!.send(mark);
    await until(
      () => client.messages.includes(mark),
      () => `no message "${mark}" came back`,
    );
  };

  test("goes on after every record that takes no key, and after its own handshake once more", async () => {
    const dropped = await system.count("session_drop_dtls");
    const records = [...unauthenticRecords().values()];
    await attack(...records, ...sent(isDtls), ...records);
    // All but a forged alert and a forged Finished are refused before OpenSSL.
    assert.ok((await system.count("session_drop_dtls")) - dropped >= 2 * (records.length - 2));
    await goesOn("after the records");
  });

  test("has each packet once: a replay is not heard, a forged one neither, and both are counted", async () => {
    const first = sent(isMedia).length;
    for (let i = 0; i < FRAMES; i++) client.sendAudio({ payload: Buffer.from(`frame ${i}`), timestamp: i * 960 });
    await until(
      () => client.received.length === FRAMES,
      () => `${client.received.length} of ${FRAMES} frames came back`,
    );
    const genuine = sent(isMedia).slice(first);
    assert.ok(genuine.length >= FRAMES);
    const forged = genuine.map((datagram) => {
      const copy = Buffer.from(datagram);
      copy[copy.length - 1]! ^= 1;
      // Later than anything, so that it is not taken for a replay.
      copy.writeUInt16BE((copy.readUInt16BE(2) + 5_000) & 0xffff, 2);
      return copy;
    });
    const before = {
      replayed: await system.count("session_drop_srtp_replayed"),
      forged: await system.count("session_drop_srtp_forged"),
    };
    await attack(...genuine, ...forged, ...genuine);
    assert.equal((await system.count("session_drop_srtp_replayed")) - before.replayed, 2 * genuine.length);
    assert.equal((await system.count("session_drop_srtp_forged")) - before.forged, forged.length);
    assert.equal(client.received.length, FRAMES);
    await goesOn("after the replays");
  });
});

test("a packet of video that the client asks for again is sent again, and is the same", async () => {
  const client = await system.call(0, { video: true });
  const down: Buffer[] = [];
  client.connection.iceTransports[0]!.connection.onData.subscribe((datagram) => {
    if (isMedia(datagram) && (datagram[1]! < 192 || datagram[1]! > 223)) down.push(Buffer.from(datagram));
  });
  client.sendVideo(Buffer.from("lost"));
  await until(
    () => down.length > 0 && client.seen.length > 0,
    () => "nothing came",
  );
  const lost = down[0]!;
  const { header } = client.seen[0]!;
  const nack = new GenericNack({
    senderSsrc: client.ssrc,
    mediaSourceSsrc: header.ssrc,
    lost: [lost.readUInt16BE(2)],
  });
  await client.connection.dtlsTransports[0]!.sendRtcp([new RtcpTransportLayerFeedback({ feedback: nack })]);
  await until(
    () => down.length === 2,
    () => `${down.length} packets came`,
  );
  assert.deepEqual(down[1], lost);
  assert.equal(await system.count("session_drop_srtp_reused"), 0);
  await client.close();
});

describe("a client", () => {
  const clients: WeriftClient[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close();
  });

  const call = async (transform: (offer: string) => string): Promise<WeriftClient> => {
    const client = new WeriftClient();
    clients.push(client);
    const offer = transform(await client.offer());
    const { answerSdp } = await system.places[0]!.transceiver.createCall(offer);
    await client.accept(answerSdp);
    return client;
  };

  test("with another certificate than its offer's gets no call, and the call that it would have had ends at once", async () => {
    const failed = await system.count("dtls_failed_fingerprint");
    const client = await call((offer) =>
      offer.replaceAll(/a=fingerprint:sha-256 .*/g, `a=fingerprint:sha-256 ${WRONG_SHA256}`),
    );
    await eventually(
      "a failure by the fingerprint",
      () => system.count("dtls_failed_fingerprint"),
      (count) => count === failed + 1,
    );
    const ended = (await system.metrics()).sum("earshot_transceiver_calls_ended_total", 'reason="dtls-failed"');
    assert.ok(ended > 0);
    assert.notEqual(client.channel!.readyState, "open");
  });

  test("cannot change its certificate in a call, and the call goes on", async () => {
    const client = new WeriftClient();
    clients.push(client);
    const offer = await client.offer();
    const { transceiver } = system.places[0]!;
    const { callId, answerSdp } = await transceiver.createCall(offer);
    await client.accept(answerSdp);
    await client.connected();
    const other = offer.replaceAll(/a=fingerprint:sha-256 .*/g, `a=fingerprint:sha-256 ${WRONG_SHA256}`);
    await assert.rejects(transceiver.updateCall(callId, other), { code: "SDP_UNSUPPORTED", message: /certificate/ });
    assert.ok(await transceiver.updateCall(callId, offer));
    await echoes(client, "unchanged");
  });

  test("may announce several certificates, of which one is its own", async () => {
    const client = await call((offer) =>
      offer.replaceAll(/(a=fingerprint:sha-256 .*)/g, `a=fingerprint:sha-256 ${WRONG_SHA256}\r\n$1`),
    );
    await client.connected();
    await echoes(client, "heard");
  });

  test("sees the certificate that the answer announces", async () => {
    const client = await call((offer) => offer);
    await client.connected();
    const fingerprints = client.connection.remoteDescription!.sdp.match(/^a=fingerprint:sha-256 [0-9A-F:]{95}\r$/gm);
    assert.ok(fingerprints !== null && fingerprints.length > 0);
    assert.equal(client.connection.dtlsTransports[0]!.state, "connected");
  });
});
