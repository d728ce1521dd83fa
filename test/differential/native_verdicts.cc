// What the C++ readers say of each datagram that they are given on standard input: eight bytes each on standard output,
// which test/differential/verdicts.ts computes too. Owns no judgement: it asks the core and writes down the answer.
//
// A question is its payload's length (u32), its kind (u8) and the payload. All integers are big-endian.
#include <cstdio>
#include <memory>
#include <vector>

#include "bytes.h"
#include "classify.h"
#include "directory.h"
#include "keys.h"
#include "path.h"
#include "quiescence.h"
#include "senders.h"
#include "stun.h"
#include "token.h"
#include "trunk.h"

using namespace earshot;

namespace {

enum class Question : uint8_t { begin, client_datagram, trunk_up, trunk_down, source, flush };

struct Verdict {
  uint8_t bytes[8] = {};
};

// A running hash of 32-bit words (FNV-1a's step): where the readers differ in one word, the verdicts do.
class Digest {
 public:
  void add(uint64_t word) { value_ = (value_ ^ static_cast<uint32_t>(word)) * 0x01000193u; }
  uint32_t value() const { return value_; }

 private:
  uint32_t value_ = 0x811c9dc5u;
};

// Who we are, whom we know and what we have heard: a question of kind `begin` makes another one.
struct World {
  uint16_t cluster = 0;
  uint32_t target_id = 0;
  uint32_t target_epoch = 0;
  KeySet keys;
  Quiescence quiescence{1};
  Directory directory;
  Senders senders[2];  // by direction

