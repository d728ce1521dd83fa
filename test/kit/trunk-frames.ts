/** Owns reading what a tap on the trunk has captured: its headers and frames, whether or not anybody would accept them. */
import { TRUNK_HEADER_BYTES, TRUNK_TAG_BYTES } from "../../src/trunk/datagram.ts";
import { DIRECTION, type FrameKind, readFrames } from "../../src/trunk/frame.ts";
import type { RawHeader } from "./trunk-datagrams.ts";
import type { Captured, TrunkTap } from "./trunk-tap.ts";

export interface CapturedFrame {
  readonly kind: FrameKind;
  /** Empty where the kind has none. */
  readonly path: Buffer;
  readonly payload: Buffer;
  readonly from: Captured;
}

/** All frames that have gone by in that direction, oldest first. */
export function framesOf(tap: TrunkTap, direction: Captured["direction"]): readonly CapturedFrame[] {
  return tap.of(direction).flatMap((from) => {
    const frames: CapturedFrame[] = [];
    const end = from.datagram.length - TRUNK_TAG_BYTES;
    readFrames(from.datagram, TRUNK_HEADER_BYTES, end, DIRECTION[direction], (kind, path, payload) => {
      frames.push({ kind: kind as FrameKind, path: path ?? Buffer.alloc(0), payload, from });
    });
    return frames;
  });
}

export function headerOf({ datagram }: Captured): Required<RawHeader> {
  return {
    versionAndFlags: datagram[0]!,
    keyId: datagram[1]!,
    cluster: datagram.readUInt16BE(2),
    senderId: datagram.readUInt32BE(4),
    targetId: datagram.readUInt32BE(8),
    targetEpoch: datagram.readUInt32BE(12),
    senderEpoch: datagram.readBigUInt64BE(16),
    sequence: datagram.readBigUInt64BE(24),
  };
}

/** Its frames, as bytes. */
export function frameBytesOf({ datagram }: Captured): Buffer {
  return datagram.subarray(TRUNK_HEADER_BYTES, datagram.length - TRUNK_TAG_BYTES);
}
