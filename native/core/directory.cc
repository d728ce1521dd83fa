#include "directory.h"

#include <cstring>

namespace earshot {

uint32_t check_word(const SipKey& key, const TransceiverSlot& entry, Slot slot) {
  struct {
    sockaddr_in6 address;
    uint32_t id;
    uint64_t epoch;
    uint32_t length;
    uint32_t slot;
  } fixed;
  std::memset(&fixed, 0, sizeof fixed);
  fixed.address = entry.address;
  fixed.id = entry.id;
  fixed.epoch = entry.epoch;
  fixed.length = entry.address_length;
  fixed.slot = slot;
  return static_cast<uint32_t>(siphash13(key, reinterpret_cast<const uint8_t*>(&fixed), sizeof fixed));
}

Directory::Directory()
    : own_(new TransceiverSlot[kMaxTransceivers + 1]),
      slots_(own_.get()),
      references_(new uint32_t[kMaxTransceivers + 1]()) {}

Directory::Directory(TransceiverSlot* slots, const SipKey& check_key)
    : slots_(slots), check_key_(check_key), references_(new uint32_t[kMaxTransceivers + 1]()) {
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
    std::atomic<uint32_t>& state = slots_[slot].state;
    const uint32_t was = state.load(std::memory_order_relaxed);
    if (was == TransceiverSlot::kFree) continue;
    const bool known = was == TransceiverSlot::kLive || was == TransceiverSlot::kRetired;
    if (known && slots_[slot].check == check_of(slot)) continue;
    state.store(TransceiverSlot::kFree, std::memory_order_relaxed);
    torn_++;
  }
}

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
  entry.check = check_of(slot);
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
