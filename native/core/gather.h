// When a worker waits a little before it reads again, so that more datagrams share a trunk datagram. Under a steady
// load a fast worker would find one or two at a time, and a datagram of the trunk costs as much as several of a client.
// Pure: no clock of its own. Owned by one worker.
#pragma once

#include <cstdint>

#include "constants.h"

namespace earshot {

class Gather {
 public:
  // After each turn: how many datagrams it took, and whether it left any because a batch was full.
  void took(unsigned datagrams, bool full, uint64_t now_ms) {
    full_ = full;
    taken_ += datagrams;
    const uint64_t passed_ms = now_ms - since_ms_;
    if (passed_ms < kRateWindowMs) return;
    busy_ = taken_ * 1000 > kGatherAbovePerSecond * passed_ms;
    taken_ = 0;
    since_ms_ = now_ms;
  }

  bool wanted() const { return busy_ && !full_; }

 private:
  bool busy_ = false;
  bool full_ = false;
  uint64_t taken_ = 0;     // since
  uint64_t since_ms_ = 0;  // of the window's begin
};

}  // namespace earshot
