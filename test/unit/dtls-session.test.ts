/** The addon's DTLS and SRTP against werift's as the client: an implementation that shares nothing with OpenSSL. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { RtcpPacketConverter, RtcpRrPacket, RtpHeader, RtpPacket } from "werift";
import { loadCrypto, srtpRefusal } from "../../src/transceiver/werift/crypto-binding.ts";
import { clientFingerprint, DtlsPair, type DtlsPairOptions, SRTP } from "../kit/dtls-pair.ts";
import { CONTENT, dtlsRecord, unauthenticRecords } from "../kit/dtls-records.ts";

const open: DtlsPair[] = [];

async function pair(options?: DtlsPairOptions): Promise<DtlsPair> {
  const made = await DtlsPair.open(options);
  open.push(made);
  return made;
}

async function connected(options?: DtlsPairOptions): Promise<DtlsPair> {
  const made = await pair(options);
  await made.handshake();
  assert.equal(made.state, "connected");
  return made;
}

afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

const rtpHeader = (sequenceNumber: number): RtpHeader =>
  new RtpHeader({ payloadType: 96, sequenceNumber, timestamp: 1, ssrc: 0x11223344 });

/** An RTP packet with room for its tag. */
function rtp(sequence: number, payload: string): { buffer: Buffer; length: number } {
  const plain = new RtpPacket(rtpHeader(sequence), Buffer.from(payload)).serialize();
  return { buffer: Buffer.concat([plain, Buffer.alloc(loadCrypto().DtlsSession.srtpRoom)]), length: plain.length };
}

describe("a handshake", () => {
  for (const [name, profile] of Object.entries(SRTP)) {
    test(`ends with SRTP keys that fit the client's, under ${name}`, async () => {
      const made = await connected({ profiles: [profile] });
      const { server, client } = made;
      assert.equal(server.details().srtpProfile, profile);
      assert.deepEqual(server.details().certificate, Buffer.from(client.cipher.localCert));
      const { srtp, srtcp } = made.media();

      const up = srtp.encrypt(Buffer.from("voice up"), rtpHeader(7));
      const upLength = server.unprotectRtp(up)!;
      assert.equal(RtpPacket.deSerialize(up.subarray(0, upLength)).payload.toString(), "voice up");
      const { buffer, length } = rtp(8, "voice down");
      const down = srtp.decrypt(buffer.subarray(0, server.protectRtp(buffer, length)));
      assert.equal(RtpPacket.deSerialize(down).payload.toString(), "voice down");

      const report = new RtcpRrPacket({ ssrc: 5, reports: [] }).serialize();
      const upReport = srtcp.encrypt(report);
      assert.deepEqual(upReport.subarray(0, server.unprotectRtcp(upReport)), report);
      const downReport = Buffer.concat([report, Buffer.alloc(20)]);
      const sealed = downReport.subarray(0, server.protectRtcp(downReport, report.length));
      assert.equal(RtcpPacketConverter.deSerialize(srtcp.decrypt(sealed)).length, 1);
    });
  }

  test("takes the AEAD of both profiles, and carries messages both ways", async () => {
    const made = await connected({ profiles: [SRTP.sha1, SRTP.gcm] });
    assert.equal(made.server.details().srtpProfile, SRTP.gcm);
    assert.ok(await made.talks("hello"));
  });

  test("needs one fingerprint of several to match, of SHA-256, SHA-384 or SHA-512", async () => {
    for (const hash of ["sha256", "sha384", "sha512"] as const) {
      await connected({ fingerprints: [Buffer.alloc(32), Buffer.alloc(64, 1), await clientFingerprint(hash)] });
    }
    await assert.rejects(pair({ fingerprints: [await clientFingerprint("sha1")] }), TypeError);
    await assert.rejects(pair({ fingerprints: [] }), TypeError);
  });

  const refusals: [name: string, options: DtlsPairOptions, prepare: (pair: DtlsPair) => void, failure: string][] = [
    ["another certificate than the offer's", { fingerprints: [Buffer.alloc(32)] }, () => {}, "fingerprint"],
    ["no SRTP", { profiles: [] }, () => {}, "profile"],
    ["a CertificateVerify by another key", {}, (made) => made.forgeCertificateVerify(), "signature"],
    ["a Finished of another handshake", {}, (made) => made.forgeFinished(), "handshake"],
  ];
  for (const [name, options, prepare, failure] of refusals) {
    test(`with ${name} fails, and says so`, async () => {
      const made = await pair(options);
      prepare(made);
      await made.handshake();
      assert.deepEqual([made.state, made.failure], ["failed", failure]);
      assert.ok(made.alerts > 0 || failure === "handshake");
      const { buffer, length } = rtp(1, "no keys");
      assert.equal(made.server.protectRtp(buffer, length), undefined);
      assert.equal(made.server.unprotectRtp(buffer), undefined);
    });
  }

  test("without SRTP is enough for a client with data channels alone", async () => {
    const made = await connected({ profiles: [], needsSrtp: false });
    assert.ok(await made.talks("data"));
    assert.equal(made.server.details().srtpProfile, 0);
    assert.equal(srtpRefusal(made.server.unprotectRtp(Buffer.alloc(60, 0x80))), "keyless");
  });

  test("goes on whatever is sent between its flights that nobody could take for a part of it", async () => {
    const made = await pair();
    for (const datagram of unauthenticRecords().values()) {
      if (datagram[0] !== CONTENT.handshake) made.feed(datagram);
    }
    await made.handshake();
    assert.equal(made.state, "connected");
    assert.ok(await made.talks("still"));
  });
});

