// The relay ports that a transceiver has heard from: where to answer each, and a replay window for each. A relay port
// is learnt from its first datagram with a right tag; when there is no room, the one that has been silent for longest
// is forgotten. Slots count from 1. One thread's. Allocates at construction only.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <memory>

#include "constants.h"
#include "replay_window.h"

namespace earshot {

struct RelayPort {
  uint32_t id = 0;
  socklen_t address_length = 0;  // 0: nobody is in this slot
  uint64_t epoch = 0;
  sockaddr_in6 address{};  // where its last datagram came from
  uint64_t heard_ms = 0;
  ReplayWindow window;
};

class RelayPorts {
 public:
  RelayPorts() : ports_(new RelayPort[kMaxRelayPorts + 1]()), table_(new uint16_t[kTableSize]()) {}

  // 0 if it is not known.
  unsigned find(uint32_t id) const;
  // A slot for one that is not known.
  unsigned learn(uint32_t id);
  // Slots in use are 1 to count().
  unsigned count() const { return used_; }
  RelayPort& operator[](unsigned slot) { return ports_[slot]; }
  const RelayPort& operator[](unsigned slot) const { return ports_[slot]; }

 private:
  static constexpr unsigned kTableSize = 8192;  // a power of two, at most half full
  static_assert(kTableSize >= 2 * kMaxRelayPorts);
  // Ids come with a tag, so nobody can choose them to collide.
  static unsigned home(uint32_t id) { return (id * 0x9e3779b1U) >> (32 - 13); }
  static_assert(kTableSize == 1u << 13);

  void index(unsigned slot);
  unsigned most_silent() const;

  unsigned used_ = 0;
  std::unique_ptr<RelayPort[]> ports_;
  std::unique_ptr<uint16_t[]> table_;  // slots, 0 for none: open addressing, linear probing
};

}  // namespace earshot
