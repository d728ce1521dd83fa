#include "directory.h"

namespace earshot {

Slot Directory::take_slot(const Quiescence& quiescence) {
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
    if (slots_[slot].state.load(std::memory_order_relaxed) == TransceiverSlot::kFree) return slot;
  }
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
    if (slots_[slot].state.load(std::memory_order_relaxed) == TransceiverSlot::kRetired && references_[slot] == 0) {
      slots_[slot].state.store(TransceiverSlot::kFree, std::memory_order_seq_cst);
      quiescence.wait();
      return slot;
    }
  }
  return kNoSlot;
}

Slot Directory::add(uint32_t id, uint64_t epoch, const sockaddr_in6& address, socklen_t address_length,
                    const Quiescence& quiescence) {
  const Slot slot = take_slot(quiescence);
  if (slot == kNoSlot) return kNoSlot;
  TransceiverSlot& entry = slots_[slot];
  entry.id = id;
  entry.epoch = epoch;
  entry.address = address;
  entry.address_length = address_length;
  entry.state.store(TransceiverSlot::kLive, std::memory_order_seq_cst);
  version_.fetch_add(1, std::memory_order_release);
  return slot;
}

void Directory::retire(Slot slot) {
  if (live(slot) == nullptr) return;
  slots_[slot].state.store(TransceiverSlot::kRetired, std::memory_order_seq_cst);
  version_.fetch_add(1, std::memory_order_release);
}

}  // namespace earshot
