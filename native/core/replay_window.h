// Accepts each sequence once: a sliding window of bits behind the highest seen, as RFC 4303 section 3.4.3 describes.
#pragma once

#include <array>
#include <cstdint>

#include "constants.h"

namespace earshot {

class ReplayWindow {
 public:
  // True the first time, and only within kReplayWindow of the highest. 0 is no sequence.
  bool accept(uint64_t sequence) {
    if (sequence == 0) return false;
    if (sequence > highest_) {
      const uint64_t ahead = sequence - highest_;
      if (ahead >= kReplayWindow) {
        bits_.fill(0);
      } else {
        for (uint64_t s = highest_ + 1; s < sequence; s++) word(s) &= ~bit(s);
      }
      highest_ = sequence;
      word(sequence) |= bit(sequence);
      return true;
    }
    if (highest_ - sequence >= kReplayWindow || (word(sequence) & bit(sequence)) != 0) return false;
    word(sequence) |= bit(sequence);
    return true;
  }

  uint64_t highest() const { return highest_; }

  // As if everything up to here had been accepted: which of it was is not known any more.
  void resume(uint64_t highest) {
    highest_ = highest;
    bits_.fill(highest == 0 ? 0 : ~uint64_t{0});
  }

  void reset() {
    highest_ = 0;
    bits_.fill(0);
  }

 private:
  static_assert(kReplayWindow % 64 == 0);
  uint64_t& word(uint64_t sequence) { return bits_[(sequence % kReplayWindow) / 64]; }
  static uint64_t bit(uint64_t sequence) { return uint64_t{1} << (sequence % 64); }

  uint64_t highest_ = 0;
  std::array<uint64_t, kReplayWindow / 64> bits_{};
};

}  // namespace earshot
