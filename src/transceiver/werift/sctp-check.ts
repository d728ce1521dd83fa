/**
 * Whether werift may read an SCTP packet. A client reaches werift's SCTP with anything it likes, and werift takes lengths,
 * ranges and sequences as they come: a parameter of length 0 holds its reader for ever, a SACK of a few ranges for seconds.
 * Here is what RFC 9260 demands of the shape of a packet, and what an honest client keeps to. Pure: reads bytes, keeps nothing.
 */

const COMMON_HEADER_BYTES = 12;
const CHUNK_HEADER_BYTES = 4;

/** What the association's state allows. Transmission sequence numbers are 32 bits, in serial arithmetic (RFC 1982). */
export interface SctpBounds {
  /** Everything up to here has been received; undefined before the client's INIT. */
  readonly lastReceivedTsn: number | undefined;
  /** Nothing has been sent from here on. */
  readonly nextTsn: number;
}

/**
 * How far ahead of the last in order a DATA chunk may be, in TSNs. werift sorts what is out of order for each chunk that comes,
 * so a larger value lets one client use up everybody's CPU. What is beyond comes again: a client that lost a packet in so long
 * a burst of data-channel messages is slowed down, no more.
 */
export const MAX_TSN_AHEAD = 256;

/** Chunks in one packet. Data channels bundle small messages, and 16 bytes of header bound them; nobody sends so many. */
export const MAX_CHUNKS = 64;

const CHUNK = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  error: 9,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
  reconfig: 130,
  forwardTsn: 192,
} as const;

type ChunkCheck = (body: Buffer, bounds: SctpBounds) => boolean;

const CHECKS = new Map<number, ChunkCheck>([
  [CHUNK.data, isData],
  [CHUNK.init, (body) => body.length >= 16 && areParameters(body, 16)],
  [CHUNK.initAck, (body) => body.length >= 16 && areParameters(body, 16)],
  [CHUNK.sack, isSack],
  [CHUNK.heartbeat, (body) => areParameters(body, 0)],
  [CHUNK.heartbeatAck, (body) => areParameters(body, 0)],
  [CHUNK.abort, (body) => areParameters(body, 0)],
  [CHUNK.shutdown, (body) => body.length === 4],
  [CHUNK.shutdownAck, (body) => body.length === 0],
  [CHUNK.error, (body) => areParameters(body, 0)],
  [CHUNK.cookieEcho, (body) => body.length > 0],
  [CHUNK.cookieAck, (body) => body.length === 0],
  [CHUNK.shutdownComplete, (body) => body.length === 0],
  [CHUNK.reconfig, isReconfig],
  [CHUNK.forwardTsn, isForwardTsn],
]);

/** False for a packet that must be dropped as a whole. */
export function mayReadSctp(packet: Buffer, bounds: SctpBounds): boolean {
  if (packet.length < COMMON_HEADER_BYTES + CHUNK_HEADER_BYTES) return false;
  let chunks = 0;
  for (let at = COMMON_HEADER_BYTES; at < packet.length; ) {
    if (++chunks > MAX_CHUNKS || at + CHUNK_HEADER_BYTES > packet.length) return false;
    const length = packet.readUInt16BE(at + 2);
    if (length < CHUNK_HEADER_BYTES || at + length > packet.length) return false;
    // A type that werift does not know costs its whole packet; RFC 9260, section 3.2, would have most of them skipped.
    const check = CHECKS.get(packet[at]!);
    if (check === undefined || !check(packet.subarray(at + CHUNK_HEADER_BYTES, at + length), bounds)) return false;
    at += padded(length);
  }
  return true;
}

const padded = (length: number): number => (length + 3) & ~3;

/** How far `tsn` is ahead of `from`, from -2^31 to 2^31 - 1. */
const ahead = (tsn: number, from: number): number => (tsn - from) | 0;

/** RFC 9260, section 3.2.1: type, length of header and value, value, padding. */
function areParameters(body: Buffer, start: number): boolean {
  for (let at = start; at < body.length; ) {
    if (at + 4 > body.length) return false;
    const length = body.readUInt16BE(at + 2);
    if (length < 4 || at + length > body.length) return false;
    at += padded(length);
  }
  return true;
}

function isData(body: Buffer, { lastReceivedTsn }: SctpBounds): boolean {
  // At least one byte of user data (section 3.3.1).
  if (body.length < 13) return false;
  return lastReceivedTsn !== undefined && ahead(body.readUInt32BE(0), lastReceivedTsn) <= MAX_TSN_AHEAD;
}

function isSack(body: Buffer, { nextTsn }: SctpBounds): boolean {
  if (body.length < 12) return false;
  const gaps = body.readUInt16BE(8);
  const duplicates = body.readUInt16BE(10);
  if (body.length !== 12 + 4 * (gaps + duplicates)) return false;
  // Not of what was never sent; and ranges that rise, so that together they cover no more than what is under way.
  const unacknowledged = -ahead(body.readUInt32BE(0), nextTsn) - 1;
  if (unacknowledged < 0) return false;
  let last = 0;
  for (let at = 12; at < 12 + 4 * gaps; at += 4) {
    const [start, end] = [body.readUInt16BE(at), body.readUInt16BE(at + 2)];
    if (start <= last || end < start || end > unacknowledged) return false;
    last = end;
  }
  return true;
}

function isForwardTsn(body: Buffer, { lastReceivedTsn }: SctpBounds): boolean {
  if (body.length < 4 || body.length % 4 !== 0) return false;
  return lastReceivedTsn !== undefined && ahead(body.readUInt32BE(0), lastReceivedTsn) <= MAX_TSN_AHEAD;
}

/** RFC 6525, section 4: an outgoing reset, a response, or more streams; by type, the least and the most bytes of value. */
const RECONFIG_VALUES = new Map<number, readonly [number, number]>([
  [13, [12, Number.POSITIVE_INFINITY]],
  [16, [8, 16]],
  [17, [8, 8]],
]);

function isReconfig(body: Buffer): boolean {
  if (!areParameters(body, 0)) return false;
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt16BE(at + 2);
    const value = length - 4;
    const [least, most] = RECONFIG_VALUES.get(body.readUInt16BE(at)) ?? [0, Number.POSITIVE_INFINITY];
    if (value < least || value > most || value % 2 !== 0) return false;
    at += padded(length);
  }
  return true;
}
