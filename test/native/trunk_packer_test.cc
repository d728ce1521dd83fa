#include "trunk_packer.h"

#include <vector>

#include "check.h"
#include "loopback.h"

using namespace earshot;
using loopback::Peer;

namespace {

constexpr uint32_t kSender = 5;
constexpr uint64_t kEpoch = 1'770'000'000'000;
constexpr unsigned kSlots = 4;
constexpr unsigned kDatagrams = 200;

struct Received {
  size_t bytes;
  uint64_t sequence;
  std::vector<std::vector<uint8_t>> payloads;
};

struct Fixture {
  Fixture() {
    CHECK_EQUAL(open_udp(loopback::endpoint(), {}, sender, local), 0);
    packer.use(sender.get());
    packer.begin(keys);
  }

  // A frame with a payload of so many bytes, told apart by its first two.
  void add(unsigned slot, size_t payload) {
    std::vector<uint8_t> bytes(payload, 0x80);
    added++;
    bytes[0] = static_cast<uint8_t>(added >> 8);
    bytes[1] = static_cast<uint8_t>(added);
    expected[slot].push_back(bytes);
    const Path path = targets[slot].path();
    const size_t size = frame_bytes(path, payload);
    CHECK(packer.has_room(slot, size));
    const Endpoint& to = addresses[slot].length != 0 ? addresses[slot] : targets[slot].local;
    write_frame(FrameKind::data, path, bytes.data(), payload,
                packer.add(slot, {100 + slot, kEpoch, to.address, to.length}, size, true));
  }
  std::vector<Received> receive(unsigned slot) {
    std::vector<Received> out;
    std::vector<uint8_t> buffer(1 << 16);
    while (const size_t got = targets[slot].receive(buffer.data(), buffer.size(), 0)) {
      TrunkHeader header;
      CHECK(read_trunk_header(buffer.data(), got, header));
      CHECK_EQUAL(header.target_id, 100 + slot);
      CHECK(trunk_tag_matches(buffer.data(), got, keys.entries[keys.signing].trunk_up));
      Received datagram{got, header.sequence, {}};
      FrameReader reader(&buffer[kTrunkHeaderBytes], &buffer[got - kTrunkTagBytes], Direction::up);
      for (Frame frame; reader.next(frame);) {
        datagram.payloads.emplace_back(frame.payload, frame.payload + frame.length);
      }
      CHECK(!reader.malformed());
      out.push_back(datagram);
    }
    return out;
  }
  // All frames have come, in order and with sequences that go up by one.
  std::vector<Received> all(unsigned slot) {
    std::vector<Received> got = receive(slot);
    std::vector<std::vector<uint8_t>> payloads;
    for (const Received& datagram : got) {
      payloads.insert(payloads.end(), datagram.payloads.begin(), datagram.payloads.end());
      CHECK_EQUAL(datagram.sequence, got[0].sequence + static_cast<uint64_t>(&datagram - got.data()));
    }
    CHECK(payloads == expected[slot]);
    expected[slot].clear();
    return got;
  }

  const KeySet keys = loopback::keys();
  Fd sender;
  Endpoint local;
  TrunkPacker packer{{Direction::up, loopback::kCluster, kSender, kEpoch}, kDatagrams, kSlots};
  Peer targets[kSlots + 1] = {Peer(1 << 22), Peer(1 << 22), Peer(1 << 22), Peer(1 << 22), Peer(1 << 22)};
  Endpoint addresses[kSlots + 1];  // in the place of the targets' own, where there is one
  std::vector<std::vector<uint8_t>> expected[kSlots + 1];
  unsigned added = 0;
};

}  // namespace

