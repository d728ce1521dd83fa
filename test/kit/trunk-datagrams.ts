/** Owns trunk datagrams that the product's own writer refuses to make: any header, any bytes for frames, a right tag. */
import { siphash24 } from "../../src/trunk/siphash.ts";

export interface RawHeader {
  /** Version 1, direction down. */
  readonly versionAndFlags?: number;
  readonly keyId: number;
  readonly cluster: number;
  readonly senderId: number;
  readonly targetId: number;
  readonly targetEpoch: number;
  readonly senderEpoch: bigint;
  readonly sequence: bigint;
}

const VERSION_1_DOWN = 0x11;

/** A datagram with this header and these bytes where frames belong, sealed with `key`. */
export function sealTrunk(header: RawHeader, frames: Buffer, key: Buffer): Buffer {
  const bytes = Buffer.alloc(32 + frames.length + 8);
  bytes[0] = header.versionAndFlags ?? VERSION_1_DOWN;
  bytes[1] = header.keyId;
  bytes.writeUInt16BE(header.cluster, 2);
  bytes.writeUInt32BE(header.senderId, 4);
  bytes.writeUInt32BE(header.targetId, 8);
  bytes.writeUInt32BE(header.targetEpoch, 12);
  bytes.writeBigUInt64BE(header.senderEpoch, 16);
  bytes.writeBigUInt64BE(header.sequence, 24);
  frames.copy(bytes, 32);
  siphash24(key, bytes, 0, bytes.length - 8, bytes, bytes.length - 8);
  return bytes;
}

/** A frame as it is on the wire. `says` is the length that it claims, if not that of `payload`. */
export function rawFrame(kind: number, path: Buffer | undefined, payload: Buffer, says = payload.length): Buffer {
  const head = Buffer.from([says >>> 8, says & 0xff, kind]);
  return Buffer.concat([head, path ?? Buffer.from([0]), payload]);
}
