// A worker: one thread that forwards. It reads every socket of its lanes, and sends from those of its first one, so
// that what it packs is not spread over many. It owns its buffers, and shares the flow table, the directory and the
// keys with the others. Read worker.cc, then uplink.cc or downlink.cc: that is a packet's way.
//
// Workers come and go with their number. What must outlive them is in lanes (sockets, replay windows) and desks
// (queues, counters), which are handed from one set of workers to the next while no worker runs.
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
#include "gather.h"
#include "hold.h"
#include "lanes.h"
#include "queue.h"
#include "receiver.h"
#include "senders.h"
#include "shared.h"
#include "socket.h"
#include "stun.h"
#include "trunk_sender.h"
#include "unknown_paths.h"

namespace earshot {

// A lane in use: its sockets, its port id on the trunk, and who has sent to that.
struct Lane {
  LaneSockets sockets;
  uint32_t sender_id;  // relay id << 8 | number of the lane, from 1
  Senders senders;
};

// What stands between a worker and the control thread. One for each number of a worker that ever was.
struct Desk {
  Counters counters;  // written by the worker
  Queue to_control;   // the worker produces, the control thread consumes
  PathQueue asks;     // as well
  Queue offers;       // the other way round
};

class Worker {
 public:
  // What a worker works on. The engine owns it all.
  struct Work {
    unsigned number;  // from 1
    Desk* desk;
    std::vector<Lane*> lanes;    // at least one; the first is the one that it sends from
    std::vector<Queue*> offers;  // its desk's, and those of desks whose workers are gone
    unsigned gather_us;          // how long it waits where Gather says so; 0 = never
  };

  Worker(Work work, const std::vector<Ingress>& ingresses, Shared& shared);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // ---- control thread ---------------------------------------------------------------------------------------------
  // Returns 0 or an errno. A `cpu` below 0 leaves the thread unpinned; `pinned` says whether pinning worked.
  int start(int cpu, bool& pinned);
  // Everything that it has read has been sent or queued when this returns.
  void stop();
  // There is something new in one of its offers, or holding has begun or ended.
  void wake();

 private:
  struct Datagram {
    const uint8_t* bytes;
    size_t length;
    Path path;
    uint64_t hash;
  };
  struct Public {
    uint16_t ingress;
    bool loopback;
    ClientSender sender;
  };
  // A socket that it reads: of a lane, and there a public one (which) or the trunk's.
  struct Source {
    static constexpr size_t kTrunk = SIZE_MAX;
    Lane* lane;
    size_t which;
  };

  void run();
  int watch(int fd, uint32_t what);
  void begin_batch();
  void receive(const Source& source);
  void end_batch();
  unsigned read(int fd);
  void gather() const;

  // uplink.cc
  void receive_public(int fd, const Public& from);
  void uplink(const Datagram& datagram, bool from_loopback, bool truncated);
  void uplink_stun(const Datagram& datagram);
  bool follow_owner(const Datagram& datagram);
  bool media_to_owner(const Datagram& datagram);
  bool answer_to_owner(const Datagram& datagram, StunKind kind);
  void unplaced(const Datagram& datagram);
  void uplink_request(const Datagram& datagram, const StunView& stun, bool offered);
  bool forward_request(const Datagram& datagram, const StunView& stun);
  bool forward(Slot slot, const Datagram& datagram, bool copy = false);
  void receive_offers();
  void receive_offers(Queue& offers);
  void settle(const Path& path, HoldVerdict verdict);
  void release(const Path& path, uint64_t hash, const Hold::Held& held, Counter without_flow);
  void release_all();

  // downlink.cc
  void receive_trunk(Lane& lane);
  void downlink(Lane& lane, const uint8_t* bytes, size_t length, bool truncated);
  void frame(const Frame& frame, Slot sender);
  void data_frame(const Frame& frame, Slot sender);
  void unknown_path(const Frame& frame, uint64_t hash, Slot sender);
  void control_frame(const Frame& frame, Slot sender);

  void count(Counter counter) { counters_.add(counter); }

  const Work work_;
  Shared& shared_;
  Counters& counters_;
  Queue& to_control_;
  PathQueue& asks_;
  Fd wake_;
  Fd epoll_;
  std::vector<Public> publics_;  // by ingress
  std::vector<Source> sources_;

  Receiver receiver_;
  std::unique_ptr<Datagram[]> batch_;
  TrunkSender trunk_sender_;
  Gather gather_;
  UnknownPaths unknown_paths_;
  Hold hold_;

  const KeySet* keys_ = nullptr;  // of this batch
  Tick now_ = 0;                  // of this batch
  unsigned taken_ = 0;            // in this batch
  uint32_t hold_ms_ = 0;          // how long it may hold a datagram; 0 = not at all
  bool full_ = false;             // whether this batch has left something unread

  std::atomic<bool> stopping_{false};
  bool started_ = false;
  pthread_t thread_{};
};

}  // namespace earshot
