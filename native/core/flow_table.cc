#include "flow_table.h"

#include <bit>
#include <cstring>
#include <utility>

namespace earshot {
namespace {

constexpr uint32_t kIndexMask = (1u << 24) - 1;
constexpr uint32_t kMostFlows = kIndexMask - kSpareFlows;

Claim owner_of(const Flow& flow) { return {flow.owner, {flow.owner_ufrags[0], flow.owner_ufrags[1]}}; }
Claim pending_of(const Flow& flow) { return {flow.pending, {flow.pending_ufrags[0], flow.pending_ufrags[1]}}; }

Claim with_ufrag(const Claim& claim, uint64_t ufrag) { return {claim.slot, {ufrag, claim.ufrags[0]}}; }
// What `claim` says is kept; what `hint` knows beside it is added as far as there is room.
Claim with_missing(const Claim& claim, const Claim& hint) {
  if (claim.ufrags[1] != 0) return claim;
  const uint64_t other = hint.ufrags[0] != claim.ufrags[0] ? hint.ufrags[0] : hint.ufrags[1];
  return {claim.slot, {claim.ufrags[0], other}};
}
Claim without_ufrag(const Claim& claim, uint64_t ufrag) {
  const uint64_t left = claim.ufrags[0] == ufrag ? claim.ufrags[1] : claim.ufrags[0];
  return left == 0 ? Claim{} : Claim{claim.slot, {left, 0}};
}

}  // namespace

uint32_t FlowTable::entries_of(const Options& options) {
  return (options.capacity < kMostFlows ? options.capacity : kMostFlows) + kSpareFlows;
}

FlowTable::FlowTable(const Options& options, Directory& directory, const Quiescence& quiescence)
    : FlowTable(options, directory, quiescence, nullptr, new KeptMemory(-1, {entries_of(options), 0}, 0)) {}

FlowTable::FlowTable(const Options& options, Directory& directory, const Quiescence& quiescence,
                     const KeptMemory* memory, const KeptMemory* own)
    : own_(own),
      memory_(own != nullptr ? *own : *memory),
      directory_(directory),
      quiescence_(quiescence),
      path_key_(memory_.header().path_key),
      ufrag_key_(memory_.header().ufrag_key),
      capacity_(memory_.header().entries < kSpareFlows ? 0 : memory_.header().entries - kSpareFlows),
      tentative_quota_(options.tentative_quota),
      flows_(memory_.flows()),
      checks_(memory_.checks()),
      last_index_(memory_.header().entries),
      // Buckets half full at capacity: two choices of eight then overflow only with negligible probability.
      bucket_mask_(std::bit_ceil(uint64_t{capacity_} / 4 + 2) - 1),
      buckets_(new Bucket[bucket_mask_ + 1]()) {
  free_.reserve(last_index_);
  retiring_.reserve(last_index_);
  waiting_.reserve(last_index_);
  take_over();
}

size_t FlowTable::bytes() const {
  return (size_t{last_index_} + 1) * (sizeof(Flow) + sizeof(FlowCheck)) + (bucket_mask_ + 1) * sizeof(Bucket);
}

// ---- after a predecessor ----------------------------------------------------------------------------------------

uint32_t FlowTable::check_of(uint32_t index) const {
  return check_word(memory_.header().check_key, flows_[index], index, checks_[index].serial);
}

void FlowTable::take_over() {
  for (uint32_t i = last_index_; i >= 1; i--) {
    std::atomic<uint32_t>& state = flows_[i].state;
    if ((state.load(std::memory_order_acquire) & Flow::kDead) == 0) {
      if (index(i)) continue;
      state.store(Flow::kDead, std::memory_order_release);
    }
    free_.push_back(i);
  }
}

// Takes back what index() did.
void FlowTable::forget(uint32_t index) {
  Flow& flow = flows_[index];
  const uint32_t last = flow.state.fetch_or(Flow::kDead, std::memory_order_acq_rel);
  if ((last & Flow::kAssured) == 0) tentative_gone_++;
  directory_.release(flow.owner);
  directory_.release(flow.pending);
  count_--;
}

// False for an entry that is to be free.
bool FlowTable::index(uint32_t index) {
  const Flow& flow = flows_[index];
  const bool whole = checks_[index].word == check_of(index) && directory_.in_use(flow.owner) &&
                     (flow.pending == kNoSlot || directory_.in_use(flow.pending));
  const uint64_t hash = hash_path(flow.path);
  std::atomic<uint32_t>* const twin = whole ? find_cell(flow.path, hash) : nullptr;
  std::atomic<uint32_t>* const cell = twin != nullptr ? twin : free_cell(hash);
  if (!whole || cell == nullptr) return torn_++, false;

  if (static_cast<int32_t>(checks_[index].serial - next_serial_) >= 0) next_serial_ = checks_[index].serial + 1;
  if (twin != nullptr) {
    // The predecessor was about to replace one by the other, and had not yet.
    const uint32_t other = twin->load(std::memory_order_relaxed) & kIndexMask;
    if (static_cast<int32_t>(checks_[index].serial - checks_[other].serial) > 0) return false;
    forget(other);
    free_.push_back(other);
  }
  cell->store(cell_of(hash, index), std::memory_order_relaxed);
  directory_.reference(flow.owner);
  directory_.reference(flow.pending);
  count_++;
  if (!flow.assured()) tentative_made_++;
  return true;
}

// ---- lookup -----------------------------------------------------------------------------------------------------

FlowTable::Bucket& FlowTable::bucket(uint64_t hash, int choice) const {
  const uint64_t first = hash & bucket_mask_;
  if (choice == 0) return buckets_[first];
  const uint64_t second = (hash >> 28) & bucket_mask_;
  return buckets_[second != first ? second : first ^ 1];
}

void FlowTable::prefetch_buckets(uint64_t hash) const {
  __builtin_prefetch(&bucket(hash, 0));
  __builtin_prefetch(&bucket(hash, 1));
}

void FlowTable::prefetch_flow(uint64_t hash) const {
  const uint32_t fingerprint = static_cast<uint32_t>(hash >> 56);
  for (int choice = 0; choice < 2; choice++) {
    for (const auto& cell : bucket(hash, choice).cells) {
      const uint32_t value = cell.load(std::memory_order_relaxed);
      if (value == 0 || value >> 24 != fingerprint) continue;
      return __builtin_prefetch(&flows_[value & kIndexMask]);
    }
  }
}

std::atomic<uint32_t>* FlowTable::find_cell(const Path& path, uint64_t hash) const {
  const uint32_t fingerprint = static_cast<uint32_t>(hash >> 56);
  for (int choice = 0; choice < 2; choice++) {
    for (auto& cell : bucket(hash, choice).cells) {
      const uint32_t value = cell.load(std::memory_order_seq_cst);  // see Quiescence
      if (value == 0 || value >> 24 != fingerprint) continue;
      if (flows_[value & kIndexMask].path == path) return &cell;
    }
  }
  return nullptr;
}

Flow* FlowTable::find(const Path& path, uint64_t hash) const {
  const uint32_t fingerprint = static_cast<uint32_t>(hash >> 56);
  for (int choice = 0; choice < 2; choice++) {
    for (const auto& cell : bucket(hash, choice).cells) {
      const uint32_t value = cell.load(std::memory_order_seq_cst);  // see Quiescence
      if (value == 0 || value >> 24 != fingerprint) continue;
      Flow* flow = &flows_[value & kIndexMask];
      if (flow->path == path) return flow;
    }
  }
  return nullptr;
}

std::atomic<uint32_t>* FlowTable::free_cell(uint64_t hash) const {
  std::atomic<uint32_t>* best = nullptr;
  int most = 0;
  for (int choice = 0; choice < 2; choice++) {
    std::atomic<uint32_t>* found = nullptr;
    int free_cells = 0;
    for (auto& cell : bucket(hash, choice).cells) {
      if (cell.load(std::memory_order_relaxed) != 0) continue;
      found = &cell;
      free_cells++;
    }
    if (free_cells > most) most = free_cells, best = found;
  }
  return best;
}

// ---- what workers write -------------------------------------------------------------------------------------------

void FlowTable::assure(Flow* flow, uint64_t hash, Tick now) {
  // The control thread may be replacing this very entry: it marks the old one dead before it publishes the new one,
  // which takes over the old one's state. So a dead entry means "look again", and a few tries bridge the gap. If
  // they do not, the answer still goes out, and the next one assures.
  for (int tries = 0; flow != nullptr && tries < 64; tries++) {
    uint32_t state = flow->state.load(std::memory_order_acquire);
    while ((state & (Flow::kDead | Flow::kAssured)) == 0) {
      const uint32_t wanted = Flow::kAssured | (now & Flow::kSeenMask);
      if (flow->state.compare_exchange_weak(state, wanted, std::memory_order_acq_rel)) {
        assured_.fetch_add(1, std::memory_order_acq_rel);
        return;
      }
    }
    if ((state & Flow::kAssured) != 0) return;
    const Path path = flow->path;
    flow = find(path, hash);
  }
}

void FlowTable::seen(Flow* flow, Tick now) {
  uint32_t state = flow->state.load(std::memory_order_relaxed);
  if ((state & (Flow::kDead | Flow::kAssured)) != Flow::kAssured) return;
  if (((now - state) & Flow::kSeenMask) < ticks_of_ms(kLastSeenStepMs)) return;
  const uint32_t wanted = (state & ~Flow::kSeenMask) | (now & Flow::kSeenMask);
  flow->state.compare_exchange_strong(state, wanted, std::memory_order_relaxed);  // another worker's word is as good
}

// ---- the control thread ---------------------------------------------------------------------------------------------

void FlowTable::reclaim() {
  if (!waiting_.empty()) {
    if (!quiescence_.passed(snapshot_)) return;
    for (const Retired& retired : waiting_) {
      free_.push_back(retired.index);
      directory_.release(retired.owner);
      directory_.release(retired.pending);
    }
    waiting_.clear();
  }
  if (retiring_.empty()) return;
  waiting_.swap(retiring_);
  quiescence_.snapshot(snapshot_);
}

uint32_t FlowTable::allocate() {
  if (free_.empty()) {
    reclaim();  // takes a snapshot of what has been removed
    reclaim();  // and frees it at once if no worker is in a batch
  }
  if (free_.empty()) return 0;
  const uint32_t index = free_.back();
  free_.pop_back();
  return index;
}

uint32_t FlowTable::fill(const Path& path, const Claim& owner, const Claim& pending) {
  const uint32_t index = allocate();
  if (index == 0) return 0;
  Flow& flow = flows_[index];  // dead, so nothing to a successor
  flow.path = path;
  flow.owner = owner.slot;
  flow.pending = pending.slot;
  for (int i = 0; i < 2; i++) {
    flow.owner_ufrags[i] = owner.ufrags[i];
    flow.pending_ufrags[i] = pending.ufrags[i];
  }
  checks_[index].serial = next_serial_++;
  checks_[index].word = check_of(index);
  directory_.reference(owner.slot);
  directory_.reference(pending.slot);
  return index;
}

void FlowTable::publish(std::atomic<uint32_t>* cell, uint64_t hash, uint32_t index, uint32_t state) {
  if ((state & Flow::kAssured) == 0) tentative_made_++;
  flows_[index].state.store(state, std::memory_order_release);  // from here on a successor has it
  cell->store(cell_of(hash, index), std::memory_order_seq_cst);
}

void FlowTable::bury(uint32_t index, uint32_t last_state) {
  if ((last_state & Flow::kAssured) == 0) tentative_gone_++;
  retiring_.push_back({index, flows_[index].owner, flows_[index].pending});
}

// False when the table is full.
bool FlowTable::install(const Path& path, uint64_t hash, const Claim& owner, uint32_t state) {
  std::atomic<uint32_t>* cell = free_cell(hash);
  if (cell == nullptr || count_ >= capacity_) return false;
  const uint32_t index = fill(path, owner, Claim{});
  if (index == 0) return false;
  publish(cell, hash, index, state);
  count_++;
  return true;
}

// Publishes a changed copy of the entry in `cell`. Without a `state` the copy takes over the old entry's.
bool FlowTable::replace(std::atomic<uint32_t>* cell, uint64_t hash, const Claim& owner, const Claim& pending,
                        std::optional<uint32_t> state) {
  const uint32_t old_index = cell->load(std::memory_order_relaxed) & kIndexMask;
  Flow& old = flows_[old_index];
  const uint32_t index = fill(old.path, owner, pending);
  if (index == 0) return false;
  // The new one lives before the old one dies, and with the very state that the old one dies with: a worker may be
  // writing it.
  uint32_t last = old.state.load(std::memory_order_acquire);
  do {
    flows_[index].state.store(state.value_or(last), std::memory_order_release);
  } while (!old.state.compare_exchange_weak(last, last | Flow::kDead, std::memory_order_acq_rel));
  publish(cell, hash, index, state.value_or(last));
  bury(old_index, last);
  return true;
}

void FlowTable::remove(std::atomic<uint32_t>* cell) {
  const uint32_t index = cell->load(std::memory_order_relaxed) & kIndexMask;
  const uint32_t last = flows_[index].state.fetch_or(Flow::kDead, std::memory_order_acq_rel);
  cell->store(0, std::memory_order_seq_cst);
  count_--;
  bury(index, last);
}

AdmitResult FlowTable::admit(const Path& path, Slot slot, uint64_t ufrag, Tick now) {
  const uint64_t hash = hash_path(path);
  std::atomic<uint32_t>* cell = find_cell(path, hash);
  const auto result = [](bool done, AdmitResult good) { return done ? good : AdmitResult::table_full; };
  if (cell == nullptr) {
    if (tentative() >= tentative_quota_) return AdmitResult::quota;
    return result(install(path, hash, Claim{slot, {ufrag, 0}}, now & Flow::kSeenMask), AdmitResult::installed);
  }

  const Flow& flow = flows_[cell->load(std::memory_order_relaxed) & kIndexMask];
  const Claim owner = owner_of(flow);
  const Claim pending = pending_of(flow);
  if (owner.slot == slot) {
    if (owner.ufrags[0] == ufrag) return AdmitResult::joined;
    return result(replace(cell, hash, with_ufrag(owner, ufrag), pending, {}), AdmitResult::joined);
  }
  if (directory_.live(owner.slot) == nullptr || !flow.assured()) {
    // Nobody has proved a claim to this path yet, or its owner is gone: the newest authenticated request has it.
    if (flow.assured() && tentative() >= tentative_quota_) return AdmitResult::quota;
    return result(replace(cell, hash, Claim{slot, {ufrag, 0}}, Claim{}, now & Flow::kSeenMask), AdmitResult::installed);
  }
  if (pending.slot == slot) {
    if (pending.ufrags[0] == ufrag) return AdmitResult::joined;
    return result(replace(cell, hash, owner, with_ufrag(pending, ufrag), {}), AdmitResult::joined);
  }
  return result(replace(cell, hash, owner, Claim{slot, {ufrag, 0}}, {}), AdmitResult::pending);
}

RestoreResult FlowTable::restore(const Path& path, const Claim& claim, Tick now) {
  const uint64_t hash = hash_path(path);
  std::atomic<uint32_t>* cell = find_cell(path, hash);
  const uint32_t state = Flow::kAssured | (now & Flow::kSeenMask);
  const auto result = [](bool done, RestoreResult good) { return done ? good : RestoreResult::table_full; };
  if (cell == nullptr) return result(install(path, hash, claim, state), RestoreResult::installed);

  const Flow& flow = flows_[cell->load(std::memory_order_relaxed) & kIndexMask];
  const Claim owner = owner_of(flow);
  const Claim pending = pending_of(flow);
  if (owner.slot == claim.slot) {
    const Claim both = with_missing(owner, claim);
    if (!flow.assured()) return result(replace(cell, hash, both, pending, state), RestoreResult::joined);
    // Somebody knows it to be alive, be it at another relay.
    seen(&flows_[cell->load(std::memory_order_relaxed) & kIndexMask], now);
    if (both.ufrags[1] == owner.ufrags[1]) return RestoreResult::joined;
    return result(replace(cell, hash, both, pending, {}), RestoreResult::joined);
  }
  const bool owner_is_live = directory_.live(owner.slot) != nullptr;
  if (owner_is_live && flow.assured()) return RestoreResult::kept;
  // What has asked for this path meanwhile goes on beside the owner that was there first.
  if (owner_is_live) return result(replace(cell, hash, claim, owner, state), RestoreResult::installed);
  if (pending.slot != claim.slot) return result(replace(cell, hash, claim, pending, state), RestoreResult::installed);
  return result(replace(cell, hash, with_missing(pending, claim), Claim{}, state), RestoreResult::installed);
}

bool FlowTable::promote(const Path& path, Slot slot, uint64_t ufrag, Tick now) {
  const uint64_t hash = hash_path(path);
  std::atomic<uint32_t>* cell = find_cell(path, hash);
  if (cell == nullptr) return false;
  const Flow& flow = flows_[cell->load(std::memory_order_relaxed) & kIndexMask];
  if (flow.pending != slot || !flow.pending_holds(ufrag)) return false;
  return replace(cell, hash, pending_of(flow), Claim{}, Flow::kAssured | (now & Flow::kSeenMask));
}

bool FlowTable::end(const Path& path, Slot slot, uint64_t ufrag, Tick now) {
  const uint64_t hash = hash_path(path);
  std::atomic<uint32_t>* cell = find_cell(path, hash);
  if (cell == nullptr) return false;
  const Flow& flow = flows_[cell->load(std::memory_order_relaxed) & kIndexMask];
  Claim owner = owner_of(flow);
  Claim pending = pending_of(flow);
  if (owner.slot == slot && owner.holds(ufrag)) {
    owner = without_ufrag(owner, ufrag);
    if (owner.slot != kNoSlot) return replace(cell, hash, owner, pending, {});
    if (pending.slot == kNoSlot) return remove(cell), true;
    return replace(cell, hash, pending, Claim{}, now & Flow::kSeenMask);
  }
  if (pending.slot == slot && pending.holds(ufrag)) {
    return replace(cell, hash, owner, without_ufrag(pending, ufrag), {});
  }
  return false;
}

// A pending session whose transceiver has left the directory can be neither promoted nor ended, and its owner may live
// for hours: without this it would hold its directory slot for as long.
void FlowTable::forget_gone_pending(const Flow& flow) {
  if (flow.pending == kNoSlot || directory_.live(flow.pending) != nullptr) return;
  const uint64_t hash = hash_path(flow.path);
  replace(find_cell(flow.path, hash), hash, owner_of(flow), Claim{}, {});  // without a spare entry: the next time round
}

uint32_t FlowTable::expire(Tick now) {
  const uint32_t step = capacity_ / 50 + 64;
  uint32_t removed = 0;
  for (uint32_t i = 0; i < step && i < last_index_; i++) {
    Flow& flow = flows_[cursor_];
    cursor_ = cursor_ < last_index_ ? cursor_ + 1 : 1;
    uint32_t state = flow.state.load(std::memory_order_acquire);
    if ((state & Flow::kDead) != 0) continue;
    const bool assured = (state & Flow::kAssured) != 0;
    if (ticks_since_seen(state, now) <= ticks_of_ms(assured ? kIdleMs : kTentativeMs)) {
      forget_gone_pending(flow);
      continue;
    }
    // A worker that assures it just now wins.
    if (!flow.state.compare_exchange_strong(state, state | Flow::kDead, std::memory_order_acq_rel)) continue;
    const uint64_t hash = hash_path(flow.path);
    find_cell(flow.path, hash)->store(0, std::memory_order_seq_cst);
    count_--;
    bury(static_cast<uint32_t>(&flow - flows_), state);
    removed++;
  }
  reclaim();
  return removed;
}

FlowTable::Counts FlowTable::counts() const { return {count_, tentative(), capacity_}; }

}  // namespace earshot
