import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { filterDtls } from "../../src/transceiver/dtls-filter.ts";

const CCS = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const DATA = 23;

function record(type: number, epoch: number, fragment: Buffer): Buffer {
  const header = Buffer.from([type, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9, 0, 0]);
  header.writeUInt16BE(fragment.length, 11);
  return Buffer.concat([header, fragment]);
}

const clientHello = record(HANDSHAKE, 0, Buffer.concat([Buffer.of(1), Buffer.alloc(40)]));
const finished = record(HANDSHAKE, 0, Buffer.concat([Buffer.of(20), Buffer.alloc(23)]));
const sealedFinished = record(HANDSHAKE, 1, Buffer.alloc(48, 3));
const changeCipherSpec = record(CCS, 0, Buffer.of(1));
const closeNotify = record(ALERT, 0, Buffer.of(1, 0));
/** An explicit nonce of epoch and sequence, as OpenSSL, BoringSSL and NSS make it. */
const sealedCloseNotify = record(ALERT, 1, Buffer.concat([Buffer.of(0, 1, 0, 0, 0, 0, 0, 9), Buffer.alloc(18, 0xaa)]));
const plaintextInEpoch1 = record(ALERT, 1, Buffer.of(1, 0));
const disguised = record(ALERT, 1, Buffer.concat([Buffer.of(1, 0), Buffer.alloc(24, 0xaa)]));
const data = record(DATA, 1, Buffer.alloc(60, 5));

describe("records that may reach werift's DTLS", () => {
  const cases: [name: string, bytes: Buffer, handshaking: boolean, established: boolean][] = [
    ["a ClientHello", clientHello, true, false],
    ["a plaintext Finished", finished, true, false],
    ["an encrypted Finished", sealedFinished, true, true],
    ["a ChangeCipherSpec", changeCipherSpec, true, false],
    ["a plaintext alert", closeNotify, false, false],
    ["an encrypted alert", sealedCloseNotify, true, true],
    ["a plaintext alert that claims to be encrypted", plaintextInEpoch1, false, false],
    ["an alert whose nonce reads like a close_notify", disguised, false, false],
    ["encrypted data", data, true, true],
    ["plaintext data", record(DATA, 0, Buffer.alloc(60)), false, false],
    ["a record of unknown type", record(24, 1, Buffer.alloc(60)), false, false],
    ["a plaintext record of unknown type", record(63, 0, Buffer.alloc(60)), false, false],
    ["a header alone", data.subarray(0, 13), false, false],
    ["half a record", data.subarray(0, 30), false, false],
    ["one byte", Buffer.of(22), false, false],
  ];
  for (const [name, bytes, handshaking, established] of cases) {
    test(name, () => {
      assert.deepEqual(filterDtls(bytes, false), handshaking ? bytes : undefined, "during the handshake");
      assert.deepEqual(filterDtls(bytes, true), established ? bytes : undefined, "afterwards");
    });
  }

  test("the good records of a datagram pass without the bad ones", () => {
    const flight = Buffer.concat([clientHello, closeNotify, changeCipherSpec, sealedFinished, data.subarray(0, 20)]);
    assert.deepEqual(filterDtls(flight, false), Buffer.concat([clientHello, changeCipherSpec, sealedFinished]));
    assert.deepEqual(filterDtls(flight, true), sealedFinished);
  });

  test("a datagram of good records passes as it is", () => {
    const flight = Buffer.concat([data, sealedCloseNotify]);
    assert.deepEqual(filterDtls(flight, true), flight);
  });
});
