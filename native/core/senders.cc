#include "senders.h"

#include <algorithm>

namespace earshot {

Senders::Senders(SenderRecord* kept)
    : known_(new Known[kMaxTransceivers + 1]()),
      own_(kept == nullptr ? new SenderRecord[kMaxTransceivers + 1] : nullptr),
      kept_(kept == nullptr ? own_.get() : kept),
      table_(new Slot[kTableSize]()) {
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) recall(slot);
}

// What a predecessor has left about this slot.
void Senders::recall(Slot slot) {
  const uint64_t epoch = kept_[slot].epoch.load(std::memory_order_relaxed);
  if (epoch == 0) return;
  Known& known = known_[slot];
  known.id = kept_[slot].id.load(std::memory_order_relaxed);
  known.epoch = epoch;
  known.window.resume(kept_[slot].highest.load(std::memory_order_relaxed));
  // It was killed as somebody moved to another slot: the one that has come further is the one to go on from.
  const Slot twin = lookup(known.id, epoch);
  if (twin != kNoSlot && known_[twin].window.highest() >= known.window.highest()) return;
  if (twin != kNoSlot) known_[twin].remembered = false;
  known.remembered = true;
  enter(slot);
}

void Senders::follow(const Directory& directory) {
  const uint32_t version = directory.version();
  if (version == version_) return;
  version_ = version;
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
    const TransceiverSlot* entry = directory.live(slot);
    Known& known = known_[slot];
    known.live = entry != nullptr;
    if (entry == nullptr || (known.remembered && known.id == entry->id && known.epoch == entry->epoch)) continue;
    meet(slot, *entry);
  }
  index();
}

// Somebody else is in this slot now: perhaps one that was in another.
void Senders::meet(Slot slot, const TransceiverSlot& entry) {
  Known& known = known_[slot];
  const Slot before = lookup(entry.id, entry.epoch);
  if (before != kNoSlot) {
    known.window = known_[before].window;
    known_[before].remembered = false;
  } else {
    known.window.reset();
  }
  known.id = entry.id;
  known.epoch = entry.epoch;
  known.remembered = true;
  // Invalid while it changes; and the old slot's is not until this one is whole.
  SenderRecord& kept = kept_[slot];
  kept.epoch.store(0, std::memory_order_release);
  kept.id.store(entry.id, std::memory_order_release);
  kept.highest.store(known.window.highest(), std::memory_order_release);
  kept.epoch.store(entry.epoch, std::memory_order_release);
  if (before != kNoSlot) kept_[before].epoch.store(0, std::memory_order_release);
}

void Senders::index() {
  std::fill_n(table_.get(), kTableSize, kNoSlot);
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
    const Known& known = known_[slot];
    if (known.remembered) enter(slot);
  }
}

void Senders::enter(Slot slot) {
  unsigned at = home(known_[slot].id, known_[slot].epoch);
  while (table_[at] != kNoSlot) at = (at + 1) % kTableSize;
  table_[at] = slot;
}

Slot Senders::lookup(uint32_t id, uint64_t epoch) const {
  for (unsigned at = home(id, epoch); table_[at] != kNoSlot; at = (at + 1) % kTableSize) {
    const Known& known = known_[table_[at]];
    if (known.remembered && known.id == id && known.epoch == epoch) return table_[at];
  }
  return kNoSlot;
}

Slot Senders::find(uint32_t id, uint64_t epoch) const {
  const Slot slot = lookup(id, epoch);
  return slot != kNoSlot && known_[slot].live ? slot : kNoSlot;
}

}  // namespace earshot
