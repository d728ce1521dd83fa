// What a worker holds: the first datagrams of paths that it does not know, soon after a start, until the control plane
// has settled each path. Single flight: a path is asked about once, and not again so soon after it was settled. Bounded
// in every way, whatever strangers send. Owned by one worker; allocates at construction only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "constants.h"
#include "counters.h"
#include "path.h"

namespace earshot {

// Why the control plane has settled a path that has no flow. It fits a QueueRecord's kind, where 0 means another thing.
enum class HoldVerdict : uint8_t { unknown = 1, failed, budget, kEnd };

// How a datagram ends that was held for a path without a flow.
inline Counter drop_of(HoldVerdict verdict) {
  switch (verdict) {
    case HoldVerdict::failed:
      return Counter::up_drop_hold_failed;
    case HoldVerdict::budget:
      return Counter::up_drop_hold_budget;
    default:
      return Counter::up_drop_hold_unknown;
  }
}

class Hold {
 public:
  struct Held {
    uint64_t until_ms;  // later it is of no use
    const uint8_t* bytes;
    size_t length;
  };
  // held_first: the caller has to ask. settled_lately: there is no use in asking again.
  enum class Put : uint8_t { held, held_first, full, settled_lately };

  Hold() : paths_(new HeldPath[kHeldPaths]()), chunks_(std::make_unique_for_overwrite<Chunk[]>(kHeldChunks)) {}

  bool empty() const { return used_ == 0; }

  // `may_ask`: whether a path that is new may be asked about.
  Put put(const Path& path, uint64_t hash, const uint8_t* bytes, size_t length, uint64_t now_ms, uint64_t until_ms,
          bool may_ask) {
    HeldPath* place = find(path, hash);
    if (place == nullptr) {
      place = free_place(hash);
    } else if (place->count == 0 && now_ms - place->settled_ms < kHoldAgainMs) {
      return Put::settled_lately;
    }
    if (place == nullptr || place->count == kHeldPerPath || used_ + chunks_of(length) > kHeldChunks) return Put::full;
    const bool first = place->count == 0;
    if (first && !(may_ask && take_ask(now_ms))) return Put::full;

    const uint16_t at = write(bytes, length);
    chunks_[at].until_ms = until_ms;
    chunks_[at].length = static_cast<uint16_t>(length);
    if (first) {
      *place = {path, hash, 0, at, at, 0};
    } else {
      chunks_[place->last].next_datagram = at;
      place->last = at;
    }
    place->count++;
    return first ? Put::held_first : Put::held;
  }

  // Gives what is held of this path to `each`, oldest first, and forgets it.
  template <class Each>
  void settle(const Path& path, uint64_t hash, uint64_t now_ms, const Each& each) {
    if (HeldPath* place = find(path, hash)) settle(*place, now_ms, each);
  }

  // The same of all paths; none of them counts as settled lately.
  template <class Each>
  void settle_all(const Each& each) {
    for (unsigned i = 0; i < kHeldPaths; i++) {
      settle(paths_[i], 0, each);
      paths_[i] = HeldPath{};
    }
  }

 private:
  // Free where count is 0; it then still tells which path was settled there.
  struct HeldPath {
    Path path;
    uint64_t hash = 0;
    uint64_t settled_ms = 0;
    uint16_t first = 0;
    uint16_t last = 0;
    uint16_t count = 0;
  };
  // Of a datagram; the first one of it says what the datagram is.
  struct Chunk {
    uint64_t until_ms;
    uint16_t length;         // of the datagram
    uint16_t next_datagram;  // of the same path, but for the last
    uint16_t next;           // of the same datagram, but for the last; or of the free ones
    uint8_t bytes[kHeldChunkBytes];
  };
  static_assert(kHeldChunks < UINT16_MAX);

  static unsigned chunks_of(size_t length) {
    return static_cast<unsigned>((length + kHeldChunkBytes - 1) / kHeldChunkBytes);
  }

  HeldPath* find(const Path& path, uint64_t hash) {
    for (unsigned i = 0; i < kHeldReach; i++) {
      HeldPath& place = paths_[(hash + i) % kHeldPaths];
      if (place.hash == hash && place.path == path) return &place;
    }
    return nullptr;
  }

  // The one that has been free for the longest time.
  HeldPath* free_place(uint64_t hash) {
    HeldPath* best = nullptr;
    for (unsigned i = 0; i < kHeldReach; i++) {
      HeldPath& place = paths_[(hash + i) % kHeldPaths];
      if (place.count == 0 && (best == nullptr || place.settled_ms < best->settled_ms)) best = &place;
    }
    return best;
  }

  bool take_ask(uint64_t now_ms) {
    if (now_ms - asks_since_ms_ >= kHoldAsksMs) {
      asks_since_ms_ = now_ms;
      asks_ = 0;
    }
    if (asks_ == kHoldAsks) return false;
    asks_++;
    return true;
  }

  uint16_t take_free() {
    used_++;
    if (free_ == kNone) return untouched_++;
    const uint16_t at = free_;
    free_ = chunks_[at].next;
    return at;
  }

  void give_back(uint16_t at) {
    chunks_[at].next = free_;
    free_ = at;
    used_--;
  }

  // Into chunks that there are. Returns the first; a datagram is never empty.
  uint16_t write(const uint8_t* bytes, size_t length) {
    const uint16_t first = take_free();
    uint16_t at = first;
    for (size_t done = 0;;) {
      const size_t part = std::min(kHeldChunkBytes, length - done);
      std::memcpy(chunks_[at].bytes, bytes + done, part);
      done += part;
      if (done == length) return first;
      const uint16_t next = take_free();
      chunks_[at].next = next;
      at = next;
    }
  }

  // Into whole_, and gives its chunks back.
  void read(uint16_t at, size_t length) {
    for (size_t done = 0;;) {
      const size_t part = std::min(kHeldChunkBytes, length - done);
      std::memcpy(whole_ + done, chunks_[at].bytes, part);
      done += part;
      const uint16_t next = chunks_[at].next;
      give_back(at);
      if (done == length) return;
      at = next;
    }
  }

  template <class Each>
  void settle(HeldPath& place, uint64_t now_ms, const Each& each) {
    for (uint16_t at = place.first; place.count > 0; place.count--) {
      const Chunk& first = chunks_[at];
      const Held held{first.until_ms, whole_, first.length};
      const uint16_t next = first.next_datagram;
      read(at, held.length);
      each(place.path, place.hash, held);
      at = next;
      place.settled_ms = now_ms;
    }
  }

  static constexpr uint16_t kNone = UINT16_MAX;
  std::unique_ptr<HeldPath[]> paths_;
  std::unique_ptr<Chunk[]> chunks_;
  uint8_t whole_[kBufferBytes];
  unsigned used_ = 0;  // chunks
  uint16_t free_ = kNone;
  uint16_t untouched_ = 0;
  unsigned asks_ = 0;
  uint64_t asks_since_ms_ = 0;
};

}  // namespace earshot
