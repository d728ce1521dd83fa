// Which unknown paths a worker tells the control plane of, so that it can ask their owner: each at most twice a second,
// and only so many at a time. Whatever transceivers send, it is bounded here. Owned by one worker; allocates at
// construction only.
#pragma once

#include <cstdint>
#include <memory>

#include "constants.h"
#include "flow_table.h"

namespace earshot {

class UnknownPaths {
 public:
  UnknownPaths() : told_(new Told[kToldPaths]()) {}

  // Whether the control plane is to hear of the path with this hash now.
  bool take(uint64_t hash, Tick now) {
    if (now != tick_) {
      tick_ = now;
      taken_ = 0;
    }
    if (taken_ == kUnknownPathsPerTick) return false;
    Told& told = told_[hash % kToldPaths];
    if (told.hash == hash && now - told.tick < kUnknownPathAgain) return false;
    told = {hash, now};
    taken_++;
    return true;
  }

 private:
  // Two paths with one place take turns: they are told more often than twice a second, within the limit of a tick.
  struct Told {
    uint64_t hash = 0;
    Tick tick = 0;
  };
  std::unique_ptr<Told[]> told_;
  Tick tick_ = 0;
  uint32_t taken_ = 0;
};

}  // namespace earshot