TEST("datagrams that another follows are padded to the largest, and all frames arrive in order") {
  Fixture f;
  for (unsigned i = 0; i < 95; i++) f.add(1, 100 + i % 37);
  const auto flushed = f.packer.flush();
  CHECK_EQUAL(flushed.frames, 95u);
  CHECK_EQUAL(flushed.frames_dropped, 0u);
  const auto got = f.all(1);
  CHECK_EQUAL(got.size(), flushed.datagrams);
  for (size_t i = 0; i + 1 < got.size(); i++) CHECK_EQUAL(got[i].bytes, kTrunkMaxBytes);
  CHECK(got.back().bytes < kTrunkMaxBytes);
}

TEST("one datagram alone has no padding") {
  Fixture f;
  f.add(1, 100);
  CHECK_EQUAL(f.packer.flush().datagrams, 1u);
  CHECK_EQUAL(f.all(1)[0].bytes, kTrunkHeaderBytes + frame_bytes(f.targets[1].path(), 100) + kTrunkTagBytes);
}

TEST("targets that take turns get each its own, in order") {
  Fixture f;
  for (unsigned i = 0; i < 300; i++) f.add(1 + i % kSlots, 90 + i % 41);
  CHECK_EQUAL(f.packer.flush().frames_dropped, 0u);
  for (unsigned slot = 1; slot <= kSlots; slot++) f.all(slot);
}

TEST("more datagrams than fit into a message all arrive") {
  Fixture f;
  for (unsigned i = 0; i < 150; i++) f.add(1, 1200);
  CHECK_EQUAL(f.packer.flush().datagrams, 150u);
  CHECK_EQUAL(f.all(1).size(), 150u);
}

TEST("datagrams that cannot be padded, and such as are too large, go between the others") {
  Fixture f;
  const size_t room = kTrunkMaxBytes - kTrunkHeaderBytes - kTrunkTagBytes - frame_bytes(f.targets[1].path(), 0);
  for (size_t missing = 0; missing < 6; missing++) {
    f.add(1, room - missing);
    f.add(1, 200);
    f.add(1, kBufferBytes);
    f.add(1, 60);
  }
  CHECK_EQUAL(f.packer.flush().frames_dropped, 0u);
  f.all(1);
}

TEST("where the kernel makes no segments each datagram goes by itself, from the first refusal on without padding") {
  Fixture f;
  const int on = 1;
  CHECK_EQUAL(setsockopt(f.sender.get(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);  // which segments need
  for (int round = 0; round < 2; round++) {
    for (unsigned i = 0; i < 60; i++) f.add(1, 100);
    for (unsigned i = 0; i < 60; i++) f.add(2, 100);
    CHECK_EQUAL(f.packer.flush().frames_dropped, 0u);
    const auto got = f.all(1);
    CHECK(round == 0 ? got[0].bytes == kTrunkMaxBytes : got[0].bytes < kTrunkMaxBytes);
    f.all(2);
  }
}

TEST("a socket that knows nothing of segments is told from one that does") {
  Fixture f;
  CHECK(makes_segments(f.sender.get()));
  const Fd other(socket(AF_INET, SOCK_STREAM, 0));
  CHECK(!makes_segments(other.get()));
}

TEST("what cannot be sent is counted, datagram by datagram and frame by frame, and nothing else is lost") {
  Fixture f;
  f.addresses[2] = loopback::endpoint(0);  // nobody can be sent to
  f.addresses[2].length = f.targets[2].local.length;
  for (unsigned i = 0; i < 100; i++) {
    f.add(1, 120);
    f.add(2, 120);
    f.add(3, 120);
  }
  const auto flushed = f.packer.flush();
  CHECK_EQUAL(flushed.frames, 300u);
  CHECK_EQUAL(flushed.frames_dropped, 100u);
  CHECK_EQUAL(flushed.datagrams_dropped * 3, flushed.datagrams);
  const auto got = f.all(1);
  CHECK_EQUAL(got[0].bytes, kTrunkMaxBytes);
  f.all(3);
  // The kernel's refusal was of the target: others still go in segments.
  for (unsigned i = 0; i < 40; i++) f.add(1, 100);
  f.packer.flush();
  CHECK_EQUAL(f.all(1)[0].bytes, kTrunkMaxBytes);
}
