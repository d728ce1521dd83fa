// Reads what the relay needs of a STUN message (RFC 8489): its class, and the ufrag that it is for. Never verifies
// integrity: that is the control plane's and the transceiver's.
#pragma once

#include <cstddef>
#include <cstdint>

namespace earshot {

enum class StunKind : uint8_t { malformed, other_method, request, indication, success, error };

struct StunView {
  StunKind kind = StunKind::malformed;
  const uint8_t* ufrag = nullptr;  // the part of USERNAME before the colon; null if there is none
  size_t ufrag_length = 0;
};

// Well-formed means: both top bits zero, the magic cookie, a length field that is a multiple of 4 and says exactly how
// much follows, and attributes that fill it exactly. The USERNAME that counts is the first before any integrity
// attribute, because what follows integrity is not protected by it.
StunView read_stun(const uint8_t* datagram, size_t length);

}  // namespace earshot
