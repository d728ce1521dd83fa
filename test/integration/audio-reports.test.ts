/** RTCP that a transceiver sends of audio: what it has received, and when it sends what (RFC 3550, section 6.4). */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { type RtcpPacket, RtcpRrPacket, RtcpSourceDescriptionPacket, RtcpSrPacket } from "werift";
import { ntpTimestamp } from "../../src/transceiver/werift/report-clock.ts";
import { call, closeClients, closeRig, openRig } from "../kit/transceiver-rig.ts";
import { until } from "../kit/until.ts";

afterEach(closeClients);

const FRAMES = 40;
const LOST = [7, 8, 20];
const MINUTE = 60n << 32n;

test("a client hears what was lost of its audio, and by which clock it gets ours", async () => {
  const rig = await openRig();
  const { client } = await call(rig);
  // werift sends a track's packets under an SSRC of the sender's own.
  const ssrcOfClient = client.connection.getTransceivers()[0]!.sender.ssrc;
  const reports: RtcpPacket[] = [];
  client.connection.dtlsTransports[0]!.onRtcp.subscribe((packet) => reports.push(packet));
  for (let n = 0; n < FRAMES; n++) {
    if (LOST.includes(n)) client.skip();
    else client.sendAudio({ payload: Buffer.from(`frame ${n}`), timestamp: 48_000 + 960 * n });
  }
  const echoed = FRAMES - LOST.length;
  const received = () =>
    reports
      .filter((packet) => packet instanceof RtcpRrPacket)
      .flatMap(({ reports }) => reports)
      .find(({ ssrc }) => ssrc === ssrcOfClient);
  const sent = () =>
    reports.find(
      (packet): packet is RtcpSrPacket => packet instanceof RtcpSrPacket && packet.senderInfo.packetCount > 0,
    );
  await until(
    () => received() !== undefined && sent() !== undefined,
    () => `${reports.length} reports, none of what was sent and received`,
  );
  assert.equal(client.received.length, echoed);

  const report = received()!;
  assert.equal(report.packetsLost, LOST.length);
  assert.equal(report.fractionLost, Math.floor((256 * LOST.length) / FRAMES));
  assert.equal(report.highestSequence & 0xffff, client.sequence);
  // They did not come 20 ms apart, as their timestamps say.
  assert.ok(report.jitter > 0);

  const { ssrc, senderInfo } = sent()!;
  assert.equal(ssrc, client.received[0]!.header.ssrc);
  assert.equal(senderInfo.packetCount, echoed);
  assert.equal(
    senderInfo.octetCount,
    client.received.reduce((sum, { payload }) => sum + payload.length, 0),
  );
  assert.equal(senderInfo.rtpTimestamp, 48_000 + 960 * (FRAMES - 1));
  const now = ntpTimestamp(Date.now());
  assert.ok(senderInfo.ntpTimestamp > now - MINUTE && senderInfo.ntpTimestamp < now + MINUTE);
  assert.ok(reports.some((packet) => packet instanceof RtcpSourceDescriptionPacket));
  await closeRig(rig);
});
