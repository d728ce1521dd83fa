#include "relay_ports.h"

#include <algorithm>

namespace earshot {

unsigned RelayPorts::find(uint32_t id) const {
  for (unsigned at = home(id); table_[at] != 0; at = (at + 1) % kTableSize) {
    if (ports_[table_[at]].id == id) return table_[at];
  }
  return 0;
}

void RelayPorts::index(unsigned slot) {
  unsigned at = home(ports_[slot].id);
  while (table_[at] != 0) at = (at + 1) % kTableSize;
  table_[at] = static_cast<uint16_t>(slot);
}

unsigned RelayPorts::most_silent() const {
  unsigned silent = 1;
  for (unsigned slot = 2; slot <= used_; slot++) {
    if (ports_[slot].heard_ms < ports_[silent].heard_ms) silent = slot;
  }
  return silent;
}

unsigned RelayPorts::learn(uint32_t id) {
  const bool full = used_ == kMaxRelayPorts;
  const unsigned slot = full ? most_silent() : ++used_;
  ports_[slot] = RelayPort{};
  ports_[slot].id = id;
  if (!full) {
    index(slot);
    return slot;
  }
  std::fill_n(table_.get(), kTableSize, uint16_t{0});
  for (unsigned each = 1; each <= used_; each++) index(each);
  return slot;
}

}  // namespace earshot
