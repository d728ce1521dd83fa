// Which packets of one SSRC have been seen (RFC 3711, section 3.3.2), and what index a sequence number stands for
// (section 3.3.1). Looking and marking are apart, because a packet is marked only once it is authentic.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "limits.h"

namespace earshot {

class SrtpWindow {
 public:
  // The index nearest to the highest one seen. Nothing if that lies before the first or after the last there is.
  std::optional<uint64_t> index_of(uint16_t sequence) const {
    if (!any_) return sequence;
    constexpr int64_t kCycle = 0x10000;
    const auto highest = static_cast<int64_t>(highest_);
    int64_t index = (highest & ~(kCycle - 1)) | sequence;
    if (index - highest > kCycle / 2) index -= kCycle;
    if (highest - index > kCycle / 2) index += kCycle;
    if (index < 0 || index >> 48 != 0) return std::nullopt;
    return static_cast<uint64_t>(index);
  }

  bool is_fresh(uint64_t index) const {
    if (!any_ || index > highest_) return true;
    return highest_ - index < kSrtpWindow && (bits_[word(index)] & bit(index)) == 0;
  }

  // Of a fresh index.
  void mark(uint64_t index) {
    if (!any_ || index > highest_) {
      const uint64_t ahead = any_ ? index - highest_ : kSrtpWindow;
      if (ahead >= kSrtpWindow) {
        bits_.fill(0);
      } else {
        for (uint64_t i = highest_ + 1; i < index; i++) bits_[word(i)] &= ~bit(i);
      }
      any_ = true;
      highest_ = index;
    }
    bits_[word(index)] |= bit(index);
  }

 private:
  static_assert(kSrtpWindow % 64 == 0);
  static size_t word(uint64_t index) { return (index % kSrtpWindow) / 64; }
  static uint64_t bit(uint64_t index) { return uint64_t{1} << (index % 64); }

  bool any_ = false;
  uint64_t highest_ = 0;
  std::array<uint64_t, kSrtpWindow / 64> bits_{};
};

}  // namespace earshot
