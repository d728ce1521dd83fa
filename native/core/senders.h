// One worker's own view of who may send to it: transceiver (id, epoch) to slot, and a replay window for each.
// Follows the directory by its version. Who has left is remembered until its slot is another's: if it comes back with
// the same epoch, it goes on with the same window. Allocates at construction only.
#pragma once

#include <cstdint>
#include <memory>

#include "directory.h"
#include "replay_window.h"

namespace earshot {

class Senders {
 public:
  Senders() : known_(new Known[kMaxTransceivers + 1]()), table_(new Slot[kTableSize]()) {}

  // At the start of a batch.
  void follow(const Directory& directory);
  // kNoSlot if no live transceiver has this id and epoch.
  Slot find(uint32_t id, uint64_t epoch) const;
  bool accept(Slot slot, uint64_t sequence) { return known_[slot].window.accept(sequence); }

 private:
  static constexpr unsigned kTableSize = 8192;  // a power of two, at most half full
  static_assert(kTableSize >= 2 * kMaxTransceivers);
  struct Known {
    uint32_t id = 0;
    bool remembered = false;
    bool live = false;
    uint64_t epoch = 0;
    ReplayWindow window;
  };
  Slot lookup(uint32_t id, uint64_t epoch) const;
  void meet(Slot slot, const TransceiverSlot& entry);
  void index();

  static unsigned home(uint32_t id, uint64_t epoch) {
    return static_cast<unsigned>(((id ^ epoch << 20) * 0x9e3779b97f4a7c15ULL) >> 51);
  }
  static_assert(kTableSize == 1u << (64 - 51));

  uint32_t version_ = 0;
  std::unique_ptr<Known[]> known_;  // by slot
  std::unique_ptr<Slot[]> table_;   // of all that are remembered: open addressing, linear probing
};

}  // namespace earshot
