/** Owns the first-byte classes of a datagram on a multiplexed WebRTC port (RFC 7983); native/core/classify.h is the same. */

/** Other: ZRTP, TURN channels, QUIC; no session of ours uses them. */
export const PACKET_CLASS = { stun: 0, dtls: 1, rtp: 2, other: 3 } as const;
export type PacketClass = (typeof PACKET_CLASS)[keyof typeof PACKET_CLASS];

export function packetClass(first: number): PacketClass {
  if (first <= 3) return PACKET_CLASS.stun;
  if (first >= 128 && first <= 191) return PACKET_CLASS.rtp;
  if (first >= 20 && first <= 63) return PACKET_CLASS.dtls;
  return PACKET_CLASS.other;
}
