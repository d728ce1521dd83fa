#include "stun.h"

#include <cstring>

#include "bytes.h"

namespace earshot {
namespace {

constexpr size_t kHeaderBytes = 20;
constexpr uint32_t kMagicCookie = 0x2112a442;
constexpr uint16_t kUsername = 0x0006;
constexpr uint16_t kMessageIntegrity = 0x0008;
constexpr uint16_t kMessageIntegritySha256 = 0x001c;
constexpr uint16_t kBinding = 0x0001;

// RFC 8489 figure 3: the class bits C1 and C0 stand between the method's bits.
StunKind kind_of(uint16_t type) {
  const uint16_t method = static_cast<uint16_t>((type & 0x000f) | (type & 0x00e0) >> 1 | (type & 0x3e00) >> 2);
  if (method != kBinding) return StunKind::other_method;
  switch (type & 0x0110) {
    case 0x0000:
      return StunKind::request;
    case 0x0010:
      return StunKind::indication;
    case 0x0100:
      return StunKind::success;
    default:
      return StunKind::error;
  }
}

}  // namespace

StunView read_stun(const uint8_t* datagram, size_t length) {
  StunView view;
  if (length < kHeaderBytes || (datagram[0] & 0xc0) != 0) return view;
  const size_t body = read_u16(datagram + 2);
  if (body % 4 != 0 || body != length - kHeaderBytes || read_u32(datagram + 4) != kMagicCookie) return view;

  bool username_seen = false;
  bool protected_part = true;
  for (size_t at = kHeaderBytes; at < length;) {
    // The body is a multiple of 4 and so is every step: a header's 4 bytes are always there.
    const uint16_t type = read_u16(datagram + at);
    const size_t value_length = read_u16(datagram + at + 2);
    const size_t padded = (value_length + 3) & ~size_t{3};
    if (padded > length - at - 4) return {};  // nor does a USERNAME that was seen before count
    const uint8_t* value = datagram + at + 4;
    if (type == kMessageIntegrity || type == kMessageIntegritySha256) protected_part = false;
    if (type == kUsername && protected_part && !username_seen) {
      username_seen = true;
      if (const void* colon = std::memchr(value, ':', value_length)) {
        view.ufrag = value;
        view.ufrag_length = static_cast<size_t>(static_cast<const uint8_t*>(colon) - value);
      }
    }
    at += 4 + padded;
  }
  view.kind = kind_of(read_u16(datagram));
  return view;
}

}  // namespace earshot
