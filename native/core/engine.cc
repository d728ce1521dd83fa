#include "engine.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cpus.h"

namespace earshot {

Engine::Engine(EngineOptions options, Doorbell::Bell bell, void* argument)
    : options_(std::move(options)),
      shared_(options_.lanes, options_.memfd, options_.hand_over, options_.flows, bell, argument) {
  shared_.cluster = options_.cluster;
  shared_.epoch = options_.epoch;
}

Engine::~Engine() { stop(); }

// ---- life ---------------------------------------------------------------------------------------------------------

Failure Engine::take_lanes() {
  const LaneOptions wanted{options_.ingresses, options_.trunk, options_.lanes, options_.receive_buffer_bytes};
  Lanes taken;
  Failure failure = options_.adopted.empty() ? open_lanes(wanted, taken) : adopt_lanes(wanted, options_.adopted, taken);
  if (failure.error != 0) return failure;
  options_.ingresses = std::move(taken.ingresses);
  warnings_ = std::move(taken.warnings);
  granted_ = earshot::granted_buffers(taken.lanes[0]);
  for (LaneSockets& sockets : taken.lanes) {
    const GrantedBuffers granted = earshot::granted_buffers(sockets);
    granted_.least_public = std::min(granted_.least_public, granted.least_public);
    granted_.least_trunk = std::min(granted_.least_trunk, granted.least_trunk);
    trunk_ports_.push_back(sockets.trunk_port);
    const auto number = static_cast<uint32_t>(lanes_.size() + 1);
    lanes_.push_back(std::make_unique<Lane>(
        Lane{std::move(sockets), options_.relay_id << 8 | number, Senders(shared_.memory.senders(number))}));
  }
  return {};
}

Failure Engine::start() {
  if (const int error = shared_.memory.error()) return {error, "flow table"};
  // All of them, or the process that has left them goes on.
  const KeptMemory& memory = shared_.memory;
  if (memory.imported() && memory.imported_flows() != shared_.flows.counts().flows) return {EPROTO, "flow table"};
  if (Failure failure = take_lanes(); failure.error != 0) return failure;
  Failure failure = start_workers(options_.workers, options_.cpus);
  if (failure.error != 0) lanes_.clear();
  return failure;
}

void Engine::stop() {
  stop_forwarding();
  may_write_ = false;
  shared_.memory.give_up_writing();
}

int Engine::hand_over(const SipKey& key, Exported& out) {
  stop_forwarding();
  const bool may = may_write_ && shared_.memory.error() == 0 && options_.hand_over.records >= 0;
  const int error =
      may ? export_records(shared_.memory, Shared::coarse_ms(), key, options_.hand_over.records, out) : EBADF;
  stop();
  return error;
}

void Engine::stop_forwarding() {
  if (lanes_.empty()) return;
  stop_workers();
  last_public_drops_ = public_kernel_drops();
  last_trunk_drops_ = trunk_kernel_drops();
  lanes_.clear();
}

Failure Engine::set_workers(unsigned workers, const std::vector<int>& cpus) {
  const unsigned before = this->workers();
  if (before == 0) return {EINVAL, "engine"};
  stop_workers();
  Failure failure = start_workers(workers, cpus);
  if (failure.error == 0) options_.cpus = cpus;
  if (failure.error != 0) start_workers(before, options_.cpus);
  return failure;
}

Failure Engine::start_workers(unsigned count, const std::vector<int>& cpus) {
  if (count == 0 || count > lanes_.size()) return {EINVAL, "workers"};
  while (desks_.size() < count) desks_.push_back(std::make_unique<Desk>());
  for (unsigned number = 1; number <= count; number++) {
    workers_.push_back(std::make_unique<Worker>(work_of(number, count), options_.ingresses, shared_));
  }
  for (unsigned w = 0; w < count; w++) {
    // The kernel knows the cpuset. Our own affinity is no measure: who has bound the process to one CPU, for the
    // control plane, may well name others for its workers.
    const int cpu = w < cpus.size() ? cpus[w] : -1;
    bool pinned = false;
    if (const int error = workers_[w]->start(cpu, pinned)) {
      stop_workers();
      return {error, "worker thread"};
    }
    if (cpu >= 0 && !pinned) warn_not_pinned(w + 1, cpu);
  }
  return {};
}

void Engine::warn_not_pinned(unsigned worker, int cpu) {
  warnings_.push_back("worker " + std::to_string(worker) + " is not pinned to CPU " + std::to_string(cpu) +
                      ", which this process may not use: its cpuset has " + cpu_list(allowed_cpus()));
}

void Engine::stop_workers() {
  for (auto& worker : workers_) worker->stop();
  workers_.clear();
}

Worker::Work Engine::work_of(unsigned number, unsigned workers) const {
  Worker::Work work{number, desks_[number - 1].get(), {}, {}, options_.gather_us};
  for (size_t l = number - 1; l < lanes_.size(); l += workers) work.lanes.push_back(lanes_[l].get());
  for (size_t d = number - 1; d < desks_.size(); d += workers) work.offers.push_back(&desks_[d]->offers);
  return work;
}

// ---- what the control plane decides -------------------------------------------------------------------------------

void Engine::set_keys(const KeySet& keys) {
  auto next = std::make_unique<const KeySet>(keys);
  shared_.keys.store(next.get(), std::memory_order_seq_cst);
  shared_.quiescence.wait();  // no worker uses the old ones any more
  keys_ = std::move(next);
}

Slot Engine::add_transceiver(uint32_t id, uint64_t epoch, const Endpoint& address) {
  if (!may_write_) return kNoSlot;
  return shared_.directory.add(id, epoch, address.address, address.length, shared_.quiescence);
}
void Engine::retire_transceiver(Slot slot) {
  if (may_write_) shared_.directory.retire(slot);
}

std::vector<Slot> Engine::transceivers() const {
  std::vector<Slot> live;
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
    if (shared_.directory.live(slot) != nullptr) live.push_back(slot);
  }
  return live;
}

