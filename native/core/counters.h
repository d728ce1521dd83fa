// The workers' counters, made from counters.def. One writer each (its worker), any number of readers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace earshot {

enum class Counter : uint8_t {
#define WORKER(name, help) name,
#define CONTROL(name, help)
#include "counters.def"
#undef WORKER
#undef CONTROL
  kCount
};

inline constexpr unsigned kCounters = static_cast<unsigned>(Counter::kCount);

class Counters {
 public:
  // Worker thread only. One writer, so a plain load and store is enough, and costs no locked instruction.
  void add(Counter counter, uint64_t n = 1) {
    auto& value = values_[static_cast<unsigned>(counter)];
    value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  // Any thread.
  uint64_t get(Counter counter) const {
    return values_[static_cast<unsigned>(counter)].load(std::memory_order_relaxed);
  }

 private:
  alignas(64) std::array<std::atomic<uint64_t>, kCounters> values_{};
};

}  // namespace earshot
