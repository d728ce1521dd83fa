// Packs frames into trunk datagrams, one open datagram per target, seals them and sends them together: what a relay's
// worker and a transceiver's end of the trunk have in common. Targets are known by slots, small numbers from 1 that the
// owner gives out. One thread's. Allocates at construction only.
//
// The kernel's way for one datagram costs several times more than writing it does, and most of that once for each
// message, not for each datagram in it (UDP_SEGMENT, Linux 4.18). It splits a message into datagrams of one size; so a
// datagram that is followed by another to the same target is padded to the largest.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>

#include "constants.h"
#include "keys.h"
#include "socket.h"
#include "trunk.h"

namespace earshot {

class TrunkPacker {
 public:
  struct Identity {
    Direction direction;
    uint16_t cluster;
    uint32_t sender_id;
    uint64_t epoch;
  };
  struct Target {
    uint32_t id;
    uint64_t epoch;
    const sockaddr_in6& address;
    socklen_t address_length;
  };

  // The whole of a datagram that holds nothing but the largest frame, one of a full receive buffer.
  static constexpr size_t kLargest = kTrunkHeaderBytes + 3 + kMaxPathBytes + kBufferBytes + kTrunkTagBytes;
  static constexpr size_t kLargestFrame = kLargest - kTrunkHeaderBytes - kTrunkTagBytes;

  // At most `datagrams` are open or wait at a time; slots are up to `slots`.
  TrunkPacker(const Identity& identity, unsigned datagrams, unsigned slots);

  void use(int fd) {
    fd_ = fd;
    segments_ = makes_segments(fd);
  }
  // The keys to seal with, until there are others.
  void begin(const KeySet& keys) { keys_ = &keys; }

  // Whether a frame of so many bytes, at most kLargestFrame, finds room. If not, flush() makes it.
  bool has_room(unsigned slot, size_t bytes) const { return used_ < datagrams_count_ || fits(slot, bytes); }
  // Where a frame of so many bytes is to be written: has_room() has said yes. `counted` frames come back from flush().
  uint8_t* add(unsigned slot, const Target& to, size_t bytes, bool counted);
  // Frames for this slot go into another datagram from now on.
  void close(unsigned slot) { open_[slot] = kNone; }

  struct Flushed {
    unsigned datagrams = 0;          // that there were
    unsigned datagrams_dropped = 0;  // that the kernel did not take
    uint64_t frames = 0;             // the counted ones that there were
    uint64_t frames_dropped = 0;
  };
  // Seals and sends every datagram.
  Flushed flush();

 private:
  static constexpr uint16_t kNone = 0xffff;

  // Datagrams in a message: as many of the largest as fit into 65,507 bytes, and fewer than the 64 that Linux takes.
  static constexpr unsigned kSegments = 46;

  struct Datagram {
    unsigned slot;
    uint16_t length;   // without the tag
    uint16_t counted;  // frames
    uint16_t next;     // to the same target, or kNone
    bool follows;      // there is one before it
    sockaddr_in6 to;
    socklen_t to_length;
    uint8_t bytes[kLargest];
    size_t wire_bytes() const { return length + kTrunkTagBytes; }
  };
  struct Message {
    uint16_t first;  // datagram
    uint16_t count;  // of datagrams: it, and those that are next
    alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))];
  };

  void pad(Datagram& datagram);
  void seal_all();
  unsigned lay_out();
  void refused(const Message& message, int error, Flushed& flushed);
  bool send_alone(const Datagram& datagram) const;
  // A sequence never repeats for the same target and epoch, even if it comes back in another slot: whoever is new in a
  // slot goes on from the highest sequence of all. Nor does it with the next worker on this lane, in this process or,
  // under the same epoch, in one that replaces it: each begins at the nanoseconds since the host has booted, which
  // nobody who used a sequence for every datagram can have reached before.
  struct Sequence {
    uint64_t epoch = 0;
    uint64_t last = 0;
    uint32_t id = 0;
  };

  bool fits(unsigned slot, size_t bytes) const {
    return open_[slot] != kNone && datagrams_[open_[slot]].wire_bytes() + bytes <= kTrunkMaxBytes;
  }
  Datagram& open(unsigned slot, const Target& to);
  static uint64_t first_sequence();
  uint64_t next_sequence(unsigned slot, const Target& to);

  const Identity identity_;
  const unsigned datagrams_count_;
  const KeySet* keys_ = nullptr;
  int fd_ = -1;
  bool segments_ = false;  // as far as is known, the kernel and the device can make them
  unsigned used_ = 0;
  std::unique_ptr<Datagram[]> datagrams_;
  std::unique_ptr<Message[]> messages_;
  std::unique_ptr<mmsghdr[]> headers_;     // of messages
  std::unique_ptr<iovec[]> vectors_;       // of datagrams, in the order of messages
  std::unique_ptr<uint16_t[]> open_;       // by slot: the datagram that takes frames, or kNone
  std::unique_ptr<Sequence[]> sequences_;  // by slot
  uint64_t highest_sequence_;
};

}  // namespace earshot
