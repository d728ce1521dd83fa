// Packs the frames of a batch into trunk datagrams, one open datagram per transceiver, and sends them together.
// Owned by one worker. Allocates at construction only.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>

#include "constants.h"
#include "counters.h"
#include "directory.h"
#include "keys.h"
#include "trunk.h"

namespace earshot {

class TrunkSender {
 public:
  struct Identity {
    uint16_t cluster;
    uint32_t sender_id;
    uint64_t epoch;
  };
  TrunkSender(const Identity& identity, Counters& counters);

  void use(int fd) { fd_ = fd; }
  // At the start of a batch: the keys to seal this batch's datagrams with.
  void begin(const KeySet& keys) { keys_ = &keys; }
  // Counts up_forwarded or up_drop_send when it is sent; nothing for a `copy`.
  void append(Slot slot, const TransceiverSlot& to, const Path& path, const uint8_t* payload, size_t length, bool copy);
  // Sends every open datagram.
  void flush();

 private:
  static constexpr size_t kLargest = kTrunkHeaderBytes + 3 + kMaxPathBytes + kBufferBytes + kTrunkTagBytes;
  static constexpr uint16_t kNone = 0xffff;

  struct Datagram {
    Slot slot;
    uint16_t length;   // without the tag
    uint16_t counted;  // frames that are somebody's only copy
    sockaddr_in6 to;
    uint8_t bytes[kLargest];
  };

  Datagram& open(Slot slot, const TransceiverSlot& to);

  const Identity identity_;
  Counters& counters_;
  const KeySet* keys_ = nullptr;
  int fd_ = -1;
  unsigned used_ = 0;
  std::unique_ptr<Datagram[]> datagrams_;
  std::unique_ptr<mmsghdr[]> messages_;
  std::unique_ptr<iovec[]> vectors_;
  std::unique_ptr<uint16_t[]> open_;  // by slot: the datagram that takes frames, or kNone
  // By slot. A sequence never repeats for the same transceiver and epoch, even if it comes back in another slot:
  // whoever is new in a slot goes on from the highest sequence of all. Nor does it with the next worker on this lane,
  // in this process or, under the same epoch, in one that replaces it: each begins at the nanoseconds since the host
  // has booted, which nobody who used a sequence for every datagram can have reached before.
  struct Target {
    uint64_t epoch = 0;
    uint64_t sequence = 0;  // the last used
    uint32_t id = 0;
  };
  std::unique_ptr<Target[]> targets_;
  uint64_t highest_sequence_;

  static uint64_t first_sequence();
  uint64_t next_sequence(Slot slot, const TransceiverSlot& to);
};

}  // namespace earshot
