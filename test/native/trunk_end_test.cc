#include "trunk_end.h"

#include <array>
#include <memory>
#include <vector>

#include "check.h"
#include "loopback.h"

using namespace earshot;
using loopback::Peer;

namespace {

constexpr uint32_t kId = 12;
constexpr uint64_t kEpoch = 1'770'000'000'000;
constexpr uint32_t kRelayPort = 0xabcdef02;
constexpr uint64_t kRelayEpoch = 1'770'000'123'456;
constexpr uint32_t kMaxMediaAgeMs = 30;

struct Up {
  FrameKind kind = FrameKind::data;
  std::vector<uint8_t> payload = {0x80, 1};
};

struct Fixture {
  Fixture() : end({loopback::endpoint(), kId, loopback::kCluster, kEpoch, 1 << 20, kMaxMediaAgeMs}, counts.data()) {
    end.set_keys(loopback::keys());
    CHECK_EQUAL(end.open(), 0);
  }

  std::vector<uint8_t> datagram(uint64_t sequence, const std::vector<Up>& frames, uint32_t sender = kRelayPort) const {
    std::vector<uint8_t> out(4096);
    write_trunk_header({.direction = Direction::up,
                        .key_id = 0,
                        .cluster = loopback::kCluster,
                        .sender_id = sender,
                        .target_id = kId,
                        .target_epoch = static_cast<uint32_t>(kEpoch),
                        .sender_epoch = kRelayEpoch,
                        .sequence = sequence},
                       out.data());
    size_t at = kTrunkHeaderBytes;
    for (const Up& frame : frames) {
      at += write_frame(frame.kind, relay.path(), frame.payload.data(), frame.payload.size(), &out[at]);
    }
    seal_trunk(out.data(), at, loopback::keys().entries[0].trunk_up);
    out.resize(at + kTrunkTagBytes);
    return out;
  }
  void send(const std::vector<uint8_t>& bytes) { CHECK(relay.send(end.local(), bytes.data(), bytes.size())); }
  unsigned receive() { return end.receive(batch.get(), 0, places.get()); }
  double count(EndCounter counter) const { return counts[static_cast<unsigned>(counter)]; }

  // A record as JavaScript writes it.
  std::vector<uint8_t> record(uint32_t relay_port, size_t payload) const {
    const std::vector<uint8_t> bytes(payload, 0x80);
    std::vector<uint8_t> out(4 + frame_bytes(relay.path(), payload));
    std::memcpy(out.data(), &relay_port, 4);
    write_frame(FrameKind::data, relay.path(), bytes.data(), payload, out.data() + 4);
    return out;
  }

  std::array<double, kEndCounters> counts{};
  TrunkEnd end;
  Peer relay;
  // Exactly as large as promised, so that a byte too many is found.
  std::unique_ptr<uint8_t[]> batch{new uint8_t[TrunkEnd::kBatchBytes]};
  std::unique_ptr<TrunkEnd::Place[]> places{new TrunkEnd::Place[TrunkEnd::kBatchPlaces]};
};

}  // namespace

TEST("a transceiver's end puts frames one behind the other and says where they are") {
  Fixture f;
  f.send(f.datagram(1, {{FrameKind::data, {0x00, 1, 2}}, {FrameKind::unknown_path, {}}}));
  CHECK_EQUAL(f.receive(), 2u);
  const TrunkEnd::Place& data = f.places[0];
  CHECK_EQUAL(data.relay_port, kRelayPort);
  Path path;
  CHECK_EQUAL(read_path(&f.batch[data.path], data.payload - data.path, path), 9u);
  CHECK(path == f.relay.path());
  CHECK_EQUAL(data.end - data.payload, 3u);
  CHECK(f.batch[data.payload] == 0x00 && f.batch[data.payload + 2] == 2);
  CHECK_EQUAL(f.places[1].path, data.end);
  CHECK_EQUAL(f.places[1].payload, f.places[1].end);
  CHECK_EQUAL(f.receive(), 0u);
}

TEST("media that has waited for too long is dropped, everything else is not") {
  Fixture f;
  // The kernel begins to stamp datagrams some time after the first socket of the machine has asked for it, and until
  // then says that they arrived when they are read.
  constexpr unsigned kTries = 50;
  unsigned delivered = 0;
  unsigned tries = 0;
  while (delivered != 2 && tries < kTries) {
    f.send(f.datagram(++tries, {{FrameKind::data, {0x80}}, {FrameKind::data, {0x00}}, {FrameKind::data, {22}}}));
    usleep(3 * kMaxMediaAgeMs * 1000);
    delivered = f.receive();
  }
  CHECK_EQUAL(delivered, 2u);
  CHECK_EQUAL(f.batch[f.places[0].payload], 0x00);
  CHECK_EQUAL(f.batch[f.places[1].payload], 22);
  CHECK_EQUAL(f.count(EndCounter::frame_data), 3 * tries);
  CHECK_EQUAL(f.count(EndCounter::client_drop_stale), 1);
}

TEST("a full batch of nothing but the smallest frames fits") {
  Fixture f;
  const std::vector<Up> frames(TrunkEnd::kDatagramBytes / TrunkEnd::kLeastFrame - 4, {FrameKind::unknown_path, {}});
  for (unsigned i = 1; i <= kTrunkEndBatch + 1; i++) f.send(f.datagram(i, frames));
  CHECK_EQUAL(f.receive(), kTrunkEndBatch * frames.size());
  CHECK_EQUAL(f.receive(), frames.size());
  CHECK_EQUAL(f.count(EndCounter::trunk_received), kTrunkEndBatch + 1);
}

