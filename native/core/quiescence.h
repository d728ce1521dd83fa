// Tells the control thread when no worker can still hold a pointer that it found before a removal.
//
// Each worker counts up when it begins a batch (odd) and when it ends it (even). Something that was unpublished before
// a snapshot was taken may be reused once every worker was outside a batch at the snapshot, or has counted on since.
//
// Memory order: the worker's begin, its later loads of what is published, the control thread's unpublishing store and
// its loads of the counts are all sequentially consistent; so either the worker sees the removal, or the
// control thread sees the worker inside its batch.
#pragma once

#include <sched.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "constants.h"

namespace earshot {

class Quiescence {
 public:
  using Snapshot = std::array<uint64_t, kMaxWorkers>;

  explicit Quiescence(unsigned workers) : workers_(workers) {}

  // Worker thread.
  void begin(unsigned worker) { cells_[worker].count.fetch_add(1, std::memory_order_seq_cst); }
  void end(unsigned worker) { cells_[worker].count.fetch_add(1, std::memory_order_seq_cst); }

  // Control thread.
  void snapshot(Snapshot& out) const {
    for (unsigned w = 0; w < workers_; w++) out[w] = cells_[w].count.load(std::memory_order_seq_cst);
  }
  bool passed(const Snapshot& since) const {
    for (unsigned w = 0; w < workers_; w++) {
      if (since[w] % 2 == 1 && cells_[w].count.load(std::memory_order_seq_cst) == since[w]) return false;
    }
    return true;
  }
  // A batch takes well under a millisecond, so this is rare and short: key changes and full directories only.
  void wait() const {
    Snapshot since;
    snapshot(since);
    while (!passed(since)) sched_yield();
  }

 private:
  struct alignas(64) Cell {
    std::atomic<uint64_t> count{0};
  };
  unsigned workers_;
  std::array<Cell, kMaxWorkers> cells_{};
};

}  // namespace earshot
