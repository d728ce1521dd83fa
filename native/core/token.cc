#include "token.h"

#include <array>

namespace earshot {
namespace {

constexpr uint8_t kVersion = 0;
constexpr size_t kTaggedBytes = 17;
constexpr uint64_t kTagMask = (uint64_t{1} << 56) - 1;
constexpr uint8_t kNoChar = 0xff;

constexpr std::array<uint8_t, 256> make_sextets() {
  std::array<uint8_t, 256> sextets{};
  sextets.fill(kNoChar);
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (uint8_t i = 0; i < 64; i++) sextets[static_cast<uint8_t>(kAlphabet[i])] = i;
  return sextets;
}
constexpr auto kSextets = make_sextets();

}  // namespace

bool decode_ice_chars(const uint8_t chars[kUfragChars], uint8_t token[kTokenBytes]) {
  uint8_t seen = 0;
  for (size_t i = 0, o = 0; i < kUfragChars; i += 4, o += 3) {
    const uint8_t a = kSextets[chars[i]], b = kSextets[chars[i + 1]];
    const uint8_t c = kSextets[chars[i + 2]], d = kSextets[chars[i + 3]];
    seen |= a | b | c | d;
    token[o] = static_cast<uint8_t>(a << 2 | b >> 4);
    token[o + 1] = static_cast<uint8_t>(b << 4 | c >> 2);
    token[o + 2] = static_cast<uint8_t>(c << 6 | d);
  }
  return (seen & 0xc0) == 0;
}

bool token_is_ours(const uint8_t token[kTokenBytes], const KeySet& keys) {
  if (token[0] >> 6 != kVersion) return false;
  const KeySet::Entry* key = keys.find(token[0] & 0x3f);
  if (key == nullptr) return false;
  uint64_t tag = 0;
  std::memcpy(&tag, token + kTaggedBytes, kTokenBytes - kTaggedBytes);
  return (siphash24(key->token_tag, token, kTaggedBytes) & kTagMask) == tag;
}

}  // namespace earshot
