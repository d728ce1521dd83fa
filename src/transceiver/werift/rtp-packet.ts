/**
 * RTP packets as bytes (RFC 3550, section 5.1; header extensions RFC 8285). Reads only what `mayReadRtp` has passed. Pure.
 */

const FIXED_BYTES = 12;
const ONE_BYTE_PROFILE = 0xbede;
const TWO_BYTE_PROFILE = 0x1000;
/** RFC 8285, section 4.2: what an element with a header of one byte can be. */
const MOST_ONE_BYTE_ID = 14;
const MOST_ONE_BYTE_LENGTH = 16;

export const payloadTypeOf = (packet: Buffer): number => packet[1]! & 0x7f;
export const markerOf = (packet: Buffer): boolean => packet[1]! >= 0x80;
export const sequenceOf = (packet: Buffer): number => packet.readUInt16BE(2);
export const timestampOf = (packet: Buffer): number => packet.readUInt32BE(4);
export const ssrcOf = (packet: Buffer): number => packet.readUInt32BE(8);

const extensionsStart = (packet: Buffer): number => FIXED_BYTES + 4 * (packet[0]! & 0x0f);
const hasExtensions = (packet: Buffer): boolean => (packet[0]! & 0x10) !== 0;

/** A view, without padding. */
export function payloadOf(packet: Buffer): Buffer {
  let start = extensionsStart(packet);
  if (hasExtensions(packet)) start += 4 + 4 * packet.readUInt16BE(start + 2);
  const padding = (packet[0]! & 0x20) === 0 ? 0 : packet.at(-1)!;
  return packet.subarray(start, packet.length - padding);
}

/** A view of the extension with this id. */
export function extensionOf(packet: Buffer, id: number): Buffer | undefined {
  if (!hasExtensions(packet)) return undefined;
  const start = extensionsStart(packet);
  const profile = packet.readUInt16BE(start);
  const end = start + 4 + 4 * packet.readUInt16BE(start + 2);
  if (profile === ONE_BYTE_PROFILE) {
    for (let at = start + 4; at < end; ) {
      const first = packet[at]!;
      if (first >> 4 === 15) return undefined;
      const next = at + (first === 0 ? 1 : 2 + (first & 0x0f));
      if (first !== 0 && first >> 4 === id) return packet.subarray(at + 1, next);
      at = next;
    }
  } else if (profile === TWO_BYTE_PROFILE) {
    for (let at = start + 4; at < end; ) {
      const next = at + (packet[at] === 0 ? 1 : 2 + packet[at + 1]!);
      if (packet[at] !== 0 && packet[at] === id) return packet.subarray(at + 2, next);
      at = next;
    }
  }
  return undefined;
}

/** All of a header that is the same in each packet of a stream; `mid` is the extension that says which m-line it is of. */
export function headerOf(ssrc: number, mid: { readonly id: number; readonly value: string } | undefined): Buffer {
  const fixed = Buffer.alloc(FIXED_BYTES);
  fixed[0] = 0x80;
  fixed.writeUInt32BE(ssrc, 8);
  if (mid === undefined) return fixed;
  fixed[0] = 0x90;
  const value = Buffer.from(mid.value, "utf8");
  const isShort = mid.id <= MOST_ONE_BYTE_ID && value.length <= MOST_ONE_BYTE_LENGTH;
  const element = isShort ? [(mid.id << 4) | (value.length - 1)] : [mid.id, value.length];
  const words = Math.ceil((element.length + value.length) / 4);
  const extension = Buffer.alloc(4 + 4 * words);
  extension.writeUInt16BE(isShort ? ONE_BYTE_PROFILE : TWO_BYTE_PROFILE, 0);
  extension.writeUInt16BE(words, 2);
  extension.set([...element, ...value], 4);
  return Buffer.concat([fixed, extension]);
}

/** What differs from packet to packet. */
export function writeHeader(
  packet: Buffer,
  header: Buffer,
  { payloadType, marker }: { readonly payloadType: number; readonly marker: boolean },
  sequence: number,
  timestamp: number,
): void {
  header.copy(packet);
  packet[1] = payloadType | (marker ? 0x80 : 0);
  packet.writeUInt16BE(sequence, 2);
  packet.writeUInt32BE(timestamp, 4);
}
