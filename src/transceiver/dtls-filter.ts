/**
 * Decides which DTLS records may reach werift's DTLS, which believes some that nobody has authenticated: it closes on a
 * plaintext alert, on an encrypted one that it takes for plaintext, and on a record of unknown type, and begins anew on a
 * ClientHello in mid-session. Pure. It keeps a stranger from ending a call; it does not make the handshake sound.
 */

const RECORD_HEADER_BYTES = 13;
const TYPE = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;

/** An alert under AES-GCM, the only kind of suite there is here: explicit nonce, two bytes, tag (RFC 5288). */
const SEALED_ALERT_BYTES = 8 + 2 + 16;

/**
 * Alert descriptions that werift knows. It looks for them in the *encrypted* alert first, and if the second byte is one
 * of them it believes the record as it stands. An honest peer's second byte is the low byte of the epoch, 1.
 */
const DESCRIPTIONS: ReadonlySet<number> = new Set([
  0, 10, 20, 21, 22, 30, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 60, 70, 71, 80, 90, 100, 110,
]);

/**
 * The records of `datagram` that may pass, or undefined if none may. `established` is whether the handshake is over: from
 * then on everything that is not encrypted is a leftover of the handshake, or forged.
 */
export function filterDtls(datagram: Buffer, established: boolean): Buffer | undefined {
  const passed: Buffer[] = [];
  let at = 0;
  while (datagram.length - at >= RECORD_HEADER_BYTES) {
    const end = at + RECORD_HEADER_BYTES + datagram.readUInt16BE(at + 11);
    if (end > datagram.length) break;
    const record = datagram.subarray(at, end);
    if (mayPass(record, established)) passed.push(record);
    at = end;
  }
  if (passed.length === 0) return undefined;
  if (passed.length === 1) return passed[0];
  return Buffer.concat(passed);
}

function mayPass(record: Buffer, established: boolean): boolean {
  const type = record[0]!;
  const isPlaintext = record.readUInt16BE(3) === 0;
  switch (type) {
    case TYPE.handshake:
    case TYPE.changeCipherSpec:
      return !(isPlaintext && established);
    case TYPE.applicationData:
      return !isPlaintext;
    case TYPE.alert:
      if (isPlaintext || record.length !== RECORD_HEADER_BYTES + SEALED_ALERT_BYTES) return false;
      return !DESCRIPTIONS.has(record[RECORD_HEADER_BYTES + 1]!);
    default:
      return false;
  }
}
