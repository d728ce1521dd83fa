// The data plane as a whole: has the lanes, runs the workers on them, and is the control thread's side of the flow
// table. All methods are the control thread's. Knows nothing of Node.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hand_over.h"
#include "shared.h"
#include "worker.h"

namespace earshot {

struct EngineOptions {
  std::vector<Ingress> ingresses;
  Endpoint trunk;  // lane l binds its port + l, or any port if it is 0
  unsigned lanes = 1;
  std::vector<LaneDescriptors> adopted;  // lanes that are open already, as many as `lanes`; none = open them
  unsigned workers = 1;                  // at most as many as lanes
  std::vector<int> cpus;                 // one for each worker, or none
  uint32_t relay_id = 0;                 // 24 bits
  uint64_t epoch = 0;
  uint16_t cluster = 0;
  FlowTable::Options flows{};
  int memfd = -1;  // of the keeper, or -1: flows end with this process
  KeptMemory::HandOver hand_over{};
  int receive_buffer_bytes = 0;
  unsigned gather_us = 0;  // 0 = off
};

class Engine {
 public:
  Engine(EngineOptions options, Doorbell::Bell bell, void* argument);
  ~Engine();

  // Keys must have been set. On failure nothing stays open. EBUSY: another process still writes to the kept memory;
  // EILSEQ: a program of another layout has made it; or what read_records() says of its records.
  Failure start();
  // From then on another process may write to the kept memory, and this one cannot.
  void stop();
  // As stop(), but leaves records for a successor of another layout first. Returns 0 or an errno; it has stopped
  // anyway.
  int hand_over(const SipKey& key, Exported& out);
  bool running() const { return !workers_.empty(); }

  // Stops the workers and starts as many as asked on the same lanes; meanwhile the kernel queues what comes. If they
  // cannot be started, goes on with as many as before. Only while running.
  Failure set_workers(unsigned workers, const std::vector<int>& cpus);
  unsigned workers() const { return static_cast<unsigned>(workers_.size()); }

  const std::vector<Ingress>& ingresses() const { return options_.ingresses; }
  const std::vector<uint16_t>& trunk_ports() const { return trunk_ports_; }  // of each lane
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Whether a predecessor's flows and transceivers were taken over, and what of them was not whole.
  bool taken_over() const { return shared_.memory.taken_over(); }
  // By way of records.
  bool imported() const { return shared_.memory.imported(); }
  uint32_t torn_flows() const { return shared_.flows.torn(); }
  uint32_t torn_transceivers() const { return shared_.directory.torn(); }
  std::vector<Slot> transceivers() const;  // that are live
  const TransceiverSlot* transceiver(Slot slot) const { return shared_.directory.live(slot); }

  void set_keys(const KeySet& keys);
  Slot add_transceiver(uint32_t id, uint64_t epoch, const Endpoint& address);
  void retire_transceiver(Slot slot);

  AdmitResult admit(const Path& path, Slot slot, const uint8_t ufrag[32]);
  // One or two ufrags, newest first.
  RestoreResult restore(const Path& path, Slot slot, const uint8_t (*ufrags)[32], unsigned count);
  bool promote(const Path& path, Slot slot, const uint8_t ufrag[32]);
  bool end(const Path& path, Slot slot, const uint8_t ufrag[32]);
  uint32_t expire();
  const Flow* flow(const Path& path) const { return shared_.flows.find(path); }
  uint64_t idle_ms(const Flow& flow) const { return FlowTable::idle_ms(flow, shared_.now()); }
  FlowTable::Counts flow_counts() const { return shared_.flows.counts(); }
  size_t flow_table_bytes() const { return shared_.flows.bytes(); }

  // The next record at any desk, in turn, with its worker's number; null if there is none. Answers the doorbell.
  void answer_doorbell() { shared_.doorbell.answer(); }
  const QueueRecord* front(unsigned& worker);
  void pop(unsigned worker) { desks_[worker - 1]->to_control.pop(); }
  // The next held path, the same way.
  const Path* front_ask(unsigned& worker) const;
  void pop_ask(unsigned worker) { desks_[worker - 1]->asks.pop(); }
  bool offer(unsigned worker, const Path& path, const uint8_t* bytes, size_t length);

  // From now on workers hold what they cannot place for so long, and ask about each path; 0 = they let go of all.
  void hold(uint32_t most_ms);
  // What this worker holds of a path is forwarded if it has a flow by now, or ends as the verdict says. False if the
  // queue to the worker is full.
  bool settle(unsigned worker, const Path& path, HoldVerdict verdict);

  // Of every worker number that ever was. Stay readable after stop().
  std::vector<std::vector<uint64_t>> counters() const;
  GrantedBuffers granted_buffers() const { return granted_; }
  uint64_t public_kernel_drops() const;
  uint64_t trunk_kernel_drops() const;

 private:
  Failure take_lanes();
  Failure start_workers(unsigned count, const std::vector<int>& cpus);
  void stop_workers();
  void stop_forwarding();
  void warn_not_pinned(unsigned worker, int cpu);
  // Of what is dealt out by turns, lanes and desks: worker 1 has the first, the (workers + 1)th and so on.
  Worker::Work work_of(unsigned number, unsigned workers) const;
  bool push_offer(unsigned worker, uint8_t kind, const Path& path, const uint8_t* bytes, size_t length);

  EngineOptions options_;
  Shared shared_;
  bool may_write_ = true;
  std::unique_ptr<const KeySet> keys_;  // the published one
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<std::unique_ptr<Desk>> desks_;
  std::vector<std::unique_ptr<Worker>> workers_;
  size_t next_desk_ = 0;
  std::vector<uint16_t> trunk_ports_;
  std::vector<std::string> warnings_;
  GrantedBuffers granted_;
  uint64_t last_public_drops_ = 0;
  uint64_t last_trunk_drops_ = 0;
};

}  // namespace earshot
