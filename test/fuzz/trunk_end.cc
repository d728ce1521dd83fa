// The transceiver's end of the trunk over a real socket: whatever comes, every datagram ends in one counter, and every
// place that it names lies in the buffer. Also what JavaScript hands over to be sent.
#include "trunk_end.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "fuzz.h"

using namespace earshot;

namespace {

constexpr uint32_t kId = 7;
constexpr uint64_t kEpoch = 99;
constexpr uint16_t kCluster = 3;

KeySet keys() {
  KeySet out;
  out.entries[0].known = true;
  out.entries[0].trunk_up = {1, 2};
  out.entries[0].trunk_down = {3, 4};
  return out;
}

struct World {
  World() : end({loopback(), kId, kCluster, kEpoch, 1 << 20, 200}, counts) {
    end.set_keys(keys());
    Endpoint local;
    PROMISE(end.open() == 0);
    PROMISE(open_udp(loopback(), {}, relay, local) == 0);
  }
  static Endpoint loopback() {
    Endpoint out;
    Endpoint::parse("127.0.0.1", 0, out);
    return out;
  }
  double count(EndCounter counter) const { return counts[static_cast<unsigned>(counter)]; }

  double counts[kEndCounters] = {};
  TrunkEnd end;
  Fd relay;
  std::unique_ptr<uint8_t[]> batch{new uint8_t[TrunkEnd::kBatchBytes]};
  std::unique_ptr<TrunkEnd::Place[]> places{new TrunkEnd::Place[TrunkEnd::kBatchPlaces]};
};

void check_accounting(const World& world) {
  double dropped = 0;
  for (unsigned c = static_cast<unsigned>(EndCounter::trunk_drop_truncated);
       c <= static_cast<unsigned>(EndCounter::trunk_drop_replay); c++) {
    dropped += world.counts[c];
  }
  PROMISE(world.count(EndCounter::trunk_received) == world.count(EndCounter::trunk_accepted) + dropped);
  PROMISE(world.count(EndCounter::frame_received) == world.count(EndCounter::frame_data) +
                                                         world.count(EndCounter::frame_unknown_path) +
                                                         world.count(EndCounter::frame_ping));
}

void take(World& world, const uint8_t* data, size_t size) {
  const auto* to = reinterpret_cast<const sockaddr*>(&world.end.local().address);
  if (sendto(world.relay.get(), data, size, 0, to, world.end.local().length) != static_cast<ssize_t>(size)) return;
  const double before = world.count(EndCounter::trunk_received);
  const unsigned places = world.end.receive(world.batch.get(), 0, world.places.get());
  PROMISE(world.count(EndCounter::trunk_received) == before + 1);
  uint32_t at = 0;
  for (unsigned i = 0; i < places; i++) {
    const auto& [relay_port, path, payload, end] = world.places[i];
    PROMISE(path == at && payload > path && end >= payload && end <= TrunkEnd::kBatchBytes);
    Path read;
    PROMISE(read_path(world.batch.get() + path, payload - path, read) == payload - path);
    at = end;
  }
  check_accounting(world);
}

// With a right tag, as from a relay that errs.
void take_sealed(World& world, const uint8_t* data, size_t size) {
  static uint64_t sequence = 0;
  const size_t length = std::min(size, TrunkEnd::kDatagramBytes);
  std::vector<uint8_t> bytes(kTrunkHeaderBytes + length + kTrunkTagBytes);
  const uint8_t first = size == 0 ? 0 : data[0];
  write_trunk_header({.direction = Direction::up,
                      .key_id = 0,
                      .cluster = kCluster,
                      .sender_id = static_cast<uint32_t>(first & 3),
                      .target_id = kId,
                      .target_epoch = (first & 4) != 0 ? 0u : static_cast<uint32_t>(kEpoch),
                      .sender_epoch = 1 + sequence / 1000,
                      .sequence = ++sequence},
                     bytes.data());
  if (length != 0) std::memcpy(bytes.data() + kTrunkHeaderBytes, data, length);
  seal_trunk(bytes.data(), kTrunkHeaderBytes + length, keys().entries[0].trunk_up);
  take(world, bytes.data(), bytes.size());
}

void send(World& world, const uint8_t* data, size_t size) {
  const double before = world.count(EndCounter::frame_sent) + world.count(EndCounter::frame_unsendable);
  const bool whole = world.end.send(data, size);
  const double after = world.count(EndCounter::frame_sent) + world.count(EndCounter::frame_unsendable);
  PROMISE(size == 0 || !whole || after > before);
  PROMISE(after - before <= static_cast<double>(size / (sizeof(uint32_t) + kFrameHeaderBytes)));
  uint8_t answer[TrunkEnd::kDatagramBytes];
  for (ssize_t got; (got = recv(world.relay.get(), answer, sizeof answer, MSG_DONTWAIT)) >= 0;) {
    TrunkHeader header;
    PROMISE(read_trunk_header(answer, static_cast<size_t>(got), header) && header.direction == Direction::down);
    PROMISE(trunk_tag_matches(answer, static_cast<size_t>(got), keys().entries[0].trunk_down));
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  take(world, data, size);
  take_sealed(world, data, size);
  send(world, data, size);
  return 0;
}
