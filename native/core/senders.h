// One lane's view of who may send to it: transceiver (id, epoch) to slot, and a replay window for each.
// Follows the directory by its version. Who has left is remembered until its slot is another's: if it comes back with
// the same epoch, it goes on with the same window. Allocates at construction only.
//
// How far each has come also stands in memory that outlives the process: what its predecessor has accepted, a successor
// does not accept again. It then refuses too what was late at that moment; a network that reorders loses as little as
// the kill itself did.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "directory.h"
#include "replay_window.h"

namespace earshot {

// Written by the lane's worker; read by its successor in another process. Valid while the epoch is not 0.
struct SenderRecord {
  std::atomic<uint64_t> epoch{0};
  std::atomic<uint64_t> highest{0};  // before anything that it brought is acted on
  std::atomic<uint32_t> id{0};
};

class Senders {
 public:
  // `kept`: [1, kMaxTransceivers], empty or a predecessor's; outlives this. Without it nothing is left to a successor.
  explicit Senders(SenderRecord* kept = nullptr);

  // At the start of a batch.
  void follow(const Directory& directory);
  // kNoSlot if no live transceiver has this id and epoch.
  Slot find(uint32_t id, uint64_t epoch) const;
  bool accept(Slot slot, uint64_t sequence) {
    ReplayWindow& window = known_[slot].window;
    if (!window.accept(sequence)) return false;
    kept_[slot].highest.store(window.highest(), std::memory_order_release);
    return true;
  }

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
  void recall(Slot slot);
  void meet(Slot slot, const TransceiverSlot& entry);
  void index();
  void enter(Slot slot);

  static unsigned home(uint32_t id, uint64_t epoch) {
    return static_cast<unsigned>(((id ^ epoch << 20) * 0x9e3779b97f4a7c15ULL) >> 51);
  }
  static_assert(kTableSize == 1u << (64 - 51));

  uint32_t version_ = 0;
  std::unique_ptr<Known[]> known_;  // by slot
  std::unique_ptr<SenderRecord[]> own_;
  SenderRecord* kept_;             // by slot
  std::unique_ptr<Slot[]> table_;  // of all that are remembered: open addressing, linear probing
};

}  // namespace earshot
