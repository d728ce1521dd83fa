// What all workers of an engine share. The engine owns it and outlives every worker.
#pragma once

#include <time.h>

#include <atomic>
#include <cstdint>

#include "directory.h"
#include "flow_table.h"
#include "keys.h"
#include "queue.h"
#include "quiescence.h"

namespace earshot {

struct Shared {
  Shared(unsigned workers, const FlowTable::Options& flow_options, Doorbell::Bell bell, void* argument)
      : quiescence(workers), flows(flow_options, directory, quiescence), doorbell(bell, argument) {}

  uint16_t cluster = 0;
  uint64_t epoch = 0;  // of this relay, ms since 1970

  Quiescence quiescence;
  Directory directory;
  FlowTable flows;
  Doorbell doorbell;
  // Read by workers between Quiescence::begin and end. Never null once a worker runs.
  std::atomic<const KeySet*> keys{nullptr};

  Tick now() const { return ticks_of_ms(coarse_ms() - started_ms); }

  static uint64_t coarse_ms() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1000 + static_cast<uint64_t>(time.tv_nsec) / 1'000'000;
  }

 private:
  const uint64_t started_ms = coarse_ms();
};

}  // namespace earshot