describe("a session that is up", () => {
  test("refuses everything that is not authentic, and goes on", async () => {
    const made = await connected();
    const handshake = [...made.sent];
    for (const [name, datagram] of unauthenticRecords()) {
      // OpenSSL drops forged alerts and Finished without a word; the others are refused.
      const isSilent =
        datagram[0] !== CONTENT.applicationData && datagram.length > 37 && datagram.readUInt16BE(3) === 1;
      const refused = made.feed(datagram);
      assert.ok(refused || (isSilent && datagram[0] !== 24), name);
      assert.equal(made.state, "connected", name);
      assert.ok(await made.talks(name), name);
    }
    for (const datagram of handshake) made.feed(datagram);
    assert.ok(await made.talks("after its own handshake again"));
    assert.equal(made.atServer.length, unauthenticRecords().size + 1);
  });

  test("takes each message once", async () => {
    const made = await connected();
    await made.client.send(Buffer.from("once"));
    const sealed = made.sent.at(-1)!;
    assert.equal(made.feed(sealed), true);
    assert.deepEqual(made.atServer, [Buffer.from("once")]);
  });

  test("the good record of a datagram is taken, the bad ones beside it are not", async () => {
    const made = await connected();
    await made.client.send(Buffer.from("first"));
    await made.client.send(Buffer.from("second"));
    const [first, second] = made.sent.slice(-2);
    const other = await connected();
    assert.equal(other.feed(Buffer.concat([first!, dtlsRecord(CONTENT.alert, 0, Buffer.of(2, 0)), second!])), true);
    assert.deepEqual(other.atServer, []);
    assert.equal(other.state, "connected");
  });

  for (const profile of Object.values(SRTP)) {
    test(`takes each packet once and no forged one, under profile ${profile}`, async () => {
      const made = await connected({ profiles: [profile] });
      const { srtp } = made.media();
      const sealed = srtp.encrypt(Buffer.from("once"), rtpHeader(1));
      for (let at = 0; at < sealed.length; at++) {
        const forged = Buffer.from(sealed);
        forged[at]! ^= 0x01;
        assert.ok(made.server.unprotectRtp(forged)! < 0, `byte ${at}`);
      }
      assert.ok(made.server.unprotectRtp(Buffer.from(sealed))! > 0);
      assert.equal(srtpRefusal(made.server.unprotectRtp(Buffer.from(sealed))), "replayed");
    });

    test(`sends the same packet again as it was, and no other with its number, under profile ${profile}`, async () => {
      const made = await connected({ profiles: [profile] });
      const protect = (payload: string): Buffer | string => {
        const { buffer, length } = rtp(9, payload);
        const result = made.server.protectRtp(buffer, length)!;
        return result < 0 ? srtpRefusal(result) : buffer.subarray(0, result);
      };
      const first = protect("first");
      assert.ok(Buffer.isBuffer(first));
      assert.deepEqual(protect("first"), first);
      assert.equal(protect("other"), "reused");
      assert.deepEqual(protect("first"), first);
    });
  }

  test("ends with its client's goodbye, and with ours, and has no keys then", async () => {
    const made = await connected();
    made.close();
    assert.equal(made.state, "closed");
    const { buffer, length } = rtp(1, "late");
    assert.equal(made.server.protectRtp(buffer, length), undefined);
    assert.equal(made.server.details().certificate.length, 0);
    assert.equal(made.feed(Buffer.alloc(60, CONTENT.applicationData)), false);
    made.close();
  });
});

describe("the binding", () => {
  test("refuses arguments of other types, and says which", async () => {
    const { server } = await connected();
    const wrong = server as unknown as Record<string, (...args: unknown[]) => unknown>;
    for (const [method, ...args] of [
      ["feed", "text"],
      ["send", undefined],
      ["protectRtp", Buffer.alloc(10), 11],
      ["protectRtp", Buffer.alloc(10), -1],
      ["protectRtcp", Buffer.alloc(10)],
      ["unprotectRtp", 7],
      ["unprotectRtcp", new Uint16Array(4)],
    ] as const) {
      assert.throws(() => wrong[method]!(...args), TypeError, method);
    }
    const { DtlsSession } = loadCrypto();
    const make = DtlsSession as unknown as new (...args: unknown[]) => unknown;
    assert.throws(() => new make({}, [Buffer.alloc(32)], true), /identity/);
    assert.throws(() => new make(server, [Buffer.alloc(32)], true), /identity/);
  });
});
