// The working keys that the data plane needs, as handed over by the control plane. Immutable once published.
#pragma once

#include <array>
#include <cstdint>

#include "siphash.h"

namespace earshot {

inline constexpr unsigned kKeyIds = 64;

struct KeySet {
  struct Entry {
    bool known = false;
    SipKey token_tag;
    SipKey trunk_up;
    SipKey trunk_down;
  };
  std::array<Entry, kKeyIds> entries;
  uint8_t signing = 0;

  // Null if the id is not known.
  const Entry* find(uint8_t id) const { return id < kKeyIds && entries[id].known ? &entries[id] : nullptr; }
};

}  // namespace earshot
