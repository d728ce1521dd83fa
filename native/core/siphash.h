// SipHash (Aumasson and Bernstein, 2012): the keyed hash of the trunk's tags, the tokens' tags and the flow table.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace earshot {

static_assert(std::endian::native == std::endian::little, "tags are little-endian and read as words");

struct SipKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;

  static SipKey from_bytes(const uint8_t bytes[16]) {
    SipKey key;
    std::memcpy(&key.k0, bytes, 8);
    std::memcpy(&key.k1, bytes + 8, 8);
    return key;
  }
};

template <int kCompressionRounds, int kFinalRounds>
inline uint64_t siphash(const SipKey& key, const uint8_t* data, size_t length) {
  uint64_t v0 = key.k0 ^ 0x736f6d6570736575ULL;
  uint64_t v1 = key.k1 ^ 0x646f72616e646f6dULL;
  uint64_t v2 = key.k0 ^ 0x6c7967656e657261ULL;
  uint64_t v3 = key.k1 ^ 0x7465646279746573ULL;
  const auto round = [&] {
    v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
    v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
    v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
  };
  const uint8_t* const words_end = data + (length & ~size_t{7});
  for (; data != words_end; data += 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    v3 ^= word;
    for (int i = 0; i < kCompressionRounds; i++) round();
    v0 ^= word;
  }
  uint64_t last = uint64_t{length} << 56;
  for (size_t i = 0; i < (length & 7); i++) last |= uint64_t{data[i]} << (8 * i);
  v3 ^= last;
  for (int i = 0; i < kCompressionRounds; i++) round();
  v0 ^= last;
  v2 ^= 0xff;
  for (int i = 0; i < kFinalRounds; i++) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

// For what others may see or forge: tags.
inline uint64_t siphash24(const SipKey& key, const uint8_t* data, size_t length) {
  return siphash<2, 4>(key, data, length);
}

// For hash tables with a key that never leaves the process.
inline uint64_t siphash13(const SipKey& key, const uint8_t* data, size_t length) {
  return siphash<1, 3>(key, data, length);
}

}  // namespace earshot
