// Trunk datagrams: header, tag and frames. They are believed only behind a right tag, but the reader must not depend on
// that: a transceiver may err, and it passes on what clients send.
#include <cstring>
#include <vector>

#include "fuzz.h"
#include "trunk.h"

using namespace earshot;

namespace {

constexpr SipKey kKey = {1, 2};

void check_header(const uint8_t* data, size_t size) {
  TrunkHeader header;
  if (!read_trunk_header(data, size, header)) {
    PROMISE(size < kMinTrunkBytes || (data[0] & 0xfe) != 0x10);
    return;
  }
  PROMISE(size >= kMinTrunkBytes);
  uint8_t again[kTrunkHeaderBytes];
  write_trunk_header(header, again);
  PROMISE(std::memcmp(again, data, sizeof again) == 0);
}

// Where the seal is right it matches, and no other bit pattern does.
void check_tag(const uint8_t* data, size_t size) {
  std::vector<uint8_t> sealed(data, data + size);
  sealed.resize(size + kTrunkTagBytes);
  seal_trunk(sealed.data(), size, kKey);
  PROMISE(std::memcmp(sealed.data(), data, size) == 0);
  PROMISE(trunk_tag_matches(sealed.data(), sealed.size(), kKey));
  PROMISE(!trunk_tag_matches(sealed.data(), sealed.size(), {2, 1}));
  const size_t bit = (data[0] * 257u + data[size - 1]) % (sealed.size() * 8);
  sealed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  PROMISE(!trunk_tag_matches(sealed.data(), sealed.size(), kKey));
}

// The table of docs/trunk-protocol.md, once more.
void check_allowed(const Frame& frame, Direction direction) {
  const bool up = direction == Direction::up;
  const bool has_path = frame.path.family != 0;
  switch (frame.kind) {
    case FrameKind::padding:
      break;  // nobody is told of it
    case FrameKind::data:
      PROMISE(has_path && frame.length >= 1);
      return;
    case FrameKind::promote:
    case FrameKind::flow_end:
    case FrameKind::assert_path:
      PROMISE(!up && has_path && frame.length == 32);
      return;
    case FrameKind::unknown_path:
      PROMISE(up && has_path && frame.length == 0);
      return;
    case FrameKind::ping:
      PROMISE(up && !has_path && frame.length == 8);
      return;
    case FrameKind::pong:
      PROMISE(!up && !has_path && frame.length == 9);
      return;
    case FrameKind::drain:
      PROMISE(!up && !has_path && frame.length == 0);
      return;
  }
  PROMISE(false);  // a kind that the table has not
}

// The frame that stands from `begin` to `end`, written again, is what stands there.
void check_written_again(const Frame& frame, const uint8_t* begin, const uint8_t* end) {
  const size_t size = static_cast<size_t>(end - begin);
  std::vector<uint8_t> again(size);
  if (frame.path.family != 0) {
    PROMISE(frame_bytes(frame.path, frame.length) == size);
    PROMISE(write_frame(frame.kind, frame.path, frame.payload, frame.length, again.data()) == size);
  } else {
    PROMISE(size == kFrameHeaderBytes + frame.length);
    write_u16(again.data(), static_cast<uint16_t>(frame.length));
    again[2] = static_cast<uint8_t>(frame.kind);
    if (frame.length != 0) std::memcpy(again.data() + kFrameHeaderBytes, frame.payload, frame.length);
  }
  PROMISE(std::memcmp(again.data(), begin, size) == 0);
}

// A frame can be read alone, and no part of it can.
void check_alone(const Frame& frame, const uint8_t* begin, const uint8_t* end, Direction direction) {
  FrameReader alone(begin, end, direction);
  Frame again;
  PROMISE(alone.next(again) && again.kind == frame.kind && again.path == frame.path);
  PROMISE(again.payload == frame.payload && again.length == frame.length);
  PROMISE(!alone.next(again) && !alone.malformed());
  const std::vector<uint8_t> part(begin, end - 1);
  FrameReader cut(part.data(), part.data() + part.size(), direction);
  PROMISE(!cut.next(again) && cut.malformed());
}

const uint8_t* after_padding(const uint8_t* at, const uint8_t* end) {
  while (end - at >= static_cast<ptrdiff_t>(kFrameHeaderBytes) && at[2] == 0 && at[3] == 0 &&
         end - at >= static_cast<ptrdiff_t>(kFrameHeaderBytes + read_u16(at))) {
    at += kFrameHeaderBytes + read_u16(at);
  }
  return at;
}

void check_frames(const uint8_t* begin, const uint8_t* end, Direction direction) {
  FrameReader reader(begin, end, direction);
  const uint8_t* at = after_padding(begin, end);
  for (Frame frame; reader.next(frame);) {
    PROMISE(!reader.malformed());
    PROMISE(frame.payload >= at + kFrameHeaderBytes && frame.payload <= end);
    PROMISE(frame.length <= static_cast<size_t>(end - frame.payload));
    check_allowed(frame, direction);
    const uint8_t* const frame_end = frame.payload + frame.length;
    check_written_again(frame, at, frame_end);
    check_alone(frame, at, frame_end, direction);
    at = after_padding(frame_end, end);
  }
  PROMISE(reader.malformed() == (at != end));
  // It has ended for good.
  Frame none;
  PROMISE(!reader.next(none) && reader.malformed() == (at != end));
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check_header(data, size);
  if (size == 0) return 0;
  check_tag(data, size);
  const size_t header = size >= kTrunkHeaderBytes + kTrunkTagBytes ? kTrunkHeaderBytes : 0;
  const size_t tag = header != 0 ? kTrunkTagBytes : 0;
  for (const Direction direction : {Direction::up, Direction::down}) {
    check_frames(data + header, data + size - tag, direction);
  }
  return 0;
}
