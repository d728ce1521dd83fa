#include "senders.h"

#include <algorithm>

namespace earshot {

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
}

void Senders::index() {
  std::fill_n(table_.get(), kTableSize, kNoSlot);
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
    const Known& known = known_[slot];
    if (!known.remembered) continue;
    unsigned at = home(known.id, known.epoch);
    while (table_[at] != kNoSlot) at = (at + 1) % kTableSize;
    table_[at] = slot;
  }
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
