/** The STUN messages that the ICE agent sends, and what it asks of those it gets. Pure: bytes in, bytes out. */
import { STUN_ATTRIBUTE, STUN_CLASS, type StunMessage, stunAttribute } from "../stun/stun-reader.ts";
import { errorCode, u32, u64, writeStun, xorAddress } from "../stun/stun-writer.ts";
import { pathHost, pathPort } from "../trunk/path.ts";
import { CHECK_PRIORITY } from "./limits.ts";

/** From here on a receiver may ignore an attribute that it does not know (RFC 8489, section 14). */
const COMPREHENSION_OPTIONAL = 0x8000;

/** The comprehension-required attributes that a binding request may bring and that we understand. */
const UNDERSTOOD: ReadonlySet<number> = new Set([
  STUN_ATTRIBUTE.username,
  STUN_ATTRIBUTE.messageIntegrity,
  STUN_ATTRIBUTE.messageIntegritySha256,
  STUN_ATTRIBUTE.priority,
  STUN_ATTRIBUTE.useCandidate,
]);

const NOTHING = Buffer.alloc(0);

/** A Binding Indication (RFC 8445, section 11): a client that gets one does nothing about it. */
export const KEEPALIVE = writeStun({
  class: STUN_CLASS.indication,
  transactionId: Buffer.alloc(12),
  attributes: [],
});

/** The types that oblige us to refuse this request, without repeats. What follows MESSAGE-INTEGRITY does not count. */
export function unknownAttributes(message: StunMessage): number[] {
  const unknown = new Set<number>();
  for (const { type } of message.attributes) {
    if (type === STUN_ATTRIBUTE.messageIntegrity) break;
    if (type < COMPREHENSION_OPTIONAL && !UNDERSTOOD.has(type)) unknown.add(type);
  }
  return [...unknown];
}

export function username(message: StunMessage): string | undefined {
  return stunAttribute(message, STUN_ATTRIBUTE.username)?.toString("latin1");
}

/** A Binding Request with ICE-CONTROLLED and USE-CANDIDATE absent. */
export function writeCheck(check: {
  readonly transactionId: Buffer;
  readonly username: string;
  readonly password: string;
  readonly tieBreaker: bigint;
}): Buffer {
  return writeStun({
    class: STUN_CLASS.request,
    transactionId: check.transactionId,
    attributes: [
      [STUN_ATTRIBUTE.username, Buffer.from(check.username, "latin1")],
      [STUN_ATTRIBUTE.priority, u32(CHECK_PRIORITY)],
      [STUN_ATTRIBUTE.iceControlled, u64(check.tieBreaker)],
    ],
    password: check.password,
  });
}

/** The success response, which tells the client the address that its request came from. */
export function writeSuccess(request: StunMessage, path: Buffer, password: string): Buffer {
  const { transactionId } = request;
  return writeStun({
    class: STUN_CLASS.success,
    transactionId,
    attributes: [[STUN_ATTRIBUTE.xorMappedAddress, xorAddress(pathHost(path), pathPort(path), transactionId)]],
    password,
  });
}

/** 487: both sides think that they are controlled; the client has to take the other role (RFC 8445, section 7.3.1.1). */
export function writeRoleConflict(request: StunMessage, password: string): Buffer {
  return writeError(request, errorCode(487, "Role Conflict"), NOTHING, password);
}

/** 420: names the attributes that stood in the way (RFC 8489, section 6.3.1). */
export function writeUnknownAttributes(request: StunMessage, types: readonly number[], password: string): Buffer {
  const list = Buffer.alloc(2 * types.length);
  types.forEach((type, index) => {
    list.writeUInt16BE(type, 2 * index);
  });
  return writeError(request, errorCode(420, "Unknown Attribute"), list, password);
}

function writeError(request: StunMessage, code: Buffer, unknown: Buffer, password: string): Buffer {
  return writeStun({
    class: STUN_CLASS.error,
    transactionId: request.transactionId,
    attributes: [
      [STUN_ATTRIBUTE.errorCode, code],
      ...(unknown.length === 0 ? [] : ([[STUN_ATTRIBUTE.unknownAttributes, unknown]] as const)),
    ],
    password,
  });
}
