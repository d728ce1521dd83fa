// What a transceiver remembers of its paths: whose each is, and which relay it last came through. Takes a relay for
// gone as src/transceiver/relay-watch.ts does, when nothing has been heard of it for 1.5 s.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "path.h"
#include "stun.h"

namespace earshot::load {

class Memory {
 public:
  static constexpr uint64_t kGoneMs = 1'500, kSeekMs = 1'000, kLookMs = 250;
  static constexpr size_t kUfragBytes = 32;
  struct Entry {
    std::array<uint8_t, kUfragBytes> ufrag{};
    uint32_t relay = 0;
  };

  // A client's datagram, and the relay that it came through.
  void note(const Path& path, const StunView* request, uint32_t relay) {
    if (request != nullptr && request->ufrag_length == kUfragBytes) {
      Entry& entry = paths_[path];
      std::memcpy(entry.ufrag.data(), request->ufrag, kUfragBytes);
      entry.relay = relay;
    } else if (const auto found = paths_.find(path); found != paths_.end()) {
      found->second.relay = relay;
    }
  }
  const Entry* find(const Path& path) const {
    const auto found = paths_.find(path);
    return found == paths_.end() ? nullptr : &found->second;
  }

  void heard(uint32_t relay, uint64_t now_ms) { heard_ms_[relay] = now_ms; }
  bool is_gone(uint32_t relay, uint64_t now_ms) const {
    const auto found = heard_ms_.find(relay);
    return found == heard_ms_.end() || now_ms - found->second >= kGoneMs;
  }
  // Calls `seek(path)` for each path whose relay is gone, once a second.
  template <class Seek>
  void seek(uint64_t now_ms, Seek seek) {
    if (now_ms - sought_ms_ < kSeekMs || now_ms - looked_ms_ < kLookMs) return;
    looked_ms_ = now_ms;
    bool any = false;
    for (const auto& [path, entry] : paths_) {
      if (!is_gone(entry.relay, now_ms)) continue;
      seek(path);
      any = true;
    }
    if (any) sought_ms_ = now_ms;
  }

 private:
  struct Hash {
    size_t operator()(const Path& path) const {
      return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&path), sizeof path});
    }
  };
  std::unordered_map<Path, Entry, Hash> paths_;
  std::unordered_map<uint32_t, uint64_t> heard_ms_;
  uint64_t sought_ms_ = 0;
  uint64_t looked_ms_ = 0;
};

}  // namespace earshot::load
