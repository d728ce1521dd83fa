/** Owns DTLS 1.2 records and handshake fragments as bytes (RFC 6347, sections 4.1 and 4.2.2), well-formed or as asked. */

export const CONTENT = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;

export function dtlsRecord(type: number, epoch: number, body: Buffer, sequence = 0): Buffer {
  const header = Buffer.alloc(13);
  header[0] = type;
  header.writeUInt16BE(0xfefd, 1);
  header.writeUInt16BE(epoch, 3);
  header.writeUIntBE(sequence, 5, 6);
  header.writeUInt16BE(body.length, 11);
  return Buffer.concat([header, body]);
}

/** A whole message, unless `of` says that it is a part of a longer one. */
export function handshakeFragment(
  type: number,
  sequence: number,
  body: Buffer,
  of: { length?: number; offset?: number } = {},
): Buffer {
  const header = Buffer.alloc(12);
  header[0] = type;
  header.writeUIntBE(of.length ?? body.length, 1, 3);
  header.writeUInt16BE(sequence, 4);
  header.writeUIntBE(of.offset ?? 0, 6, 3);
  header.writeUIntBE(body.length, 9, 3);
  return Buffer.concat([header, body]);
}

/** What a session that is up must not mind: nobody needs a key to send them. By name. */
export function unauthenticRecords(): ReadonlyMap<string, Buffer> {
  const hello = handshakeFragment(1, 0, Buffer.alloc(60, 1));
  return new Map([
    ["a plaintext close_notify", dtlsRecord(CONTENT.alert, 0, Buffer.of(1, 0))],
    ["a plaintext fatal alert", dtlsRecord(CONTENT.alert, 0, Buffer.of(2, 40))],
    ["an unencrypted alert that claims to be encrypted", dtlsRecord(CONTENT.alert, 1, Buffer.of(1, 0))],
    ["a forged alert", dtlsRecord(CONTENT.alert, 1, Buffer.alloc(26, 1))],
    ["a ClientHello", dtlsRecord(CONTENT.handshake, 0, hello)],
    ["a plaintext Finished", dtlsRecord(CONTENT.handshake, 0, handshakeFragment(20, 4, Buffer.alloc(12)))],
    ["a forged Finished", dtlsRecord(CONTENT.handshake, 1, Buffer.alloc(48, 1))],
    ["a ChangeCipherSpec", dtlsRecord(CONTENT.changeCipherSpec, 0, Buffer.of(1))],
    ["plaintext data", dtlsRecord(CONTENT.applicationData, 0, Buffer.alloc(40))],
    ["forged data", dtlsRecord(CONTENT.applicationData, 1, Buffer.alloc(40), 2 ** 40)],
    ["data too short for its tag", dtlsRecord(CONTENT.applicationData, 1, Buffer.alloc(23))],
    ["one byte of data", dtlsRecord(CONTENT.applicationData, 1, Buffer.alloc(1))],
    ["data of a later epoch", dtlsRecord(CONTENT.applicationData, 2, Buffer.alloc(40))],
    ["a record of unknown type", dtlsRecord(24, 1, Buffer.alloc(40))],
    [
      "a fragment of 16 MiB",
      dtlsRecord(
        CONTENT.handshake,
        0,
        handshakeFragment(11, 1, Buffer.alloc(20), { length: 0xffffff, offset: 0xfffff0 }),
      ),
    ],
    ["half a record", dtlsRecord(CONTENT.applicationData, 1, Buffer.alloc(40)).subarray(0, 30)],
    ["a header alone", dtlsRecord(CONTENT.applicationData, 1, Buffer.alloc(40)).subarray(0, 13)],
    ["one byte", Buffer.of(22)],
  ]);
}