AdmitResult Engine::admit(const Path& path, Slot slot, const uint8_t ufrag[32]) {
  if (!may_write_) return AdmitResult::table_full;
  return shared_.flows.admit(path, slot, shared_.flows.hash_ufrag(ufrag, 32), shared_.now());
}
RestoreResult Engine::restore(const Path& path, Slot slot, const uint8_t (*ufrags)[32], unsigned count) {
  if (!may_write_) return RestoreResult::table_full;
  Claim claim{slot, {0, 0}};
  for (unsigned i = 0; i < count; i++) claim.ufrags[i] = shared_.flows.hash_ufrag(ufrags[i], 32);
  if (claim.ufrags[1] == claim.ufrags[0]) claim.ufrags[1] = 0;
  return shared_.flows.restore(path, claim, shared_.now());
}
bool Engine::promote(const Path& path, Slot slot, const uint8_t ufrag[32]) {
  if (!may_write_) return false;
  return shared_.flows.promote(path, slot, shared_.flows.hash_ufrag(ufrag, 32), shared_.now());
}
bool Engine::end(const Path& path, Slot slot, const uint8_t ufrag[32]) {
  if (!may_write_) return false;
  return shared_.flows.end(path, slot, shared_.flows.hash_ufrag(ufrag, 32), shared_.now());
}
uint32_t Engine::expire() { return may_write_ ? shared_.flows.expire(shared_.now()) : 0; }

const QueueRecord* Engine::front(unsigned& worker) {
  for (size_t i = 0; running() && i < desks_.size(); i++) {
    const size_t d = (next_desk_ + i) % desks_.size();
    if (const QueueRecord* record = desks_[d]->to_control.front()) {
      next_desk_ = d + 1;  // in turn, so that a flood at one worker does not starve the others
      worker = static_cast<unsigned>(d + 1);
      return record;
    }
  }
  return nullptr;
}

const Path* Engine::front_ask(unsigned& worker) const {
  for (worker = 1; running() && worker <= desks_.size(); worker++) {
    if (const Path* path = desks_[worker - 1]->asks.front()) return path;
  }
  return nullptr;
}

bool Engine::offer(unsigned worker, const Path& path, const uint8_t* bytes, size_t length) {
  return push_offer(worker, kClientDatagram, path, bytes, length);
}

void Engine::hold(uint32_t most_ms) {
  shared_.hold_ms.store(most_ms, std::memory_order_release);
  for (auto& worker : workers_) worker->wake();
}

bool Engine::settle(unsigned worker, const Path& path, HoldVerdict verdict) {
  const uint8_t nothing = 0;
  return push_offer(worker, static_cast<uint8_t>(verdict), path, &nothing, 0);
}

bool Engine::push_offer(unsigned worker, uint8_t kind, const Path& path, const uint8_t* bytes, size_t length) {
  if (!running() || worker < 1 || worker > desks_.size() || length > kBufferBytes) return false;
  if (!desks_[worker - 1]->offers.push(kind, kNoSlot, path, bytes, length)) return false;
  workers_[(worker - 1) % workers_.size()]->wake();
  return true;
}

std::vector<std::vector<uint64_t>> Engine::counters() const {
  std::vector<std::vector<uint64_t>> all;
  for (const auto& desk : desks_) {
    std::vector<uint64_t>& values = all.emplace_back(kCounters);
    for (unsigned c = 0; c < kCounters; c++) values[c] = desk->counters.get(static_cast<Counter>(c));
  }
  return all;
}

uint64_t Engine::public_kernel_drops() const {
  uint64_t drops = lanes_.empty() ? last_public_drops_ : 0;
  for (const auto& lane : lanes_) {
    for (const Fd& fd : lane->sockets.publics) drops += kernel_drops(fd.get());
  }
  return drops;
}
uint64_t Engine::trunk_kernel_drops() const {
  uint64_t drops = lanes_.empty() ? last_trunk_drops_ : 0;
  for (const auto& lane : lanes_) drops += kernel_drops(lane->sockets.trunk.get());
  return drops;
}

}  // namespace earshot
