// One flow: a path and who may use it. What the table holds, what a successor of a killed process finds, and what the
// packet path reads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "directory.h"
#include "path.h"
#include "siphash.h"

namespace earshot {

// Who may use a path: a transceiver, and the hashes of up to two ufrags of it (two because of ICE restarts).
struct Claim {
  Slot slot = kNoSlot;
  uint64_t ufrags[2] = {0, 0};  // newest first; 0 = none

  bool holds(uint64_t ufrag) const { return ufrags[0] == ufrag || ufrags[1] == ufrag; }
};

// A time in units of 256 ms since the table was made; 30 bits of them last for eight years.
using Tick = uint32_t;
inline constexpr unsigned kTickShift = 8;
inline constexpr Tick ticks_of_ms(uint64_t ms) { return static_cast<Tick>(ms >> kTickShift); }

struct alignas(64) Flow {
  Path path;
  uint64_t owner_ufrags[2];
  uint64_t pending_ufrags[2];
  Slot owner;
  Slot pending;
  // kDead | kAssured | last seen (30 bits). Control and workers write it, by compare-and-swap.
  std::atomic<uint32_t> state;

  static constexpr uint32_t kDead = 1u << 31;
  static constexpr uint32_t kAssured = 1u << 30;
  static constexpr uint32_t kSeenMask = kAssured - 1;

  bool owner_holds(uint64_t ufrag) const { return owner_ufrags[0] == ufrag || owner_ufrags[1] == ufrag; }
  bool pending_holds(uint64_t ufrag) const {
    return pending != kNoSlot && (pending_ufrags[0] == ufrag || pending_ufrags[1] == ufrag);
  }
  bool assured() const { return (state.load(std::memory_order_acquire) & kAssured) != 0; }
};
static_assert(sizeof(Flow) == 64, "one cache line");

// Everything of an entry that does not change once it is published.
inline constexpr size_t kFlowFixedBytes = offsetof(Flow, state);
static_assert(kFlowFixedBytes + sizeof(uint32_t) == sizeof(Flow), "no padding that a check word would not cover");

// Beside each entry, away from the packet path: how a successor knows that it is whole.
struct FlowCheck {
  uint32_t serial;  // grows with every entry that is filled: of two for the same path, which came later
  uint32_t word;    // keyed, over the entry's fixed bytes, its index and the serial
};

inline uint32_t check_word(const SipKey& key, const Flow& flow, uint32_t index, uint32_t serial) {
  uint8_t fixed[kFlowFixedBytes + 2 * sizeof(uint32_t)];
  std::memcpy(fixed, reinterpret_cast<const uint8_t*>(&flow), kFlowFixedBytes);
  std::memcpy(fixed + kFlowFixedBytes, &index, sizeof index);
  std::memcpy(fixed + kFlowFixedBytes + sizeof index, &serial, sizeof serial);
  return static_cast<uint32_t>(siphash13(key, fixed, sizeof fixed));
}

}  // namespace earshot
