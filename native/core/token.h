// The outside of a token: 32 ice-chars, 24 bytes, a keyed tag. The worker asks only "is this one of ours?"; what is
// inside, the control plane opens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "keys.h"

namespace earshot {

inline constexpr size_t kUfragChars = 32;
inline constexpr size_t kTokenBytes = 24;

// Strict: the 64 ice-chars of RFC 8839 only, so that a token has one spelling.
bool decode_ice_chars(const uint8_t chars[kUfragChars], uint8_t token[kTokenBytes]);

// Version known, key known, tag right.
bool token_is_ours(const uint8_t token[kTokenBytes], const KeySet& keys);

}  // namespace earshot
