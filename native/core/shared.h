// What all workers of an engine share. The engine owns it and outlives every worker.
#pragma once

#include <time.h>

#include <atomic>
#include <cstdint>

#include "directory.h"
#include "flow_table.h"
#include "kept_memory.h"
#include "keys.h"
#include "queue.h"
#include "quiescence.h"

namespace earshot {

struct Shared {
  // `memfd`: of the keeper, or -1 where nobody is to take over.
  Shared(unsigned workers, int memfd, const KeptMemory::HandOver& hand_over, const FlowTable::Options& flow_options,
         Doorbell::Bell bell, void* argument)
      : memory(memfd, {FlowTable::entries_of(flow_options), workers}, coarse_ms(), hand_over),
        quiescence(workers),
        directory(memory.transceivers(), memory.header().check_key),
        flows(flow_options, directory, quiescence, memory),
        doorbell(bell, argument) {}

  uint16_t cluster = 0;
  uint64_t epoch = 0;  // of this relay, ms since 1970

  KeptMemory memory;
  Quiescence quiescence;
  Directory directory;
  FlowTable flows;
  Doorbell doorbell;
  // Read by workers between Quiescence::begin and end. Never null once a worker runs.
  std::atomic<const KeySet*> keys{nullptr};
  // How long a datagram of an unknown path may be held, 0 = not at all. Workers read it when they start or are woken.
  std::atomic<uint32_t> hold_ms{0};

  Tick now() const { return ticks_of_ms(coarse_ms() - memory.header().origin_ms); }

  static uint64_t coarse_ms() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1000 + static_cast<uint64_t>(time.tv_nsec) / 1'000'000;
  }
};

}  // namespace earshot