TEST("the largest datagram is taken, and one that is larger is dropped as truncated") {
  Fixture f;
  const size_t most = TrunkEnd::kDatagramBytes - kTrunkHeaderBytes - kTrunkTagBytes - frame_bytes(f.relay.path(), 0);
  f.send(f.datagram(1, {{FrameKind::data, std::vector<uint8_t>(most, 0x00)}}));
  CHECK_EQUAL(f.receive(), 1u);
  f.send(f.datagram(2, {{FrameKind::data, std::vector<uint8_t>(most + 1, 0x00)}}));
  CHECK_EQUAL(f.receive(), 0u);
  CHECK_EQUAL(f.count(EndCounter::trunk_drop_truncated), 1);
}

TEST(
    "when there are too many relay ports the most silent is forgotten, and goes on with its sequences if it comes "
    "back") {
  Fixture f;
  const auto meet = [&](uint32_t id) {
    f.send(f.datagram(1, {{FrameKind::data, {0x00}}}, id));  // no media: that may not wait for a busy machine
    return f.receive();
  };
  const auto answered_with = [&](uint32_t id) {
    const auto record = f.record(id, 1);
    CHECK(f.end.send(record.data(), record.size()));
    uint8_t answer[2048];
    TrunkHeader header;
    const size_t got = f.relay.receive(answer, sizeof answer, 0);
    return got != 0 && read_trunk_header(answer, got, header) && header.target_id == id ? header.sequence : 0;
  };
  CHECK_EQUAL(meet(1), 1u);
  const uint64_t first = answered_with(1);
  CHECK(first != 0);
  usleep(20'000);  // the clock is a coarse one
  for (uint32_t id = 2; id <= kMaxRelayPorts; id++) {
    if (meet(id) != 1) CHECK(false);
  }
  CHECK_EQUAL(f.end.ports().count(), kMaxRelayPorts);
  CHECK_EQUAL(meet(kMaxRelayPorts + 1), 1u);
  CHECK_EQUAL(f.end.ports().count(), kMaxRelayPorts);
  CHECK_EQUAL(answered_with(1), 0u);
  CHECK_EQUAL(f.count(EndCounter::frame_unsendable), 1);
  CHECK(answered_with(2) > first);
  usleep(20'000);
  CHECK_EQUAL(meet(1), 1u);
  CHECK(answered_with(1) > first + 1);
}

TEST("an outbox is sent up to the first thing in it that is no record") {
  Fixture f;
  f.send(f.datagram(1, {{}}));
  CHECK_EQUAL(f.receive(), 1u);
  const auto good = f.record(kRelayPort, 100);
  CHECK(f.end.send(good.data(), 0));
  for (size_t cut = 1; cut < good.size(); cut++) {
    const std::vector<uint8_t> part(good.begin(), good.begin() + static_cast<long>(cut));
    if (f.end.send(part.data(), part.size())) CHECK(false);
  }
  CHECK_EQUAL(f.count(EndCounter::frame_sent), 0);
  std::vector<uint8_t> two = good;
  two.insert(two.end(), good.begin(), good.end() - 1);
  CHECK(!f.end.send(two.data(), two.size()));
  CHECK_EQUAL(f.count(EndCounter::frame_sent), 1);
  CHECK_EQUAL(f.count(EndCounter::trunk_sent), 1);
}

TEST("more answers than datagrams can be open are sent in parts, and none is lost") {
  Fixture f;
  f.send(f.datagram(1, {{}}));
  CHECK_EQUAL(f.receive(), 1u);
  std::vector<uint8_t> outbox;
  constexpr unsigned kFrames = 3 * kTrunkEndDatagrams;
  for (unsigned i = 0; i < kFrames; i++) {
    const auto record = f.record(kRelayPort, 1200);
    outbox.insert(outbox.end(), record.begin(), record.end());
  }
  CHECK(f.end.send(outbox.data(), outbox.size()));
  CHECK_EQUAL(f.count(EndCounter::trunk_sent), kFrames);
  CHECK_EQUAL(f.count(EndCounter::trunk_send_failed), 0);
}

TEST("random changes of a datagram are dropped, each with one counter") {
  Fixture f;
  const auto good = f.datagram(1, {{}, {FrameKind::unknown_path, {}}});
  uint32_t state = 1;
  const auto random = [&] { return state = state * 1664525 + 1013904223; };
  constexpr unsigned kTries = 2000;
  for (unsigned i = 0; i < kTries; i++) {
    auto changed = good;
    changed.resize(1 + (random() >> 8) % good.size());
    changed[(random() >> 8) % changed.size()] ^= static_cast<uint8_t>(1 + (random() >> 8) % 255);
    f.send(changed);
    CHECK_EQUAL(f.receive(), 0u);
  }
  double dropped = 0;
  for (auto c = EndCounter::trunk_drop_truncated; c <= EndCounter::trunk_drop_replay;
       c = static_cast<EndCounter>(static_cast<int>(c) + 1)) {
    dropped += f.count(c);
  }
  CHECK_EQUAL(dropped, kTries);
  CHECK_EQUAL(f.count(EndCounter::trunk_received), kTries);
  CHECK_EQUAL(f.count(EndCounter::trunk_accepted), 0);
}
