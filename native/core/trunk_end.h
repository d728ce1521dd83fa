// The transceiver's end of the trunk: one socket, read in batches and written in packed datagrams. It checks what comes
// in, answers pings, learns relay ports, and gives the frames that are for sessions to its owner as places in a buffer.
// It believes nothing without a right tag, and nothing that comes makes it fail: each datagram ends in one counter.
//
// One thread's. Knows nothing of Node, STUN or sessions. Allocates at construction only.
#pragma once

#include <cstdint>

#include "keys.h"
#include "receiver.h"
#include "relay_ports.h"
#include "socket.h"
#include "trunk.h"
#include "trunk_packer.h"

namespace earshot {

enum class EndCounter : uint8_t {
#define COUNT(name, help) name,
#include "trunk_end_counters.def"
#undef COUNT
  kCount
};
inline constexpr unsigned kEndCounters = static_cast<unsigned>(EndCounter::kCount);

class TrunkEnd {
 public:
  struct Options {
    Endpoint local;
    uint32_t id = 0;
    uint16_t cluster = 0;
    uint64_t epoch = 0;
    int receive_buffer_bytes = 0;
    uint32_t max_media_age_ms = 0;
  };
  // A frame for a session: path bytes from `path` on, then the payload from `payload` to before `end`. Without a
  // payload it says that the relay port does not know the path. Also how JavaScript reads it: four numbers of 32 bits.
  struct Place {
    uint32_t relay_port;
    uint32_t path;
    uint32_t payload;
    uint32_t end;
  };

  static constexpr size_t kDatagramBytes = TrunkPacker::kLargest;
  static constexpr size_t kFrameBytesMost = TrunkPacker::kLargestFrame;
  // Of the buffer that one batch can need: every frame of every datagram.
  static constexpr size_t kBatchBytes = kTrunkEndBatch * kDatagramBytes;
  // The smallest frame with a path that can come: unknown path, IPv4.
  static constexpr size_t kLeastFrame = 3 + 9;
  static constexpr size_t kBatchPlaces = kTrunkEndBatch * (kDatagramBytes / kLeastFrame);

  // `counts`: kEndCounters numbers, which the owner reads and keeps.
  TrunkEnd(const Options& options, double* counts);

  // Returns 0 or an errno. Keys must have been set.
  int open();
  void close();
  int fd() const { return fd_.get(); }
  const Endpoint& local() const { return local_; }
  int granted_receive_buffer() const { return earshot::granted_receive_buffer(fd_.get()); }
  uint32_t kernel_drops() const { return earshot::kernel_drops(fd_.get()); }

  void set_keys(const KeySet& keys) { keys_ = keys; }

  // Reads one batch. Writes its frames to `bytes`, kBatchBytes long, and their places to `places`, kBatchPlaces long;
  // offsets count from `base`. Returns how many places.
  unsigned receive(uint8_t* bytes, uint32_t base, Place* places);

  // Packs and sends what is in `outbox`: records of a relay port id, 32 bits in the machine's order, and a frame as on
  // the wire. False, and the rest is not sent, if it comes to what is no such record.
  bool send(const uint8_t* outbox, size_t length);

  // From now on pongs say "draining"; each relay port that is there is also told at once.
  void drain();

  // Whom it has heard from, and how long ago.
  const RelayPorts& ports() const { return ports_; }
  uint64_t silent_ms(unsigned slot) const;

 private:
  struct Datagram {
    const uint8_t* bytes;
    size_t length;
    const sockaddr_in6& from;
    socklen_t from_length;
    bool stale;
  };
  // Where a batch's frames are being written.
  struct Delivery {
    uint8_t* bytes;
    uint32_t base;
    uint32_t used;
    Place* places;
    unsigned count;
  };

  void take(const Datagram& datagram, bool truncated, Delivery& to);
  // The slot of its sender, or 0 if it is dropped.
  unsigned accept(const Datagram& datagram);
  unsigned sender(const TrunkHeader& header, const Datagram& datagram);
  bool only_pings(const Datagram& datagram) const;
  void deliver(const Frame& frame, unsigned slot, Delivery& to);
  void pong(const uint8_t* nonce, unsigned slot, const Datagram& ping);
  bool pack(const uint8_t* at, const uint8_t* end);
  // Makes room for a frame, and says where.
  uint8_t* room(unsigned slot, const TrunkPacker::Target& to, size_t bytes);
  void flush();
  bool is_stale(unsigned i, const timespec& now) const;

  void count(EndCounter counter, unsigned n = 1) { counts_[static_cast<unsigned>(counter)] += n; }

  const Options options_;
  double* const counts_;
  Fd fd_;
  Endpoint local_;
  KeySet keys_;
  uint64_t now_ms_ = 0;  // of this batch, monotonic
  bool draining_ = false;
  Receiver receiver_;
  RelayPorts ports_;
  TrunkPacker packer_;
};

}  // namespace earshot
