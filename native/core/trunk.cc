#include "trunk.h"

#include <cstring>
#include <iterator>

namespace earshot {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kDirectionFlag = 0x01;
constexpr uint8_t kReservedFlags = 0x0e;

// What docs/trunk-protocol.md allows of each kind.
struct KindRule {
  bool up;
  bool down;
  bool has_path;
  size_t least_payload;
  size_t most_payload;
};
constexpr KindRule kKindRules[] = {
    /* padding      */ {true, true, false, 0, 0xffff},
    /* data         */ {true, true, true, 1, 0xffff},
    /* promote      */ {false, true, true, 32, 32},
    /* flow end     */ {false, true, true, 32, 32},
    /* unknown path */ {true, false, true, 0, 0},
    /* assert       */ {false, true, true, 32, 32},
    /* ping         */ {true, false, false, 8, 8},
    /* pong         */ {false, true, false, 9, 9},
    /* drain        */ {false, true, false, 0, 0},
};

}  // namespace

void write_trunk_header(const TrunkHeader& header, uint8_t* out) {
  out[0] = static_cast<uint8_t>(kVersion << 4 | static_cast<uint8_t>(header.direction));
  out[1] = header.key_id;
  write_u16(out + 2, header.cluster);
  write_u32(out + 4, header.sender_id);
  write_u32(out + 8, header.target_id);
  write_u32(out + 12, header.target_epoch);
  write_u64(out + 16, header.sender_epoch);
  write_u64(out + 24, header.sequence);
}

bool read_trunk_header(const uint8_t* datagram, size_t length, TrunkHeader& header) {
  if (length < kMinTrunkBytes || datagram[0] >> 4 != kVersion || (datagram[0] & kReservedFlags) != 0) return false;
  header.direction = (datagram[0] & kDirectionFlag) != 0 ? Direction::down : Direction::up;
  header.key_id = datagram[1];
  header.cluster = read_u16(datagram + 2);
  header.sender_id = read_u32(datagram + 4);
  header.target_id = read_u32(datagram + 8);
  header.target_epoch = read_u32(datagram + 12);
  header.sender_epoch = read_u64(datagram + 16);
  header.sequence = read_u64(datagram + 24);
  return true;
}

void seal_trunk(uint8_t* datagram, size_t length, const SipKey& key) {
  const uint64_t tag = siphash24(key, datagram, length);
  std::memcpy(datagram + length, &tag, sizeof tag);
}

void seal_two_trunks(uint8_t* const datagrams[2], const size_t lengths[2], const SipKey& key) {
  const uint8_t* const data[2] = {datagrams[0], datagrams[1]};
  uint64_t tags[2];
  siphash24_two(key, data, lengths, tags);
  for (int i = 0; i < 2; i++) std::memcpy(datagrams[i] + lengths[i], &tags[i], sizeof tags[i]);
}

bool trunk_tag_matches(const uint8_t* datagram, size_t length, const SipKey& key) {
  uint64_t tag;
  std::memcpy(&tag, datagram + length - kTrunkTagBytes, sizeof tag);
  return siphash24(key, datagram, length - kTrunkTagBytes) == tag;
}

size_t write_frame(FrameKind kind, const Path& path, const uint8_t* payload, size_t length, uint8_t* out) {
  write_u16(out, static_cast<uint16_t>(length));
  out[2] = static_cast<uint8_t>(kind);
  const size_t header = 3 + write_path(path, out + 3);
  if (length != 0) std::memcpy(out + header, payload, length);
  return header + length;
}

void write_padding(uint8_t* out, size_t bytes) {
  std::memset(out, 0, bytes);
  write_u16(out, static_cast<uint16_t>(bytes - kFrameHeaderBytes));
}

bool FrameReader::next(Frame& frame) {
  do {
    if (at_ == end_) return false;
    malformed_ = !read(frame);
  } while (!malformed_ && frame.kind == FrameKind::padding);
  return !malformed_;
}

bool FrameReader::read(Frame& frame) {
  const size_t available = static_cast<size_t>(end_ - at_);
  if (available < kFrameHeaderBytes) return false;
  const size_t length = read_u16(at_);
  const uint8_t kind = at_[2];
  if (kind >= std::size(kKindRules)) return false;
  const KindRule& rule = kKindRules[kind];
  if (!(direction_ == Direction::up ? rule.up : rule.down)) return false;
  if (length < rule.least_payload || length > rule.most_payload) return false;
  size_t header = kFrameHeaderBytes;
  if (rule.has_path) {
    const size_t path = read_path(at_ + 3, available - 3, frame.path);
    if (path == 0) return false;
    header = 3 + path;
  } else if (at_[3] != 0) {
    return false;
  } else {
    frame.path = Path{};
  }
  if (length > available - header) return false;
  frame.kind = static_cast<FrameKind>(kind);
  frame.payload = at_ + header;
  frame.length = length;
  at_ += header + length;
  return true;
}

}  // namespace earshot
