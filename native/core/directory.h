// The data plane's list of transceivers. The control thread adds and retires; workers read.
//
// A slot is written before its state becomes live and never changes until it is free again, which is when it is
// retired, no flow names it, and no worker can still be looking at it.
#pragma once

#include <netinet/in.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "constants.h"
#include "quiescence.h"

namespace earshot {

using Slot = uint16_t;
inline constexpr Slot kNoSlot = 0;

struct TransceiverSlot {
  enum State : uint32_t { kFree, kLive, kRetired };
  std::atomic<uint32_t> state{kFree};
  uint32_t id = 0;
  uint64_t epoch = 0;
  sockaddr_in6 address{};
  socklen_t address_length = 0;
};

class Directory {
 public:
  Directory() : slots_(new TransceiverSlot[kMaxTransceivers + 1]), references_(new uint32_t[kMaxTransceivers + 1]()) {}

  // Control thread. kNoSlot if every slot is taken.
  Slot add(uint32_t id, uint64_t epoch, const sockaddr_in6& address, socklen_t address_length,
           const Quiescence& quiescence);
  void retire(Slot slot);
  void reference(Slot slot) { references_[slot]++; }
  void release(Slot slot) { references_[slot]--; }

  // Any thread. Null unless the slot is live.
  const TransceiverSlot* live(Slot slot) const {
    if (slot == kNoSlot || slot > kMaxTransceivers) return nullptr;
    const TransceiverSlot& entry = slots_[slot];
    return entry.state.load(std::memory_order_seq_cst) == TransceiverSlot::kLive ? &entry : nullptr;
  }

  // Grows with every change: a worker that sees another number than last time looks through the slots again.
  uint32_t version() const { return version_.load(std::memory_order_acquire); }

 private:
  Slot take_slot(const Quiescence& quiescence);

  std::unique_ptr<TransceiverSlot[]> slots_;  // [0] is never used
  std::unique_ptr<uint32_t[]> references_;    // flows that name a slot; control thread only
  std::atomic<uint32_t> version_{1};
};

}  // namespace earshot
