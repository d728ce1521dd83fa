// Time for the load tools, and how many datagrams are due by now.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>

namespace earshot::load {

inline constexpr uint64_t kSecondNs = 1'000'000'000;

inline uint64_t clock_ns(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<uint64_t>(time.tv_sec) * kSecondNs + static_cast<uint64_t>(time.tv_nsec);
}
inline uint64_t steady_ns() { return clock_ns(CLOCK_MONOTONIC); }

inline void sleep_ns(uint64_t ns) {
  const timespec time{static_cast<time_t>(ns / kSecondNs), static_cast<long>(ns % kSecondNs)};
  nanosleep(&time, nullptr);
}

// Evenly spaced over time; who is late catches up.
class Pace {
 public:
  // A rate of 0 is no limit.
  Pace(uint64_t per_second, uint64_t start_ns) : per_second_(per_second), start_ns_(start_ns) {}

  // Of which the n-th, from 0, is due at time_of(n).
  uint64_t due(uint64_t now_ns) const {
    if (per_second_ == 0) return ~uint64_t{0};
    const uint64_t elapsed = now_ns - start_ns_;
    return elapsed / kSecondNs * per_second_ + elapsed % kSecondNs * per_second_ / kSecondNs + 1;
  }
  uint64_t time_of(uint64_t n) const {
    if (per_second_ == 0) return start_ns_;
    return start_ns_ + n / per_second_ * kSecondNs + n % per_second_ * kSecondNs / per_second_;
  }

 private:
  uint64_t per_second_;
  uint64_t start_ns_;
};

}  // namespace earshot::load
