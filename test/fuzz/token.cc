// The outside of tokens: 32 characters to 24 bytes, and the tag. Any bytes may stand where a ufrag should.
#include "token.h"

#include <cstring>

#include "fuzz.h"
#include "siphash.h"

using namespace earshot;

namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const KeySet& keys() {
  static const KeySet set = [] {
    KeySet out;
    for (const unsigned id : {0u, 3u, 63u}) {
      out.entries[id].known = true;
      out.entries[id].token_tag = {id + 1, 0x0123456789abcdefu};
    }
    return out;
  }();
  return set;
}

void encode(const uint8_t* token, uint8_t* chars) {
  for (size_t i = 0; i < kTokenBytes; i += 3, chars += 4) {
    const uint32_t group = static_cast<uint32_t>(token[i] << 16 | token[i + 1] << 8 | token[i + 2]);
    for (int c = 0; c < 4; c++) chars[c] = static_cast<uint8_t>(kAlphabet[group >> (18 - 6 * c) & 63]);
  }
}

void check_characters(const uint8_t* chars) {
  bool allowed = true;
  for (size_t i = 0; i < kUfragChars; i++) {
    allowed = allowed && chars[i] != 0 && std::strchr(kAlphabet, chars[i]) != nullptr;
  }
  uint8_t token[kTokenBytes];
  PROMISE(decode_ice_chars(chars, token) == allowed);
  if (!allowed) return;
  uint8_t again[kUfragChars];
  encode(token, again);
  PROMISE(std::memcmp(again, chars, kUfragChars) == 0);
}

// Whatever is inside, the tag makes it ours, if the version is ours and the key is known; and any change unmakes it.
void check_tag(uint8_t token[kTokenBytes], size_t bit) {
  uint8_t chars[kUfragChars], decoded[kTokenBytes];
  encode(token, chars);
  PROMISE(decode_ice_chars(chars, decoded) && std::memcmp(decoded, token, kTokenBytes) == 0);

  const KeySet::Entry* key = keys().find(token[0] & 63);
  const SipKey tag_key = key != nullptr ? key->token_tag : SipKey{};
  const uint64_t tag = siphash24(tag_key, token, 17);
  const bool had_tag = std::memcmp(token + 17, &tag, 7) == 0;
  const bool can_be_ours = token[0] < 64 && key != nullptr;
  PROMISE(token_is_ours(token, keys()) == (can_be_ours && had_tag));

  std::memcpy(token + 17, &tag, 7);
  PROMISE(token_is_ours(token, keys()) == can_be_ours);
  token[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  PROMISE(!token_is_ours(token, keys()));
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kUfragChars) return 0;
  check_characters(data);
  uint8_t token[kTokenBytes];
  std::memcpy(token, data, kTokenBytes);
  check_tag(token, data[kTokenBytes] % (kTokenBytes * 8));
  return 0;
}
