// A worker: one thread that forwards. It owns its sockets, buffers and counters, and shares the flow table, the
// directory and the keys with the others. Read worker.cc, then uplink.cc or downlink.cc: that is a packet's way.
//
// It must never allocate, lock, log or call into JavaScript once run() has begun.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "client_sender.h"
#include "counters.h"
#include "queue.h"
#include "receiver.h"
#include "senders.h"
#include "shared.h"
#include "socket.h"
#include "stun.h"
#include "trunk_sender.h"
#include "unknown_paths.h"

namespace earshot {

class Worker {
 public:
  struct PublicSocket {
    Fd fd;
    uint16_t ingress;
    bool loopback;
  };
  struct Sockets {
    std::vector<PublicSocket> publics;  // one for each ingress
    Fd trunk;
  };

  // `number` counts from 1.
  Worker(unsigned number, uint32_t sender_id, Shared& shared, Sockets sockets);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // ---- control thread ---------------------------------------------------------------------------------------------
  // Returns 0 or an errno. A `cpu` below 0 leaves the thread unpinned; `pinned` says whether pinning worked.
  int start(int cpu, bool& pinned);
  void stop();
  // Records for the control plane; the caller is their only consumer.
  Queue& to_control() { return to_control_; }
  // Hands a datagram back to be looked up again. False when the queue is full.
  bool offer(const Path& path, const uint8_t* bytes, size_t length);
  const Counters& counters() const { return counters_; }
  uint64_t public_kernel_drops() const;
  uint64_t trunk_kernel_drops() const;
  int least_receive_buffer() const;

 private:
  struct Datagram {
    const uint8_t* bytes;
    size_t length;
    Path path;
    uint64_t hash;
  };
  struct Public {
    PublicSocket socket;
    ClientSender sender;
    Public(PublicSocket&& s, Counters& counters) : socket(std::move(s)), sender(socket.fd.get(), counters) {}
  };

  void run();
  void begin_batch();
  void end_batch();

  // uplink.cc
  void receive_public(const Public& from);
  void uplink(const Datagram& datagram, bool from_loopback, bool truncated);
  void uplink_stun(const Datagram& datagram);
  void uplink_request(const Datagram& datagram, const StunView& stun, bool offered);
  bool forward_request(const Datagram& datagram, const StunView& stun);
  bool forward(Slot slot, const Datagram& datagram, bool copy = false);
  void receive_offers();

  // downlink.cc
  void receive_trunk();
  void downlink(const uint8_t* bytes, size_t length, bool truncated);
  void frame(const Frame& frame, Slot sender);
  void data_frame(const Frame& frame, Slot sender);
  void unknown_path(const Frame& frame, uint64_t hash, Slot sender);
  void control_frame(const Frame& frame, Slot sender);

  void count(Counter counter) { counters_.add(counter); }

  const unsigned number_;
  const uint32_t sender_id_;
  Shared& shared_;
  Fd trunk_;
  Fd wake_;
  Fd epoll_;
  std::vector<std::unique_ptr<Public>> publics_;

  Counters counters_;
  Receiver receiver_;
  std::unique_ptr<Datagram[]> batch_;
  TrunkSender trunk_sender_;
  Senders senders_;
  UnknownPaths unknown_paths_;
  Queue to_control_;  // this worker produces, the control thread consumes
  Queue offers_;      // the other way round

  const KeySet* keys_ = nullptr;  // of this batch
  Tick now_ = 0;                  // of this batch

  std::atomic<bool> stopping_{false};
  bool started_ = false;
  pthread_t thread_{};
};

}  // namespace earshot
