// Fast randomness that nobody has to be unable to guess (xoshiro256++ by Blackman and Vigna, seeded by splitmix64).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace earshot::load {

class Random {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      uint64_t z = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9;
      z = (z ^ z >> 27) * 0x94d049bb133111eb;
      word = z ^ z >> 31;
    }
  }
  uint64_t next() {
    const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0], state_[3] ^= state_[1], state_[1] ^= state_[2], state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  void fill(uint8_t* out, size_t length) {
    for (; length >= 8; out += 8, length -= 8) {
      const uint64_t word = next();
      std::memcpy(out, &word, 8);
    }
    const uint64_t word = next();
    std::memcpy(out, &word, length);
  }

 private:
  uint64_t state_[4];
};

}  // namespace earshot::load
