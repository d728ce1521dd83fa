// Quantiles of times that were measured one by one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace earshot::load {

// Tenths of a microsecond, so that a million of them take little room.
inline uint32_t us10_of(uint64_t ns) { return static_cast<uint32_t>(std::min<uint64_t>(ns / 100, ~uint32_t{0})); }

// In microseconds; 0 of none. Sorts the values as far as it must.
inline double quantile_us(std::vector<uint32_t>& us10, double q) {
  if (us10.empty()) return 0;
  const auto at = static_cast<ptrdiff_t>(q * static_cast<double>(us10.size() - 1));
  std::nth_element(us10.begin(), us10.begin() + at, us10.end());
  return us10[static_cast<size_t>(at)] / 10.0;
}

}  // namespace earshot::load
