// The engine end to end over loopback, without Node. Under churn it is tested in engine_churn_test.cc.
#include "engine.h"

#include <sched.h>

#include <atomic>

#include "loopback.h"

using namespace loopback;

TEST("a packet goes up as a frame, and an answer comes down from the port that the client aimed at") {
  std::atomic<int> rings{0};
  Engine engine(
      options(2), [](void* n) { ++*static_cast<std::atomic<int>*>(n); }, &rings);
  engine.set_keys(keys());
  CHECK_EQUAL(engine.start().error, 0);
  const Endpoint ingress = engine.ingresses()[0].endpoint;
  Peer client, transceiver;
  const Slot slot = engine.add_transceiver(7, 99, transceiver.local);
  const Path path = client.path();
  const uint8_t ufrag[33] = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

  const uint8_t rtp[] = {0x80, 111, 0, 1};
  client.send(ingress, rtp, sizeof rtp);
  CHECK(within_two_seconds([&] { return total(engine, Counter::up_drop_no_flow) == 1; }));
  CHECK(engine.admit(path, slot, ufrag) == AdmitResult::installed);
  client.send(ingress, rtp, sizeof rtp);
  CHECK(within_two_seconds([&] { return total(engine, Counter::up_drop_tentative) == 1; }));

  const auto success = binding(0x0101);
  const auto answer = down(7, 99, kRelayId << 8 | 1, 1, {{FrameKind::data, path, success}});
  const Endpoint trunk = endpoint(engine.trunk_ports()[0]);
  transceiver.send(trunk, answer.data(), answer.size());
  uint8_t got[2048];
  CHECK_EQUAL(client.receive(got, sizeof got), success.size());
  transceiver.send(trunk, answer.data(), answer.size());
  CHECK(within_two_seconds([&] { return total(engine, Counter::down_drop_replay) == 1; }));

  client.send(ingress, rtp, sizeof rtp);
  const size_t length = transceiver.receive(got, sizeof got);
  TrunkHeader header;
  CHECK(read_trunk_header(got, length, header));
  CHECK(trunk_tag_matches(got, length, keys().entries[0].trunk_up));
  FrameReader reader(got + kTrunkHeaderBytes, got + length - kTrunkTagBytes, Direction::up);
  Frame frame;
  CHECK(reader.next(frame));
  CHECK(frame.path == path);
  CHECK(frame.length == sizeof rtp && std::memcmp(frame.payload, rtp, sizeof rtp) == 0);
  CHECK(within_two_seconds([&] { return total(engine, Counter::up_forwarded) == 1; }));
  CHECK_EQUAL(total(engine, Counter::up_received), 3u);
  CHECK_EQUAL(rings.load(), 0);
  engine.stop();
  CHECK_EQUAL(total(engine, Counter::up_received), 3u);
  check_accounting(engine);
}

TEST("a port that is served already is refused, although SO_REUSEPORT would allow it") {
  Engine first(
      options(1), [](void*) {}, nullptr);
  first.set_keys(keys());
  CHECK_EQUAL(first.start().error, 0);
  EngineOptions same = options(1);
  same.ingresses[0].endpoint = first.ingresses()[0].endpoint;
  Engine second(
      same, [](void*) {}, nullptr);
  second.set_keys(keys());
  CHECK_EQUAL(second.start().error, EADDRINUSE);
  CHECK(!second.running());
}

TEST("a worker that cannot be pinned is warned of, and forwards all the same") {
  EngineOptions pinned = options(1);
  pinned.cpus = {CPU_SETSIZE - 1};
  Engine engine(
      pinned, [](void*) {}, nullptr);
  engine.set_keys(keys());
  CHECK_EQUAL(engine.start().error, 0);
  CHECK_EQUAL(engine.warnings().size(), 1u);
  CHECK(engine.warnings()[0].starts_with("worker 1 is not pinned to CPU 1023, which this process may not use: "));
  Peer client;
  const uint8_t rtp[] = {0x80, 111, 0, 1};
  client.send(engine.ingresses()[0].endpoint, rtp, sizeof rtp);
  CHECK(within_two_seconds([&] { return total(engine, Counter::up_drop_no_flow) == 1; }));
}

TEST("a worker may be pinned to a CPU that the process that starts it is not bound to") {
  cpu_set_t before;
  CHECK_EQUAL(sched_getaffinity(0, sizeof before, &before), 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (CPU_ISSET(static_cast<size_t>(cpu), &before)) cpus.push_back(cpu);
  }
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(static_cast<size_t>(cpus.front()), &first);
  CHECK_EQUAL(sched_setaffinity(0, sizeof first, &first), 0);
  EngineOptions pinned = options(1);
  pinned.cpus = {cpus.back()};
  Engine engine(
      pinned, [](void*) {}, nullptr);
  engine.set_keys(keys());
  CHECK_EQUAL(engine.start().error, 0);
  CHECK_EQUAL(engine.warnings().size(), 0u);
  CHECK_EQUAL(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST("what the kernel granted of the receive buffers can be read") {
  Engine engine(
      options(1, 2), [](void*) {}, nullptr);
  engine.set_keys(keys());
  CHECK_EQUAL(engine.granted_buffers().least_public, 0);
  CHECK_EQUAL(engine.start().error, 0);
  CHECK_EQUAL(engine.granted_buffers().least_public, options(1).receive_buffer_bytes);
  CHECK_EQUAL(engine.granted_buffers().least_trunk, options(1).receive_buffer_bytes);
}
