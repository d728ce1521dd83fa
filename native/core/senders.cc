#include "senders.h"

#include <algorithm>

namespace earshot {

void Senders::follow(const Directory& directory) {
  const uint32_t version = directory.version();
  if (version == version_) return;
  version_ = version;
  std::fill_n(table_.get(), kTableSize, kNoSlot);
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
    const TransceiverSlot* entry = directory.live(slot);
    if (entry == nullptr) continue;
    Known& known = known_[slot];
    if (known.id != entry->id || known.epoch != entry->epoch) {
      known.id = entry->id;
      known.epoch = entry->epoch;
      known.window.reset();
    }
    unsigned at = home(known.id, known.epoch);
    while (table_[at] != kNoSlot) at = (at + 1) % kTableSize;
    table_[at] = slot;
  }
}

Slot Senders::find(uint32_t id, uint64_t epoch) const {
  for (unsigned at = home(id, epoch); table_[at] != kNoSlot; at = (at + 1) % kTableSize) {
    const Known& known = known_[table_[at]];
    if (known.id == id && known.epoch == epoch) return table_[at];
  }
  return kNoSlot;
}

}  // namespace earshot
