#include "engine.h"

#include <utility>

namespace earshot {

Engine::Engine(EngineOptions options, Doorbell::Bell bell, void* argument)
    : options_(std::move(options)), shared_(options_.workers, options_.memfd, options_.flows, bell, argument) {
  shared_.cluster = options_.cluster;
  shared_.epoch = options_.epoch;
}

Engine::~Engine() { stop(); }

// ---- sockets --------------------------------------------------------------------------------------------------------

Engine::Failure Engine::open_ingress(EngineOptions::Ingress& ingress, std::vector<Worker::Sockets>& out) {
  if (ingress.endpoint.port() != 0) {
    // A bind with SO_REUSEPORT would succeed on a port that another relay serves, and take half of its packets.
    Fd probe;
    Endpoint local;
    if (const int error = open_udp(ingress.endpoint, {}, probe, local)) return {error, "ingress"};
  }
  for (Worker::Sockets& sockets : out) {
    Fd fd;
    Endpoint local;
    const SocketOptions options{.reuse_port = true, .receive_buffer_bytes = options_.receive_buffer_bytes};
    if (const int error = open_udp(ingress.endpoint, options, fd, local)) return {error, "ingress"};
    ingress.endpoint = local;  // the first worker's socket chooses the port for all
    sockets.publics.push_back({std::move(fd), ingress.id, local.loopback()});
  }
  return {};
}

Engine::Failure Engine::open_trunk(std::vector<Worker::Sockets>& out) {
  for (unsigned w = 0; w < out.size(); w++) {
    Endpoint wanted = options_.trunk;
    if (wanted.port() != 0) wanted.set_port(static_cast<uint16_t>(wanted.port() + w + 1));
    Endpoint local;
    const SocketOptions options{.reuse_port = false, .receive_buffer_bytes = options_.receive_buffer_bytes};
    if (const int error = open_udp(wanted, options, out[w].trunk, local)) return {error, "trunk"};
    trunk_ports_.push_back(local.port());
  }
  return {};
}

Engine::Failure Engine::open_sockets(std::vector<Worker::Sockets>& out) {
  for (auto& ingress : options_.ingresses) {
    Failure failure = open_ingress(ingress, out);
    if (failure.error != 0) {
      failure.about = "ingress " + std::to_string(ingress.id);
      return failure;
    }
  }
  return open_trunk(out);
}

// ---- life
// -------------------------------------------------------------------------------------------------------------

Engine::Failure Engine::start() {
  if (const int error = shared_.memory.error()) return {error, "flow table"};
  std::vector<Worker::Sockets> sockets(options_.workers);
  if (Failure failure = open_sockets(sockets); failure.error != 0) return failure;
  for (unsigned w = 0; w < options_.workers; w++) {
    const uint32_t sender_id = options_.relay_id << 8 | (w + 1);
    workers_.push_back(std::make_unique<Worker>(w + 1, sender_id, shared_, std::move(sockets[w])));
  }
  for (unsigned w = 0; w < options_.workers; w++) {
    const int cpu = w < options_.cpus.size() ? options_.cpus[w] : -1;
    bool pinned = false;
    if (const int error = workers_[w]->start(cpu, pinned)) {
      stop();
      return {error, "worker thread"};
    }
    if (cpu >= 0 && !pinned) {
      warnings_.push_back("worker " + std::to_string(w + 1) + " could not be pinned to CPU " + std::to_string(cpu) +
                          ": not among the CPUs that this process may use");
    }
  }
  // The kernel reports twice what it grants, to account for its own bookkeeping.
  const int granted = workers_[0]->least_receive_buffer() / 2;
  if (granted < options_.receive_buffer_bytes) {
    warnings_.push_back("receive buffers are " + std::to_string(granted) + " bytes instead of " +
                        std::to_string(options_.receive_buffer_bytes) +
                        ": raise net.core.rmem_max or add CAP_NET_ADMIN");
  }
  return {};
}

void Engine::stop() {
  if (workers_.empty()) return;
  for (auto& worker : workers_) worker->stop();
  last_counters_ = counters();
  workers_.clear();
}

// ---- what the control plane decides
// -----------------------------------------------------------------------------------

void Engine::set_keys(const KeySet& keys) {
  auto next = std::make_unique<const KeySet>(keys);
  shared_.keys.store(next.get(), std::memory_order_seq_cst);
  shared_.quiescence.wait();  // no worker uses the old ones any more
  keys_ = std::move(next);
}

Slot Engine::add_transceiver(uint32_t id, uint64_t epoch, const Endpoint& address) {
  return shared_.directory.add(id, epoch, address.address, address.length, shared_.quiescence);
}
void Engine::retire_transceiver(Slot slot) { shared_.directory.retire(slot); }

AdmitResult Engine::admit(const Path& path, Slot slot, const uint8_t ufrag[32]) {
  return shared_.flows.admit(path, slot, shared_.flows.hash_ufrag(ufrag, 32), shared_.now());
}
RestoreResult Engine::restore(const Path& path, Slot slot, const uint8_t (*ufrags)[32], unsigned count) {
  Claim claim{slot, {0, 0}};
  for (unsigned i = 0; i < count; i++) claim.ufrags[i] = shared_.flows.hash_ufrag(ufrags[i], 32);
  if (claim.ufrags[1] == claim.ufrags[0]) claim.ufrags[1] = 0;
  return shared_.flows.restore(path, claim, shared_.now());
}
bool Engine::promote(const Path& path, Slot slot, const uint8_t ufrag[32]) {
  return shared_.flows.promote(path, slot, shared_.flows.hash_ufrag(ufrag, 32), shared_.now());
}
bool Engine::end(const Path& path, Slot slot, const uint8_t ufrag[32]) {
  return shared_.flows.end(path, slot, shared_.flows.hash_ufrag(ufrag, 32), shared_.now());
}
uint32_t Engine::expire() { return shared_.flows.expire(shared_.now()); }

const QueueRecord* Engine::front(unsigned& worker) {
  for (size_t i = 0; i < workers_.size(); i++) {
    const size_t w = (next_worker_ + i) % workers_.size();
    if (const QueueRecord* record = workers_[w]->to_control().front()) {
      next_worker_ = w + 1;  // in turn, so that a flood at one worker does not starve the others
      worker = static_cast<unsigned>(w + 1);
      return record;
    }
  }
  return nullptr;
}

bool Engine::offer(unsigned worker, const Path& path, const uint8_t* bytes, size_t length) {
  return worker >= 1 && worker <= workers_.size() && workers_[worker - 1]->offer(path, bytes, length);
}

std::vector<std::vector<uint64_t>> Engine::counters() const {
  if (workers_.empty()) return last_counters_;
  std::vector<std::vector<uint64_t>> all;
  for (const auto& worker : workers_) {
    std::vector<uint64_t>& values = all.emplace_back(kCounters);
    for (unsigned c = 0; c < kCounters; c++) values[c] = worker->counters().get(static_cast<Counter>(c));
  }
  return all;
}

uint64_t Engine::public_kernel_drops() const {
  uint64_t drops = 0;
  for (const auto& worker : workers_) drops += worker->public_kernel_drops();
  return drops;
}
uint64_t Engine::trunk_kernel_drops() const {
  uint64_t drops = 0;
  for (const auto& worker : workers_) drops += worker->trunk_kernel_drops();
  return drops;
}

}  // namespace earshot
