// Sends clients' datagrams to transceivers: the packed trunk with a worker's counters. Owned by one worker. Allocates
// at construction only.
#pragma once

#include <cstdint>

#include "counters.h"
#include "directory.h"
#include "keys.h"
#include "trunk_packer.h"

namespace earshot {

class TrunkSender {
 public:
  struct Identity {
    uint16_t cluster;
    uint32_t sender_id;
    uint64_t epoch;
  };
  TrunkSender(const Identity& identity, Counters& counters);

  void use(int fd) { packer_.use(fd); }
  // At the start of a batch: the keys to seal this batch's datagrams with.
  void begin(const KeySet& keys) { packer_.begin(keys); }
  // Counts up_forwarded or up_drop_send when it is sent; nothing for a `copy`.
  void append(Slot slot, const TransceiverSlot& to, const Path& path, const uint8_t* payload, size_t length, bool copy);
  // Sends every open datagram.
  void flush();

 private:
  Counters& counters_;
  TrunkPacker packer_;
};

}  // namespace earshot
