// The C++ definition of docs/trunk-protocol.md: datagram header, tag and frames. Pure: no sockets, no clock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bytes.h"
#include "keys.h"
#include "path.h"

namespace earshot {

inline constexpr size_t kTrunkHeaderBytes = 32;
inline constexpr size_t kTrunkTagBytes = 8;
inline constexpr size_t kFrameHeaderBytes = 4;  // of a frame without a path
inline constexpr size_t kMinTrunkBytes = kTrunkHeaderBytes + kFrameHeaderBytes + kTrunkTagBytes;

enum class Direction : uint8_t { up = 0, down = 1 };

struct TrunkHeader {
  Direction direction = Direction::up;
  uint8_t key_id = 0;
  uint16_t cluster = 0;
  uint32_t sender_id = 0;
  uint32_t target_id = 0;
  uint32_t target_epoch = 0;  // low 32 bits
  uint64_t sender_epoch = 0;
  uint64_t sequence = 0;
};

// Writes kTrunkHeaderBytes.
void write_trunk_header(const TrunkHeader& header, uint8_t* out);
// False if `length` is too short, or version or flags are not ours. Reads nothing past kTrunkHeaderBytes.
bool read_trunk_header(const uint8_t* datagram, size_t length, TrunkHeader& header);

// Appends the tag behind `length` bytes.
void seal_trunk(uint8_t* datagram, size_t length, const SipKey& key);
// The same for two datagrams, in less time than one after the other.
void seal_two_trunks(uint8_t* const datagrams[2], const size_t lengths[2], const SipKey& key);
// `length` includes the tag.
bool trunk_tag_matches(const uint8_t* datagram, size_t length, const SipKey& key);

enum class FrameKind : uint8_t {
  padding = 0,
  data = 1,
  promote = 2,
  flow_end = 3,
  unknown_path = 4,
  assert_path = 5,
  ping = 6,
  pong = 7,
  drain = 8,
};

struct Frame {
  FrameKind kind = FrameKind::data;
  Path path;  // family 0 where the kind has none
  const uint8_t* payload = nullptr;
  size_t length = 0;
};

inline size_t frame_bytes(const Path& path, size_t payload) { return 3 + path.wire_bytes() + payload; }

// Writes the header of a frame that has a path, and copies the payload behind it. Returns the bytes written.
size_t write_frame(FrameKind kind, const Path& path, const uint8_t* payload, size_t length, uint8_t* out);

// Fills so many bytes, kFrameHeaderBytes or more, with a frame that says nothing.
void write_padding(uint8_t* out, size_t bytes);

// Reads frames one after the other, padding aside. After next() returned false, malformed() says whether the end was
// the right one.
class FrameReader {
 public:
  FrameReader(const uint8_t* begin, const uint8_t* end, Direction direction)
      : at_(begin), end_(end), direction_(direction) {}
  bool next(Frame& frame);
  bool malformed() const { return malformed_; }

 private:
  bool read(Frame& frame);

  const uint8_t* at_;
  const uint8_t* end_;
  Direction direction_;
  bool malformed_ = false;
};

}  // namespace earshot
