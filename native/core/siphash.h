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

// The state, word by word. SipHash-c-d: c rounds for each word of 8 bytes, d to finish.
template <int kCompressionRounds, int kFinalRounds>
class SipState {
 public:
  explicit SipState(const SipKey& key)
      : v0_(key.k0 ^ 0x736f6d6570736575ULL),
        v1_(key.k1 ^ 0x646f72616e646f6dULL),
        v2_(key.k0 ^ 0x6c7967656e657261ULL),
        v3_(key.k1 ^ 0x7465646279746573ULL) {}

  void absorb(const uint8_t* eight_bytes) {
    uint64_t word;
    std::memcpy(&word, eight_bytes, 8);
    absorb(word);
  }
  // What is behind the last whole word of `length` bytes.
  uint64_t finish(const uint8_t* data, size_t length) {
    uint64_t last = uint64_t{length} << 56;
    const size_t rest = length & 7;
    for (size_t i = 0; i < rest; i++) last |= uint64_t{data[length - rest + i]} << (8 * i);
    absorb(last);
    v2_ ^= 0xff;
    for (int i = 0; i < kFinalRounds; i++) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void absorb(uint64_t word) {
    v3_ ^= word;
    for (int i = 0; i < kCompressionRounds; i++) round();
    v0_ ^= word;
  }
  void round() {
    v0_ += v1_, v1_ = std::rotl(v1_, 13), v1_ ^= v0_, v0_ = std::rotl(v0_, 32);
    v2_ += v3_, v3_ = std::rotl(v3_, 16), v3_ ^= v2_;
    v0_ += v3_, v3_ = std::rotl(v3_, 21), v3_ ^= v0_;
    v2_ += v1_, v1_ = std::rotl(v1_, 17), v1_ ^= v2_, v2_ = std::rotl(v2_, 32);
  }

  uint64_t v0_, v1_, v2_, v3_;
};

template <int kCompressionRounds, int kFinalRounds>
inline uint64_t siphash(const SipKey& key, const uint8_t* data, size_t length) {
  SipState<kCompressionRounds, kFinalRounds> state(key);
  for (size_t at = 0; at + 8 <= length; at += 8) state.absorb(data + at);
  return state.finish(data, length);
}

// For what others may see or forge: tags.
inline uint64_t siphash24(const SipKey& key, const uint8_t* data, size_t length) {
  return siphash<2, 4>(key, data, length);
}

// Two at a time under one key. Every step of a SipHash waits for the one before it; those of another fill the wait.
inline void siphash24_two(const SipKey& key, const uint8_t* const data[2], const size_t lengths[2], uint64_t out[2]) {
  SipState<2, 4> first(key), second(key);
  const size_t shared = (lengths[0] < lengths[1] ? lengths[0] : lengths[1]) & ~size_t{7};
  for (size_t at = 0; at < shared; at += 8) {
    first.absorb(data[0] + at);
    second.absorb(data[1] + at);
  }
  for (size_t at = shared; at + 8 <= lengths[0]; at += 8) first.absorb(data[0] + at);
  for (size_t at = shared; at + 8 <= lengths[1]; at += 8) second.absorb(data[1] + at);
  out[0] = first.finish(data[0], lengths[0]);
  out[1] = second.finish(data[1], lengths[1]);
}

// For hash tables with a key that never leaves the process.
inline uint64_t siphash13(const SipKey& key, const uint8_t* data, size_t length) {
  return siphash<1, 3>(key, data, length);
}

}  // namespace earshot
