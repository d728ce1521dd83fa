/** STUN messages for tests: well-formed ones, and ones that are put together wrongly on purpose. */
import assert from "node:assert/strict";
import { fingerprint, messageIntegrity } from "../../src/stun/stun-integrity.ts";
import { readStun, STUN_ATTRIBUTE, STUN_CLASS, type StunMessage } from "../../src/stun/stun-reader.ts";
import { writeStun } from "../../src/stun/stun-writer.ts";

export const TRANSACTION_ID = Buffer.from("0102030405060708090a0b0c", "hex");
export const PASSWORD = "WVQyNLFvJuKVDtje0O4R72R0";
const { username, messageIntegrity: mi, fingerprint: fp } = STUN_ATTRIBUTE;

export function read(datagram: Buffer): StunMessage {
  const message = readStun(datagram);
  assert.ok(message, "expected a well-formed message");
  return message;
}

/** A request as browsers send it, but for what is given. */
export function request(attributes: [number, Buffer][] = [[username, Buffer.from("ours:theirs")]]): Buffer {
  const { request: requestClass } = STUN_CLASS;
  return writeStun({ class: requestClass, transactionId: TRANSACTION_ID, attributes, password: PASSWORD });
}

/** A message with these attributes exactly as they are, each `[type, value, length said if another]`. */
export function raw(attributes: [type: number, value: Buffer, length?: number][], type = 1): Buffer {
  const parts = attributes.map(([attributeType, value, length = value.length]) => {
    const header = Buffer.alloc(4);
    header.writeUInt16BE(attributeType, 0);
    header.writeUInt16BE(length, 2);
    return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
  });
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(8);
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(body.length, 2);
  header.writeUInt32BE(0x2112a442, 4);
  return Buffer.concat([header, TRANSACTION_ID, body]);
}

/** Puts a right HMAC and a right checksum where the message has places for them. */
export function sealed(datagram: Buffer): Buffer {
  for (const { type, offset, length } of read(datagram).attributes) {
    if (type === mi && length === 20) messageIntegrity(datagram, offset - 4, PASSWORD).copy(datagram, offset);
    if (type === fp && length > 0) datagram.writeUInt32BE(fingerprint(datagram, offset - 4), offset);
  }
  return datagram;
}

export function alter(datagram: Buffer, at: number, value: number): Buffer {
  const altered = Buffer.from(datagram);
  altered[at] = value;
  return altered;
}
