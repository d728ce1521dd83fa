// Bounded queues between exactly one producer thread and one consumer thread. All memory is allocated at start; a full
// queue refuses, and the caller counts.
//
//   producer: writes records_[tail], then tail_ (release)     reads head_ (acquire) to see whether there is room
//   consumer: reads records_[head] after tail_ (acquire), then writes head_ (release)
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>

#include "constants.h"
#include "directory.h"
#include "path.h"

namespace earshot {

template <class Record, uint32_t kRecords>
class Ring {
 public:
  Ring() : records_(new Record[kRecords]) {}

  // Producer. Where the next record goes, null when full; then publish() it.
  Record* back() {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    return size() == kRecords ? nullptr : &records_[tail % kRecords];
  }
  void publish() { tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  uint32_t size() const { return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire); }

  // Consumer. The record stays valid until pop().
  const Record* front() const {
    const uint32_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return nullptr;
    return &records_[head % kRecords];
  }
  void pop() { head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

 private:
  static_assert((kRecords & (kRecords - 1)) == 0, "indexes wrap");
  std::unique_ptr<Record[]> records_;
  alignas(64) std::atomic<uint32_t> head_{0};
  alignas(64) std::atomic<uint32_t> tail_{0};
};

inline constexpr uint8_t kClientDatagram = 0;

struct QueueRecord {
  Path path;
  uint16_t length;
  Slot slot;     // who sent it, for a control frame
  uint8_t kind;  // a FrameKind or kClientDatagram; on the way back kClientDatagram or a HoldVerdict
  uint8_t payload[kBufferBytes];
};

// Datagrams and frames.
class Queue {
 public:
  // Producer. False when full.
  bool push(uint8_t kind, Slot slot, const Path& path, const uint8_t* payload, size_t length) {
    QueueRecord* record = ring_.back();
    if (record == nullptr) return false;
    record->path = path;
    record->length = static_cast<uint16_t>(length);
    record->slot = slot;
    record->kind = kind;
    std::memcpy(record->payload, payload, length);
    ring_.publish();
    return true;
  }

  // Producer. Whether half of it is taken: what can wait keeps away, so that what cannot finds room.
  bool crowded() const { return ring_.size() >= kQueueRecords / 2; }

  // Consumer. The record stays valid until pop().
  const QueueRecord* front() const { return ring_.front(); }
  void pop() { ring_.pop(); }

 private:
  Ring<QueueRecord, kQueueRecords> ring_;
};

// Held paths that are to be settled. A queue of their own, so that no flood of them takes room from misses and frames.
using PathQueue = Ring<Path, kHeldPaths>;

// Tells the control thread that a queue has records: rings once, then stays silent until the control thread answers.
class Doorbell {
 public:
  using Bell = void (*)(void*);
  Doorbell(Bell bell, void* argument) : bell_(bell), argument_(argument) {}

  // Any worker, after a push.
  void ring() {
    if (!rung_.exchange(true, std::memory_order_acq_rel)) bell_(argument_);
  }
  // Control thread, before it looks into the queues. It reads, too: so what a worker pushed before a ring that found
  // the bell rung already, and was silent, is seen now. A mere store would order nothing before the queues' loads.
  void answer() { rung_.exchange(false, std::memory_order_acq_rel); }

 private:
  Bell bell_;
  void* argument_;
  std::atomic<bool> rung_{false};
};

}  // namespace earshot
