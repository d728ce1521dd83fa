// The flow table: one for all workers, of fixed capacity, allocated at start. Its entries lie in memory that outlives
// the process; its indexes do not.
//
// Only the control thread installs, replaces and removes. A published entry never changes but for its state word, which
// workers also write (assured, last seen). Workers look up without a lock: an entry is published by one store of its
// index into one of two buckets of eight, and is never moved. A removed or replaced entry is reused only when
// Quiescence says that no worker can still hold it.
//
//             admit                    first Binding success response
//   (none) ----------> tentative ------------------------------------> assured <---------- (none)
//                          |  5 s without answer                          |              restore
//                          +------------------> (dead) <------------------+
//                                               60 s without downlink, or flow end
//
// A process may be killed between any two of its instructions. What counts for a successor is each entry's state word
// alone: an entry whose word says that it lives was whole before the word was written. A change is made by the death of
// the old entry. Until then the new one lives already, and the successor takes the older of the two; from then on
// only the new one does. So a flow is as it was before the change or as it is after it, and never gone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "constants.h"
#include "directory.h"
#include "flow.h"
#include "kept_memory.h"
#include "path.h"
#include "quiescence.h"
#include "siphash.h"

namespace earshot {

enum class AdmitResult : uint8_t { installed, joined, pending, table_full, quota };
enum class RestoreResult : uint8_t { installed, joined, kept, table_full };

class FlowTable {
 public:
  struct Options {
    uint32_t capacity;
    uint32_t tentative_quota;
  };
  struct Counts {
    uint32_t flows;
    uint32_t tentative;
    uint32_t capacity;
  };

  // How many entries the memory of such a table has to have.
  static uint32_t entries_of(const Options& options);

  // In memory of its own.
  FlowTable(const Options& options, Directory& directory, const Quiescence& quiescence);
  // In `memory`, with the flows that are whole there. No worker runs yet.
  FlowTable(const Options& options, Directory& directory, const Quiescence& quiescence, const KeptMemory& memory)
      : FlowTable(options, directory, quiescence, &memory, nullptr) {}
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;
  // Entries, checks and buckets.
  size_t bytes() const;
  // Entries of a predecessor that said they live and were not whole.
  uint32_t torn() const { return torn_; }

  // ---- any thread ---------------------------------------------------------------------------------------------
  uint64_t hash_path(const Path& path) const {
    return siphash13(path_key_, reinterpret_cast<const uint8_t*>(&path), sizeof path);
  }
  uint64_t hash_ufrag(const uint8_t* ufrag, size_t length) const {
    const uint64_t hash = siphash24(ufrag_key_, ufrag, length);
    return hash != 0 ? hash : 1;  // 0 means "none"
  }

  // ---- workers, between Quiescence::begin and end -----------------------------------------------------------------
  // For a batch: the buckets of all of it first, then the flows, whose places the buckets tell.
  void prefetch_buckets(uint64_t hash) const;
  void prefetch_flow(uint64_t hash) const;
  Flow* find(const Path& path, uint64_t hash) const;
  // The owner has answered with a Binding success: from now on its media may pass.
  void assure(Flow* flow, uint64_t hash, Tick now);
  // The assured owner has sent something. Writes at most once a second.
  void seen(Flow* flow, Tick now);

  // ---- the control thread -----------------------------------------------------------------------------------------
  AdmitResult admit(const Path& path, Slot slot, uint64_t ufrag, Tick now);
  // Recovery: whoever vouches for this claim knows that its session has proved the client here. Assured at once, and
  // free of the tentative quota; but an assured owner that is live stays.
  RestoreResult restore(const Path& path, const Claim& claim, Tick now);
  bool promote(const Path& path, Slot slot, uint64_t ufrag, Tick now);
  // Takes the ufrag from the owner's or the pending session's claim; a claim ends with its last ufrag.
  bool end(const Path& path, Slot slot, uint64_t ufrag, Tick now);
  // Looks at the next part of the table; the whole of it is seen about every 5 s if called ten times a second. Removes
  // flows that nobody has used for too long, and pending sessions whose transceiver is gone.
  uint32_t expire(Tick now);
  const Flow* find(const Path& path) const { return find(path, hash_path(path)); }
  // Since the owner of an assured flow was last seen, or since a tentative one was made.
  static uint64_t idle_ms(const Flow& flow, Tick now) {
    return uint64_t{ticks_since_seen(flow.state.load(std::memory_order_relaxed), now)} << kTickShift;
  }
  Counts counts() const;

 private:
  FlowTable(const Options& options, Directory& directory, const Quiescence& quiescence, const KeptMemory* memory,
            const KeptMemory* own);

  struct alignas(32) Bucket {
    std::atomic<uint32_t> cells[8];  // fingerprint (8 bits) | index (24 bits); 0 = free
  };
  struct Retired {
    uint32_t index;
    Slot owner;
    Slot pending;
  };

  // None where a worker's clock is a tick ahead of `now`: it may have read it later.
  static Tick ticks_since_seen(uint32_t state, Tick now) {
    const Tick ticks = (now - state) & Flow::kSeenMask;
    return ticks <= Flow::kSeenMask / 2 ? ticks : 0;
  }

  Bucket& bucket(uint64_t hash, int choice) const;
  static uint32_t cell_of(uint64_t hash, uint32_t index) { return static_cast<uint32_t>(hash >> 56) << 24 | index; }
  std::atomic<uint32_t>* find_cell(const Path& path, uint64_t hash) const;
  std::atomic<uint32_t>* free_cell(uint64_t hash) const;

  uint32_t allocate();
  void reclaim();
  void take_over();
  void forget(uint32_t index);
  bool index(uint32_t index);
  uint32_t check_of(uint32_t index) const;
  uint32_t fill(const Path& path, const Claim& owner, const Claim& pending);
  void publish(std::atomic<uint32_t>* cell, uint64_t hash, uint32_t index, uint32_t state);
  bool install(const Path& path, uint64_t hash, const Claim& owner, uint32_t state);
  bool replace(std::atomic<uint32_t>* cell, uint64_t hash, const Claim& owner, const Claim& pending,
               std::optional<uint32_t> state);
  void remove(std::atomic<uint32_t>* cell);
  void forget_gone_pending(const Flow& flow);
  void bury(uint32_t index, uint32_t last_state);
  uint32_t tentative() const { return tentative_made_ - tentative_gone_ - assured_.load(std::memory_order_acquire); }

  std::unique_ptr<const KeptMemory> own_;
  const KeptMemory& memory_;
  Directory& directory_;
  const Quiescence& quiescence_;
  const SipKey path_key_;
  const SipKey ufrag_key_;
  uint32_t capacity_;
  uint32_t tentative_quota_;

  Flow* flows_;  // [1, last_index_]
  FlowCheck* checks_;
  uint32_t last_index_;
  uint64_t bucket_mask_;
  std::unique_ptr<Bucket[]> buckets_;

  // Control thread only.
  std::vector<uint32_t> free_;
  std::vector<Retired> retiring_;  // removed since the snapshot
  std::vector<Retired> waiting_;   // removed before it
  Quiescence::Snapshot snapshot_{};
  uint32_t count_ = 0;
  uint32_t torn_ = 0;
  uint32_t next_serial_ = 1;
  uint32_t cursor_ = 1;
  uint32_t tentative_made_ = 0;
  uint32_t tentative_gone_ = 0;  // replaced, removed or expired while tentative

  alignas(64) std::atomic<uint32_t> assured_{0};  // tentative flows that workers have assured; rare, so shared
};

}  // namespace earshot
