/**
 * Reads STUN messages (RFC 8489). Owns the one definition of a well-formed message, which native/core shares: at least
 * 20 bytes; two zero bits, then type; a length that is a multiple of 4 and ends the datagram; the magic cookie; and
 * attributes that, each padded to 4 bytes, fill that length exactly. Being well-formed says nothing about who sent it:
 * for that see stun-integrity.ts. Any bytes may be given; nothing here throws or changes them.
 */
import ipaddr from "ipaddr.js";

export const STUN_HEADER_BYTES = 20;
export const STUN_MAGIC_COOKIE = 0x2112a442;
export const STUN_METHOD_BINDING = 1;
export const STUN_CLASS = { request: 0, indication: 1, success: 2, error: 3 } as const;
export type StunClass = (typeof STUN_CLASS)[keyof typeof STUN_CLASS];

export const STUN_ATTRIBUTE = {
  mappedAddress: 0x0001,
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  unknownAttributes: 0x000a,
  messageIntegritySha256: 0x001c,
  xorMappedAddress: 0x0020,
  priority: 0x0024,
  useCandidate: 0x0025,
  software: 0x8022,
  fingerprint: 0x8028,
  iceControlled: 0x8029,
  iceControlling: 0x802a,
} as const;

export interface StunAttribute {
  readonly type: number;
  /** Where the value starts in the message's bytes. */
  readonly offset: number;
  /** Of the value, without its padding. */
  readonly length: number;
}

export interface StunMessage {
  /** The whole datagram; not a copy. */
  readonly bytes: Buffer;
  readonly method: number;
  readonly class: StunClass;
  /** 12 bytes; not a copy. */
  readonly transactionId: Buffer;
  readonly attributes: readonly StunAttribute[];
}

const COLON = 0x3a;
const FAMILY_IPV4 = 1;
const FAMILY_IPV6 = 2;

/** The message that fills this datagram, or undefined if it is not a well-formed one. */
export function readStun(datagram: Buffer): StunMessage | undefined {
  const end = datagram.length;
  if (end < STUN_HEADER_BYTES) return undefined;
  const type = datagram.readUInt16BE(0);
  if (type > 0x3fff) return undefined;
  const length = datagram.readUInt16BE(2);
  if ((length & 3) !== 0 || length !== end - STUN_HEADER_BYTES) return undefined;
  if (datagram.readUInt32BE(4) !== STUN_MAGIC_COOKIE) return undefined;

  const attributes: StunAttribute[] = [];
  // What is left is always a multiple of 4, so a header of 4 bytes fits whenever anything is left.
  for (let at = STUN_HEADER_BYTES; at < end; ) {
    const valueLength = datagram.readUInt16BE(at + 2);
    const next = at + 4 + ((valueLength + 3) & ~3);
    if (next > end) return undefined;
    attributes.push({ type: datagram.readUInt16BE(at), offset: at + 4, length: valueLength });
    at = next;
  }
  return {
    bytes: datagram,
    // RFC 8489, section 5: the class is in bits 4 and 8 of the type, the method in the twelve others.
    method: (type & 0x000f) | ((type & 0x00e0) >>> 1) | ((type & 0x3e00) >>> 2),
    class: (((type & 0x0010) >>> 4) | ((type & 0x0100) >>> 7)) as StunClass,
    transactionId: datagram.subarray(8, STUN_HEADER_BYTES),
    attributes,
  };
}

/**
 * The first attribute of this type that counts: what follows MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 does not,
 * because the sender did not vouch for it, but for the second of these two and FINGERPRINT (RFC 8489, sections 14.5-14.7).
 */
export function findStunAttribute(message: StunMessage, type: number): StunAttribute | undefined {
  let sealedBy = 0;
  for (const attribute of message.attributes) {
    if (attribute.type === type) {
      if (sealedBy === 0 || type === STUN_ATTRIBUTE.fingerprint) return attribute;
      if (sealedBy === STUN_ATTRIBUTE.messageIntegrity && type === STUN_ATTRIBUTE.messageIntegritySha256) {
        return attribute;
      }
    }
    if (attribute.type === STUN_ATTRIBUTE.messageIntegritySha256) sealedBy = attribute.type;
    else if (attribute.type === STUN_ATTRIBUTE.messageIntegrity && sealedBy === 0) sealedBy = attribute.type;
  }
  return undefined;
}

/** The value of the attribute that {@link findStunAttribute} finds; a view. */
export function stunAttribute(message: StunMessage, type: number): Buffer | undefined {
  const found = findStunAttribute(message, type);
  return found && message.bytes.subarray(found.offset, found.offset + found.length);
}

/**
 * The part of USERNAME before the first colon: in a request, the ufrag of the side that receives it (RFC 8445, section
 * 7.2.2). Undefined without USERNAME or colon; otherwise any characters, one for each byte.
 */
export function localUfrag(message: StunMessage): string | undefined {
  const username = stunAttribute(message, STUN_ATTRIBUTE.username);
  if (username === undefined) return undefined;
  const colon = username.indexOf(COLON);
  return colon < 0 ? undefined : username.toString("latin1", 0, colon);
}

/** The address in the value of an XOR-MAPPED-ADDRESS (RFC 8489, section 14.2). */
export function readXorAddress(value: Buffer, transactionId: Buffer): { host: string; port: number } | undefined {
  const family = value.length > 1 ? value[1] : undefined;
  if (!(family === FAMILY_IPV4 && value.length === 8) && !(family === FAMILY_IPV6 && value.length === 20)) {
    return undefined;
  }
  const port = value.readUInt16BE(2) ^ (STUN_MAGIC_COOKIE >>> 16);
  const address = xorWithCookie(value.subarray(4), transactionId);
  return { host: ipaddr.fromByteArray([...address]).toString(), port };
}

/** The address bytes, 4 or 16, combined with the magic cookie and the transaction id; its own inverse. */
export function xorWithCookie(address: Uint8Array, transactionId: Buffer): Buffer {
  const result = Buffer.from(address);
  for (let i = 0; i < result.length; i++) {
    result[i]! ^= i < 4 ? STUN_MAGIC_COOKIE >>> (24 - 8 * i) : transactionId[i - 4]!;
  }
  return result;
}
