// The data plane's list of transceivers. The control thread adds and retires; workers read.
//
// A slot is written before its state becomes live and never changes until it is free again, which is when it is
// retired, no flow names it, and no worker can still be looking at it.
//
// The slots may lie in memory that a predecessor has left: those that are whole are taken over as they are, live or
// retired, so that its flows go on before anybody has been asked.
#pragma once

#include <netinet/in.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "constants.h"
#include "quiescence.h"
#include "siphash.h"

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
  uint32_t check = 0;  // keyed, over the above but the state, and the slot's number
};

uint32_t check_word(const SipKey& key, const TransceiverSlot& entry, Slot slot);

class Directory {
 public:
  // Slots of its own.
  Directory();
  // [1, kMaxTransceivers] are free, or of a predecessor. Slots that are not whole become free.
  Directory(TransceiverSlot* slots, const SipKey& check_key);

  // Control thread. kNoSlot if every slot is taken.
  Slot add(uint32_t id, uint64_t epoch, const sockaddr_in6& address, socklen_t address_length,
           const Quiescence& quiescence);
  void retire(Slot slot);
  void reference(Slot slot) { references_[slot]++; }
  void release(Slot slot) { references_[slot]--; }
  // Whether a flow may name it.
  bool in_use(Slot slot) const {
    return slot != kNoSlot && slot <= kMaxTransceivers &&
           slots_[slot].state.load(std::memory_order_relaxed) != TransceiverSlot::kFree;
  }
  // Slots of a predecessor that were not whole.
  unsigned torn() const { return torn_; }

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
  uint32_t check_of(Slot slot) const { return check_word(check_key_, slots_[slot], slot); }

  std::unique_ptr<TransceiverSlot[]> own_;
  TransceiverSlot* slots_;  // [0] is never used
  SipKey check_key_;
  unsigned torn_ = 0;
  std::unique_ptr<uint32_t[]> references_;  // flows that name a slot; control thread only
  std::atomic<uint32_t> version_{1};
};

}  // namespace earshot
