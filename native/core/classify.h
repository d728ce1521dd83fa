// First-byte classes of a datagram on a multiplexed WebRTC port (RFC 7983).
#pragma once

#include <cstdint>

namespace earshot {

enum class PacketClass : uint8_t { stun, dtls, rtp, other };

inline PacketClass classify(uint8_t first) {
  if (first <= 3) return PacketClass::stun;
  if (first >= 128 && first <= 191) return PacketClass::rtp;
  if (first >= 20 && first <= 63) return PacketClass::dtls;
  return PacketClass::other;  // ZRTP, TURN channels, QUIC: no session of ours uses them
}

}  // namespace earshot
