// Lanes without workers: opened, adopted, refused. With workers on them they are tested in engine_churn_test.cc.
#include "lanes.h"

#include <unistd.h>

#include "loopback.h"

using namespace loopback;

namespace {

constexpr int kReceiveBuffer = 1 << 20;

LaneOptions lane_options(unsigned lanes) { return {{{kIngress, endpoint()}}, endpoint(), lanes, kReceiveBuffer}; }

std::vector<LaneDescriptors> descriptors_of(const Lanes& lanes) {
  std::vector<LaneDescriptors> out;
  for (const LaneSockets& lane : lanes.lanes) out.push_back({{lane.publics[0].get()}, lane.trunk.get()});
  return out;
}

// Of the first lane's trunk: the sequence of the frame that a request of this client's becomes.
uint64_t sequence_of_request(Engine& engine, const Peer& client, const Peer& transceiver) {
  const uint8_t indication[] = {0x00, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  client.send(engine.ingresses()[0].endpoint, indication, sizeof indication);
  uint8_t got[2048];
  TrunkHeader header;
  const size_t length = transceiver.receive(got, sizeof got);
  return read_trunk_header(got, length, header) ? header.sequence : 0;
}

}  // namespace

TEST("all lanes share the ingress's port, and each has a trunk port of its own") {
  Lanes lanes;
  CHECK_EQUAL(open_lanes(lane_options(3), lanes).error, 0);
  CHECK_EQUAL(lanes.lanes.size(), 3u);
  CHECK(lanes.ingresses[0].endpoint.port() != 0);
  for (const LaneSockets& lane : lanes.lanes) {
    Endpoint local;
    CHECK_EQUAL(lane.publics.size(), 1u);
    CHECK_EQUAL(local_endpoint(lane.publics[0].get(), local), 0);
    CHECK_EQUAL(local.port(), lanes.ingresses[0].endpoint.port());
    CHECK_EQUAL(local_endpoint(lane.trunk.get(), local), 0);
    CHECK_EQUAL(local.port(), lane.trunk_port);
  }
  CHECK(lanes.lanes[0].trunk_port != lanes.lanes[1].trunk_port);
}

TEST("lanes outlive the engines that adopt them, with what is queued, with their drops, and with growing sequences") {
  Lanes lanes;
  CHECK_EQUAL(open_lanes(lane_options(2), lanes).error, 0);
  EngineOptions adopting = options(2);
  adopting.ingresses = lanes.ingresses;
  adopting.adopted = descriptors_of(lanes);
  Peer client, transceiver;
  const uint8_t ufrag[33] = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";
  const uint8_t rtp[] = {0x80, 111, 0, 1};
  uint64_t sequence = 0, drops = 0;
  for (int life = 0; life < 3; life++) {
    Engine engine(
        adopting, [](void*) {}, nullptr);
    engine.set_keys(keys());
    CHECK_EQUAL(engine.start().error, 0);
    CHECK_EQUAL(engine.ingresses()[0].endpoint.port(), lanes.ingresses[0].endpoint.port());
    CHECK_EQUAL(engine.trunk_ports()[1], lanes.lanes[1].trunk_port);
    const uint64_t queued = life == 0 ? 0 : 1;
    CHECK(within_two_seconds([&] { return total(engine, Counter::up_drop_no_flow) == queued; }));
    engine.admit(client.path(), engine.add_transceiver(7, 99, transceiver.local), ufrag);
    const uint64_t next = sequence_of_request(engine, client, transceiver);
    CHECK(next > sequence);
    sequence = next;
    engine.stop();
    CHECK(engine.public_kernel_drops() >= drops);
    // Between two engines the kernel takes what comes, and drops what is more than it can.
    client.send(lanes.ingresses[0].endpoint, rtp, sizeof rtp);
    if (life == 1) {
      for (int i = 0; i < 20'000; i++) client.send(lanes.ingresses[0].endpoint, rtp, sizeof rtp);
      for (const LaneSockets& lane : lanes.lanes) drops += kernel_drops(lane.publics[0].get());
      CHECK(drops > 0);
      uint8_t got[16];
      for (const LaneSockets& lane : lanes.lanes) {
        while (recv(lane.publics[0].get(), got, sizeof got, MSG_DONTWAIT) > 0) continue;
      }
      client.send(lanes.ingresses[0].endpoint, rtp, sizeof rtp);
    }
  }
}

TEST("descriptors that are not the lanes that the options describe are refused") {
  Lanes lanes, adopted;
  CHECK_EQUAL(open_lanes(lane_options(2), lanes).error, 0);
  LaneOptions wanted = lane_options(2);
  wanted.ingresses = lanes.ingresses;
  const auto error_of = [&](const LaneOptions& as, const std::vector<LaneDescriptors>& from) {
    return adopt_lanes(as, from, adopted).error;
  };
  const auto descriptors = descriptors_of(lanes);
  CHECK_EQUAL(error_of(wanted, descriptors), 0);

  auto wrong = descriptors;
  wrong.pop_back();
  CHECK_EQUAL(error_of(wanted, wrong), EINVAL);
  wrong = descriptors;
  wrong[1].publics.clear();
  CHECK_EQUAL(error_of(wanted, wrong), EINVAL);
  wrong = descriptors;
  wrong[1].publics[0] = wrong[1].trunk;  // another port than the first lane's
  CHECK_EQUAL(error_of(wanted, wrong), EINVAL);
  wrong = descriptors;
  wrong[0].trunk = 1 << 20;
  CHECK_EQUAL(error_of(wanted, wrong), EINVAL);
  int pipes[2];
  CHECK_EQUAL(pipe(pipes), 0);
  wrong[0].trunk = pipes[0];
  CHECK_EQUAL(error_of(wanted, wrong), EINVAL);
  close(pipes[0]);
  close(pipes[1]);
  Fd unbound(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  wrong[0].trunk = unbound.get();
  CHECK_EQUAL(error_of(wanted, wrong), EINVAL);
  LaneOptions elsewhere = wanted;
  Endpoint::parse("127.0.0.2", 0, elsewhere.trunk);
  CHECK_EQUAL(error_of(elsewhere, descriptors), EINVAL);
}
