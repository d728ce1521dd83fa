/**
 * Frames: one client datagram, or one control message, inside a trunk datagram. The table here is the one place in
 * TypeScript that says which frames docs/trunk-protocol.md allows; reading and writing both ask it.
 */
import { pathLength } from "./path.ts";

export const FRAME_KIND = {
  data: 1,
  promote: 2,
  flowEnd: 3,
  unknownPath: 4,
  assert: 5,
  ping: 6,
  pong: 7,
  drain: 8,
} as const;
export type FrameKind = (typeof FRAME_KIND)[keyof typeof FRAME_KIND];

/** Of a trunk datagram: up is to the transceiver, down to the relay. */
export const DIRECTION = { up: 0, down: 1 } as const;
export type Direction = (typeof DIRECTION)[keyof typeof DIRECTION];

/** Payload length and kind; the path bytes, or one zero byte, follow. */
const PREFIX_BYTES = 3;
const LARGEST_PAYLOAD = 0xffff;
const UFRAG_BYTES = 32;

interface KindRule {
  readonly up: boolean;
  readonly down: boolean;
  readonly hasPath: boolean;
  readonly leastPayload: number;
  readonly mostPayload: number;
}

const rule = (up: boolean, down: boolean, hasPath: boolean, leastPayload: number, mostPayload: number): KindRule => ({
  up,
  down,
  hasPath,
  leastPayload,
  mostPayload,
});

/** A frame that says nothing: native senders fill datagrams with it. Nobody is told of it, and TypeScript writes none. */
export const PADDING = 0;

/** By kind. */
const RULES: readonly KindRule[] = [
  rule(true, true, false, 0, LARGEST_PAYLOAD),
  rule(true, true, true, 1, LARGEST_PAYLOAD),
  rule(false, true, true, UFRAG_BYTES, UFRAG_BYTES),
  rule(false, true, true, UFRAG_BYTES, UFRAG_BYTES),
  rule(true, false, true, 0, 0),
  rule(false, true, true, UFRAG_BYTES, UFRAG_BYTES),
  rule(true, false, false, 8, 8),
  rule(false, true, false, 9, 9),
  rule(false, true, false, 0, 0),
];

/** What is before the payload of a frame of this kind, direction, family and payload length; 0 if there is no such frame. */
function headerBytes(kind: number, direction: Direction, family: number, payload: number): number {
  const found = RULES[kind];
  if (found === undefined || !(direction === DIRECTION.up ? found.up : found.down)) return 0;
  if (payload < found.leastPayload || payload > found.mostPayload) return 0;
  if (!found.hasPath) return family === 0 ? PREFIX_BYTES + 1 : 0;
  const path = pathLength(family);
  return path === 0 ? 0 : PREFIX_BYTES + path;
}

/** How many bytes the frame takes, or 0 if the protocol has no such frame. */
export function frameBytes(kind: number, direction: Direction, path: Buffer | undefined, payload: Buffer): number {
  const family = path === undefined ? 0 : path[0]!;
  if (path !== undefined && path.length !== pathLength(family)) return 0;
  const header = headerBytes(kind, direction, family, payload.length);
  return header === 0 ? 0 : header + payload.length;
}

/** Writes a frame for which {@link frameBytes} is not 0, and returns where it ends. */
export function writeFrame(
  out: Buffer,
  start: number,
  kind: number,
  path: Buffer | undefined,
  payload: Buffer,
): number {
  out[start] = payload.length >>> 8;
  out[start + 1] = payload.length;
  out[start + 2] = kind;
  let at = start + PREFIX_BYTES;
  if (path === undefined) {
    out[at] = 0;
    at += 1;
  } else {
    out.set(path, at);
    at += path.length;
  }
  out.set(payload, at);
  return at + payload.length;
}

/**
 * Calls `onFrame` for each frame but padding from `start` to before `end`. `path` and `payload` are views of `datagram`. False when
 * it came to a frame that it could not read: the frames before it stand, the rest is lost.
 */
export function readFrames(
  datagram: Buffer,
  start: number,
  end: number,
  direction: Direction,
  onFrame: (kind: FrameKind, path: Buffer | undefined, payload: Buffer) => void,
): boolean {
  for (let at = start; at < end; ) {
    if (end - at < PREFIX_BYTES + 1) return false;
    const length = (datagram[at]! << 8) | datagram[at + 1]!;
    const kind = datagram[at + 2]!;
    const family = datagram[at + PREFIX_BYTES]!;
    const header = headerBytes(kind, direction, family, length);
    if (header === 0 || header + length > end - at) return false;
    const payloadStart = at + header;
    const path = family === 0 ? undefined : datagram.subarray(at + PREFIX_BYTES, payloadStart);
    at = payloadStart + length;
    if (kind !== PADDING) onFrame(kind as FrameKind, path, datagram.subarray(payloadStart, at));
  }
  return true;
}
