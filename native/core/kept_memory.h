// The memory that a worker process leaves to its successor, however it ends: flows, the directory's slots, and how far
// each transceiver's sequences have come. One memfd that the keeper made; this file lays it out and sees to it that
// one process at a time may write.
//
//   header | directory slots | senders of each lane | checks of flows | flows
//
// Memory of another layout is never read. What is in it comes as the records that its last writer has left on purpose
// (hand_over.h), into other memory, which is nobody's before it is whole.
//
// It never looks into entries. Whoever owns a region validates what it finds there, and rebuilds what is not here:
// indexes, free lists, references.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "directory.h"
#include "flow.h"
#include "senders.h"
#include "siphash.h"
#include "socket.h"

namespace earshot {

struct KeptHeader {
  uint64_t magic;   // written last: memory whose making was cut short is none
  uint64_t layout;  // kLayout of the program that made it
  uint64_t bytes;
  uint32_t entries;  // flows, index 0 not counted
  uint32_t lanes;
  uint64_t origin_ms;  // CLOCK_MONOTONIC_COARSE at tick 0; all processes of a host share that clock
  SipKey path_key;
  SipKey ufrag_key;
  SipKey check_key;
};

class KeptMemory {
 public:
  struct Shape {
    uint32_t entries;
    unsigned lanes;
  };
  // How memory changes its layout, and who may write to any.
  struct HandOver {
    // The keeper's memfd for records. It outlives all memory, and its lock is the writer's role: of two processes with
    // different memory one writes. -1: the lock is the memory's own.
    int records = -1;
    // An empty memfd that takes what is in `records`, if the memory is of a foreign layout; -1: then it is an error.
    int memory = -1;
    SipKey key;  // of these records
  };

  // Changes with whatever a program of another version would read wrongly.
  static const uint64_t kLayout;

  // With a memfd of the keeper's: takes the writer's role, and what is in it or makes it. With -1: memory of its own.
  // After records have been taken `memfd` stands for the new memory: the descriptor is made to.
  // After an error there is memory all the same, without room for a flow, which nobody will take over.
  KeptMemory(int memfd, const Shape& shape, uint64_t now_ms) : KeptMemory(memfd, shape, now_ms, HandOver{}) {}
  KeptMemory(int memfd, const Shape& shape, uint64_t now_ms, const HandOver& hand_over);
  ~KeptMemory();
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;

  // EBUSY: another process has the writer's role. EILSEQ: a foreign layout. ENOMEM and the like: no room. With records:
  // what read_records() says.
  int error() const { return error_; }
  // Whether there was something of our layout, or of another by its records. Otherwise it is new, and empty.
  bool taken_over() const { return taken_over_; }
  // Flows that came as records.
  bool imported() const { return imported_; }
  uint32_t imported_flows() const { return imported_flows_; }
  size_t bytes() const { return bytes_; }
  // Another process may write from now on; this one must not any more.
  void give_up_writing() { lock_ = Fd(); }

  const KeptHeader& header() const { return *header_; }
  TransceiverSlot* transceivers() const { return transceivers_; }  // [1, kMaxTransceivers]
  SenderRecord* senders(unsigned lane) const;                      // [1, kMaxTransceivers]; lanes from 1
  // In new memory: its times and hashes of ufrags are a predecessor's.
  void resume(uint64_t origin_ms, const SipKey& ufrag_key) {
    header_->origin_ms = origin_ms;
    header_->ufrag_key = ufrag_key;
  }
  FlowCheck* checks() const { return checks_; }  // [1, entries]
  Flow* flows() const { return flows_; }         // [1, entries]

  // For the keeper, which need not know any layout: an empty memfd. Returns a descriptor, or -1 with errno.
  static int make_memfd();

 private:
  int take(int memfd, const Shape& shape, uint64_t now_ms, const HandOver& hand_over);
  int import(int memfd, const Shape& shape, uint64_t now_ms, const HandOver& hand_over);
  int make(int memfd, const Shape& shape, uint64_t now_ms);
  int map(int memfd);
  void unmap();
  void lay_out(const Shape& shape);
  void initialise(const Shape& shape, uint64_t now_ms);
  void publish();

  int error_ = 0;
  bool taken_over_ = false;
  bool imported_ = false;
  uint32_t imported_flows_ = 0;
  Fd lock_;
  uint8_t* memory_ = nullptr;
  size_t bytes_ = 0;
  unsigned lanes_ = 0;
  KeptHeader* header_ = nullptr;
  TransceiverSlot* transceivers_ = nullptr;
  SenderRecord* senders_ = nullptr;
  FlowCheck* checks_ = nullptr;
  Flow* flows_ = nullptr;
};

}  // namespace earshot
