/**
 * Whether werift may read a decrypted RTP packet or RTCP compound. Only the client of the call can have made it, and that
 * is who must not be able to hold the process up: werift follows an extension's length far behind the packet's end, and spends
 * time that grows with the square of what a packet claims. Pure: reads bytes, keeps nothing.
 */

const RTP_HEADER_BYTES = 12;
const RTCP_HEADER_BYTES = 4;
const ONE_BYTE_PROFILE = 0xbede;
const TWO_BYTE_PROFILE = 0x1000;

/** Packets in one RTCP compound. A report, a description and a handful of feedback are what clients send. */
export const MAX_RTCP_PACKETS = 16;

/** Transport-wide feedback, RTPFB with this format, is never negotiated; a packet of 20 bytes can claim 65,535 results. */
const RTPFB = 205;
const TRANSPORT_WIDE_FEEDBACK = 15;

/** RFC 3550, section 5.1 and 5.3.1; RFC 8285, section 4. */
export function mayReadRtp(packet: Buffer): boolean {
  if (packet.length < RTP_HEADER_BYTES || packet[0]! >> 6 !== 2) return false;
  let at = RTP_HEADER_BYTES + 4 * (packet[0]! & 0x0f);
  if ((packet[0]! & 0x10) !== 0) {
    if (at + 4 > packet.length) return false;
    const profile = packet.readUInt16BE(at);
    const end = at + 4 + 4 * packet.readUInt16BE(at + 2);
    if (end > packet.length || !areExtensions(packet.subarray(at + 4, end), profile)) return false;
    at = end;
  }
  if (at > packet.length) return false;
  return (packet[0]! & 0x20) === 0 || isPadding(packet.subarray(at));
}

function areExtensions(elements: Buffer, profile: number): boolean {
  if (profile === ONE_BYTE_PROFILE) {
    for (let at = 0; at < elements.length; ) {
      const id = elements[at]! >> 4;
      // 15 ends the reading (RFC 8285, section 4.2).
      if (id === 15) return true;
      at += elements[at] === 0 ? 1 : 2 + (elements[at]! & 0x0f);
      if (at > elements.length) return false;
    }
  } else if (profile === TWO_BYTE_PROFILE) {
    for (let at = 0; at < elements.length; ) {
      if (elements[at] === 0) at += 1;
      else if (at + 1 >= elements.length) return false;
      else at += 2 + elements[at + 1]!;
      if (at > elements.length) return false;
    }
  }
  return true;
}

/** The last byte says how many there are, itself included. */
const isPadding = (payload: Buffer): boolean => {
  const length = payload.at(-1) ?? 0;
  return length > 0 && length <= payload.length;
};

/** RFC 3550, section 6.1 and appendix A.2. */
export function mayReadRtcp(compound: Buffer): boolean {
  let packets = 0;
  for (let at = 0; at < compound.length; ) {
    if (++packets > MAX_RTCP_PACKETS || at + RTCP_HEADER_BYTES > compound.length) return false;
    const first = compound[at]!;
    const end = at + RTCP_HEADER_BYTES + 4 * compound.readUInt16BE(at + 2);
    if (first >> 6 !== 2 || end > compound.length) return false;
    if (compound[at + 1] === RTPFB && (first & 0x1f) === TRANSPORT_WIDE_FEEDBACK) return false;
    if ((first & 0x20) !== 0 && !isPadding(compound.subarray(at + RTCP_HEADER_BYTES, end))) return false;
    at = end;
  }
  return packets > 0;
}