  explicit World(const uint8_t* at) {
    cluster = read_u16(at);
    target_id = read_u32(at + 2);
    target_epoch = read_u32(at + 6);
    uint8_t count = at[10];
    for (at += 11; count > 0; count--, at += 12) {
      directory.add(read_u32(at), read_u64(at + 4), sockaddr_in6{}, sizeof(sockaddr_in), quiescence);
    }
    count = *at++;
    for (; count > 0; count--, at += 49) {
      KeySet::Entry& key = keys.entries[at[0]];
      key.known = true;
      key.token_tag = SipKey::from_bytes(at + 1);
      key.trunk_up = SipKey::from_bytes(at + 17);
      key.trunk_down = SipKey::from_bytes(at + 33);
    }
    for (Senders& each : senders) each.follow(directory);
  }
};

Verdict of_client_datagram(const World& world, const uint8_t* datagram, size_t length) {
  Verdict verdict;
  verdict.bytes[0] =
      length == 0 ? 0xff : static_cast<uint8_t>(classify(datagram[0]));  // an empty one is never classified
  const StunView stun = read_stun(datagram, length);
  verdict.bytes[1] = static_cast<uint8_t>(stun.kind);
  if (stun.ufrag == nullptr) return verdict;
  write_u16(verdict.bytes + 2, static_cast<uint16_t>(stun.ufrag - datagram));
  write_u16(verdict.bytes + 4, static_cast<uint16_t>(stun.ufrag_length));
  uint8_t token[kTokenBytes];
  if (stun.ufrag_length != kUfragChars || !decode_ice_chars(stun.ufrag, token)) {
    verdict.bytes[6] = 1;
  } else {
    verdict.bytes[6] = token_is_ours(token, world.keys) ? 3 : 2;
  }
  return verdict;
}

// The checks of docs/trunk-protocol.md in their order, as the worker makes them: 0 if it passes all.
uint8_t rejection(World& world, const uint8_t* datagram, size_t length, Direction direction, TrunkHeader& header) {
  if (!read_trunk_header(datagram, length, header) || header.direction != direction) return 1;
  const KeySet::Entry* key = world.keys.find(header.key_id);
  if (key == nullptr) return 2;
  if (!trunk_tag_matches(datagram, length, direction == Direction::up ? key->trunk_up : key->trunk_down)) return 3;
  if (header.cluster != world.cluster || header.target_id != world.target_id ||
      header.target_epoch != world.target_epoch) {
    return 4;
  }
  Senders& senders = world.senders[static_cast<unsigned>(direction)];
  const Slot sender = senders.find(header.sender_id, header.sender_epoch);
  if (sender == kNoSlot) return 5;
  return senders.accept(sender, header.sequence) ? 0 : 6;
}

// Frames are read whatever became of the datagram, so that readers of frames meet every input.
Verdict of_trunk_datagram(World& world, const uint8_t* datagram, size_t length, Direction direction) {
  Verdict verdict;
  Digest digest;
  TrunkHeader header;
  verdict.bytes[0] = rejection(world, datagram, length, direction, header);
  if (verdict.bytes[0] == 0) {
    digest.add(header.key_id);
    digest.add(header.sender_id);
    digest.add(header.target_epoch);
    digest.add(header.sender_epoch >> 32);
    digest.add(header.sender_epoch);
    digest.add(header.sequence >> 32);
    digest.add(header.sequence);
  }
  uint16_t frames = 0;
  if (length >= kTrunkHeaderBytes + kTrunkTagBytes) {
    FrameReader reader(datagram + kTrunkHeaderBytes, datagram + length - kTrunkTagBytes, direction);
    for (Frame frame; reader.next(frame); frames++) {
      digest.add(static_cast<uint64_t>(frame.kind));
      digest.add(static_cast<uint64_t>(frame.payload - datagram));
      digest.add(frame.length);
      digest.add(frame.path.family);
      if (frame.path.family == 0) continue;
      digest.add(frame.path.ingress);
      digest.add(frame.path.port);
      for (size_t i = 0; i < frame.path.address_bytes(); i += 4) digest.add(read_u32(frame.path.address + i));
    }
    verdict.bytes[1] = reader.malformed();
  }
  write_u16(verdict.bytes + 2, frames);
  write_u32(verdict.bytes + 4, digest.value());
  return verdict;
}

// Loopback ingress (0 or 1), family (4 or 6), port (u16), address (16 bytes, IPv4 in the first four).
Verdict of_source(const uint8_t* payload) {
  sockaddr_in6 source{};
  if (payload[1] == 4) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    std::memcpy(&v4.sin_port, payload + 2, 2);
    std::memcpy(&v4.sin_addr, payload + 4, 4);
    std::memcpy(&source, &v4, sizeof v4);
  } else {
    source.sin6_family = AF_INET6;
    std::memcpy(&source.sin6_port, payload + 2, 2);
    std::memcpy(&source.sin6_addr, payload + 4, 16);
  }
  Verdict verdict;
  const Path path = path_of(source, 3);
  if (!plausible_source(path, payload[0] != 0)) return verdict;
  verdict.bytes[0] = 1;
  uint8_t bytes[kMaxPathBytes];
  const size_t length = write_path(path, bytes);
  Digest digest;
  for (size_t i = 0; i < length; i++) digest.add(bytes[i]);
  write_u32(verdict.bytes + 4, digest.value());
  return verdict;
}

}  // namespace

int main() {
  std::unique_ptr<World> world;
  std::vector<uint8_t> payload;
  std::vector<Verdict> verdicts;
  uint8_t head[5];
  while (std::fread(head, 1, sizeof head, stdin) == sizeof head) {
    payload.resize(read_u32(head));
    if (std::fread(payload.data(), 1, payload.size(), stdin) != payload.size()) return 1;
    switch (static_cast<Question>(head[4])) {
      case Question::begin:
        world = std::make_unique<World>(payload.data());
        break;
      case Question::client_datagram:
        verdicts.push_back(of_client_datagram(*world, payload.data(), payload.size()));
        break;
      case Question::trunk_up:
        verdicts.push_back(of_trunk_datagram(*world, payload.data(), payload.size(), Direction::up));
        break;
      case Question::trunk_down:
        verdicts.push_back(of_trunk_datagram(*world, payload.data(), payload.size(), Direction::down));
        break;
      case Question::source:
        verdicts.push_back(of_source(payload.data()));
        break;
      case Question::flush:
        if (std::fwrite(verdicts.data(), sizeof(Verdict), verdicts.size(), stdout) != verdicts.size()) return 1;
        std::fflush(stdout);
        verdicts.clear();
    }
  }
  return 0;
}
