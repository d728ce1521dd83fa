/** Owns what tests put on the wire as a client or a transceiver would: STUN messages, DTLS-like and RTP-like datagrams. */
import { createCipheriv, randomBytes } from "node:crypto";
import type { DerivedKeys } from "../../src/keys/key-ring.ts";
import { STUN_ATTRIBUTE, STUN_CLASS, type StunClass } from "../../src/stun/stun-reader.ts";
import { writeStun } from "../../src/stun/stun-writer.ts";
import { sealToken } from "../../src/token/token.ts";
import { siphash24 } from "../../src/trunk/siphash.ts";

const PEER_UFRAG = "peer";

export interface RequestFields {
  /** The whole USERNAME; by default `ufrag` and a peer's. */
  readonly username?: string;
  readonly method?: number;
  readonly password?: string;
}

/** A binding request to the session of `ufrag`. */
export function bindingRequest(ufrag: string, fields: RequestFields = {}): Buffer {
  const username = Buffer.from(fields.username ?? `${ufrag}:${PEER_UFRAG}`, "latin1");
  return writeStun({
    ...(fields.method === undefined ? {} : { method: fields.method }),
    class: STUN_CLASS.request,
    transactionId: randomBytes(12),
    attributes: [[STUN_ATTRIBUTE.username, username]],
    password: fields.password,
  });
}

/** A message without attributes of its own, of any class. */
export function stunMessage(stunClass: StunClass, method?: number): Buffer {
  return writeStun({
    ...(method === undefined ? {} : { method }),
    class: stunClass,
    transactionId: randomBytes(12),
    attributes: [],
  });
}

export const successResponse = (): Buffer => stunMessage(STUN_CLASS.success);
export const errorResponse = (): Buffer => stunMessage(STUN_CLASS.error);
export const indication = (): Buffer => stunMessage(STUN_CLASS.indication);

/** `length` bytes that are classified by `first` alone; the rest tells them apart. */
export function classified(first: number, length: number, fill = 0): Buffer {
  const bytes = Buffer.alloc(length, fill);
  bytes[0] = first;
  return bytes;
}

export const dtlsLike = (length = 64, fill = 0): Buffer => classified(22, length, fill);
export const rtpLike = (length = 120, fill = 0): Buffer => classified(0x80, length, fill);

/** An RTP-like datagram that says which flow it is of and where in it. */
export function numberedRtp(flow: number, sequence: number): Buffer {
  const bytes = rtpLike(32);
  bytes.writeUInt32BE(flow, 4);
  bytes.writeUInt32BE(sequence, 8);
  return bytes;
}

const HOUR_MS = 3_600_000;

/** A ufrag of `transceiver`, another one each time. */
export function tokenUfrag(
  keys: DerivedKeys,
  transceiver: { readonly id: number; readonly epoch: bigint; readonly cluster: number },
): string {
  return sealToken(
    {
      cluster: transceiver.cluster,
      transceiver: transceiver.id,
      epoch: transceiver.epoch,
      expiresAtMs: Date.now() + HOUR_MS,
      nonce: randomBytes(4).readUInt32BE(0),
    },
    keys,
  );
}

/** A ufrag that is ours on the outside, with any 16 bytes inside. */
export function tokenUfragOf(keys: DerivedKeys, block: Buffer, version = 0): string {
  const cipher = createCipheriv("aes-128-ecb", keys.tokenBlock, null).setAutoPadding(false);
  const bytes = Buffer.alloc(24);
  bytes[0] = (version << 6) | keys.id;
  cipher.update(block).copy(bytes, 1);
  const tag = Buffer.alloc(8);
  siphash24(keys.tokenTag, bytes, 0, 17, tag, 0);
  tag.copy(bytes, 17, 0, 7);
  return bytes.toString("base64");
}
