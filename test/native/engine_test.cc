// The engine end to end over loopback, without Node; and under churn, for the thread sanitizer.
#include "engine.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>

#include "check.h"
#include "trunk.h"

using namespace earshot;

namespace {

Endpoint loopback(uint16_t port = 0) {
  Endpoint out;
  Endpoint::parse("127.0.0.1", port, out);
  return out;
}

bool within_two_seconds(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; i++) {
    if (condition()) return true;
    usleep(1000);
  }
  return false;
}

struct Peer {
  Peer() { CHECK_EQUAL(open_udp(loopback(), {}, fd, local), 0); }
  void send(const Endpoint& to, const uint8_t* bytes, size_t length) const {
    sendto(fd.get(), bytes, length, 0, reinterpret_cast<const sockaddr*>(&to.address), to.length);
  }
  // 0 when nothing came.
  size_t receive(uint8_t* out, size_t most, int timeout_ms = 2000) const {
    pollfd poll_fd{fd.get(), POLLIN, 0};
    if (poll(&poll_fd, 1, timeout_ms) != 1) return 0;
    const ssize_t got = recv(fd.get(), out, most, MSG_DONTWAIT);
    return got > 0 ? static_cast<size_t>(got) : 0;
  }
  Path path(uint16_t ingress) const { return path_of(local.address, ingress); }
  Fd fd;
  Endpoint local;
};

EngineOptions options(unsigned workers) {
  EngineOptions out;
  out.ingresses.push_back({1, loopback()});
  out.trunk = loopback();
  out.workers = workers;
  out.relay_id = 0xabcdef;
  out.epoch = 1234567;
  out.cluster = 9;
  out.flows = {1000, 1000};
  out.receive_buffer_bytes = 1 << 20;
  return out;
}

KeySet keys() {
  KeySet out;
  out.entries[0].known = true;
  out.entries[0].token_tag = {1, 2};
  out.entries[0].trunk_up = {3, 4};
  out.entries[0].trunk_down = {5, 6};
  return out;
}

const uint8_t kUfrag[33] = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

std::vector<uint8_t> down(uint32_t target, uint64_t sequence, const Path& path, const std::vector<uint8_t>& payload) {
  std::vector<uint8_t> out(2048);
  write_trunk_header({.direction = Direction::down,
                      .key_id = 0,
                      .cluster = 9,
                      .sender_id = 7,
                      .target_id = target,
                      .target_epoch = 1234567,
                      .sender_epoch = 99,
                      .sequence = sequence},
                     out.data());
  size_t at = kTrunkHeaderBytes;
  at += write_frame(FrameKind::data, path, payload.data(), payload.size(), &out[at]);
  seal_trunk(out.data(), at, keys().entries[0].trunk_down);
  out.resize(at + kTrunkTagBytes);
  return out;
}

std::vector<uint8_t> binding(uint16_t type) {
  std::vector<uint8_t> out(20);
  write_u16(out.data(), type);
  write_u32(out.data() + 4, 0x2112a442);
  return out;
}

uint64_t total(const Engine& engine, Counter counter) {
  uint64_t sum = 0;
  for (const auto& worker : engine.counters()) sum += worker[static_cast<unsigned>(counter)];
  return sum;
}

}  // namespace

TEST("a packet goes up as a frame, and an answer comes down from the port that the client aimed at") {
  std::atomic<int> rings{0};
  Engine engine(
      options(2), [](void* n) { ++*static_cast<std::atomic<int>*>(n); }, &rings);
  engine.set_keys(keys());
  CHECK_EQUAL(engine.start().error, 0);
  const Endpoint ingress = engine.ingresses()[0].endpoint;
  Peer client, transceiver;
  const Slot slot = engine.add_transceiver(7, 99, transceiver.local);
  const Path path = client.path(1);

  const uint8_t rtp[] = {0x80, 111, 0, 1};
  client.send(ingress, rtp, sizeof rtp);
  CHECK(within_two_seconds([&] { return total(engine, Counter::up_drop_no_flow) == 1; }));
  CHECK(engine.admit(path, slot, kUfrag) == AdmitResult::installed);
  client.send(ingress, rtp, sizeof rtp);
  CHECK(within_two_seconds([&] { return total(engine, Counter::up_drop_tentative) == 1; }));

  const uint32_t target = 0xabcdef01;
  const auto success = binding(0x0101);
  const auto answer = down(target, 1, path, success);
  Endpoint trunk = loopback(engine.trunk_ports()[0]);
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

TEST("workers forward while the control thread installs, replaces, removes, expires and changes keys") {
  Engine engine(
      options(2), [](void*) {}, nullptr);
  engine.set_keys(keys());
  CHECK_EQUAL(engine.start().error, 0);
  const Endpoint ingress = engine.ingresses()[0].endpoint;
  Peer client, other, transceiver;
  Slot slot = engine.add_transceiver(7, 99, transceiver.local);
  const Slot second = engine.add_transceiver(8, 99, transceiver.local);
  const Path path = client.path(1);

  std::atomic<bool> done{false};
  std::thread traffic([&] {
    const uint8_t rtp[] = {0x80, 111, 0, 1};
    uint64_t sequence = 1;
    uint8_t drain[2048];
    while (!done.load()) {
      for (int i = 0; i < 16; i++) {
        client.send(ingress, rtp, sizeof rtp);
        other.send(ingress, rtp, sizeof rtp);
        const auto request = binding(1);
        client.send(ingress, request.data(), request.size());
      }
      for (unsigned w = 0; w < 2; w++) {
        const auto answer = down(0xabcdef00 | (w + 1), sequence, path, binding(0x0101));
        transceiver.send(loopback(engine.trunk_ports()[w]), answer.data(), answer.size());
      }
      sequence++;
      while (transceiver.receive(drain, sizeof drain, 0) != 0) {
      }
      while (client.receive(drain, sizeof drain, 0) != 0) {
      }
    }
  });
  uint8_t ufrag[32];
  // Until enough has gone through; a bound on the rounds only, because sanitizers are slow.
  for (int i = 0; i < 2'000'000 && (i < 3000 || total(engine, Counter::up_forwarded) < 2000); i++) {
    std::memset(ufrag, 'a' + i % 7, sizeof ufrag);
    engine.admit(path, slot, ufrag);
    engine.admit(path, second, kUfrag);
    if (i % 300 == 0) engine.promote(path, second, kUfrag);
    if (i % 500 == 0) engine.end(path, slot, ufrag);
    if (i % 700 == 0) engine.end(path, second, kUfrag);
    if (i % 50 == 0) engine.set_keys(keys());
    engine.expire();
    engine.answer_doorbell();
    unsigned worker = 0;
    while (const QueueRecord* record = engine.front(worker))
      engine.offer(worker, record->path, record->payload, record->length), engine.pop(worker);
    const auto request = binding(1);
    engine.offer(1, path, request.data(), request.size());
  }
  done = true;
  traffic.join();
  engine.stop();

  uint64_t outcomes = 0;
  for (Counter counter :
       {Counter::up_forwarded, Counter::up_drop_class, Counter::up_drop_stun_malformed, Counter::up_drop_ufrag,
        Counter::up_drop_no_flow, Counter::up_drop_tentative, Counter::up_drop_send, Counter::up_drop_miss_full}) {
    outcomes += total(engine, counter);
  }
  CHECK(total(engine, Counter::up_forwarded) > 0);
  CHECK_EQUAL(total(engine, Counter::up_received) + total(engine, Counter::up_reoffered), outcomes);
}
