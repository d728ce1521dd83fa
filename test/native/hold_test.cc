// What a worker holds of paths that it does not know: bounds, order, and who is asked about again.
#include "hold.h"

#include <vector>

#include "loopback.h"
#include "random.h"

using namespace loopback;

namespace {

Path path_of(uint32_t n) {
  Path path;
  path.family = 4;
  path.ingress = kIngress;
  path.port = 5000;
  write_u32(path.address, n);
  return path;
}
// As spread as a keyed hash is.
uint64_t hash_of(uint32_t n) {
  uint8_t bytes[4];
  write_u32(bytes, n);
  return siphash24({1, 2}, bytes, sizeof bytes);
}

struct Fixture {
  Hold hold;
  uint64_t now_ms = 1'000'000;

  Hold::Put put(uint32_t n, uint8_t mark = 0, bool may_ask = true) {
    return hold.put(path_of(n), hash_of(n), &mark, 1, now_ms, now_ms + 1000, may_ask);
  }
  // The marks of what was held, in order.
  std::vector<uint8_t> settle(uint32_t n) {
    std::vector<uint8_t> marks;
    hold.settle(path_of(n), hash_of(n), now_ms,
                [&](const Path&, uint64_t, const Hold::Held& held) { marks.push_back(held.bytes[0]); });
    return marks;
  }
  // As many paths as one may ask about in a while, for as long as it takes, from path `first` on: how many were held.
  unsigned flood(uint32_t first, unsigned paths) {
    unsigned held = 0;
    for (uint32_t n = 0; n < paths; n++) {
      if (n % kHoldAsks == 0) now_ms += kHoldAsksMs;
      held += put(first + n) == Hold::Put::held_first;
    }
    return held;
  }
};

}  // namespace

TEST("a path is asked about once, holds so many, and gives them back in order") {
  Fixture fixture;
  CHECK(fixture.hold.empty());
  std::vector<uint8_t> expected;
  for (uint8_t i = 0; i < kHeldPerPath; i++) {
    CHECK(fixture.put(1, i) == (i == 0 ? Hold::Put::held_first : Hold::Put::held));
    CHECK(fixture.put(2, 100) == (i == 0 ? Hold::Put::held_first : Hold::Put::held));
    expected.push_back(i);
  }
  CHECK(fixture.put(1, 99) == Hold::Put::full);
  CHECK(fixture.settle(1) == expected);
  CHECK(fixture.settle(1).empty());
  CHECK(fixture.settle(3).empty());
  CHECK(!fixture.hold.empty());
  CHECK_EQUAL(fixture.settle(2).size(), static_cast<size_t>(kHeldPerPath));
  CHECK(fixture.hold.empty());
}

TEST("a path that was settled is not held again for a while") {
  Fixture fixture;
  fixture.put(1, 1);
  fixture.settle(1);
  CHECK(fixture.put(1, 2) == Hold::Put::settled_lately);
  fixture.now_ms += kHoldAgainMs - 1;
  CHECK(fixture.put(1, 2) == Hold::Put::settled_lately);
  fixture.now_ms += 1;
  CHECK(fixture.put(1, 3) == Hold::Put::held_first);
  CHECK(fixture.settle(1) == std::vector<uint8_t>{3});
}

TEST("so many paths are asked about at a time, and none while nobody can be asked") {
  Fixture fixture;
  CHECK(fixture.put(0, 0, false) == Hold::Put::full);
  unsigned held = 0;
  for (uint32_t n = 0; n < 2 * kHoldAsks; n++) held += fixture.put(n) == Hold::Put::held_first;
  CHECK_EQUAL(held, kHoldAsks);
  CHECK(fixture.put(1, 0, false) == Hold::Put::held);
  fixture.now_ms += kHoldAsksMs;
  CHECK(fixture.put(kHoldAsks) == Hold::Put::held_first);
}

TEST("so many paths are held at once, and settled ones make room for others") {
  Fixture fixture;
  for (uint32_t round = 0; round < 4; round++) {
    const unsigned held = fixture.flood(round * 10'000, 3 * kHeldPaths / 4);
    CHECK(held > kHeldPaths / 2 && held <= kHeldPaths);
    unsigned released = 0;
    fixture.hold.settle_all([&](const Path&, uint64_t, const Hold::Held&) { released++; });
    CHECK_EQUAL(released, held);
    CHECK(fixture.hold.empty());
    fixture.now_ms += kHoldAsksMs;
    CHECK(fixture.put(round * 10'000) == Hold::Put::held_first);
    CHECK_EQUAL(fixture.settle(round * 10'000).size(), 1u);
  }
}

TEST("datagrams of any size come out as they went in, and all of the room can be used, again and again") {
  Fixture fixture;
  Random random(1);
  std::vector<uint8_t> bytes(kBufferBytes);
  for (auto& each : bytes) each = static_cast<uint8_t>(random.below(256));
  for (uint32_t round = 0; round < 20; round++) {
    size_t chunks = 0;
    std::vector<std::vector<size_t>> held;
    for (uint32_t n = 0;; n++) {
      if (n % kHoldAsks == 0) fixture.now_ms += kHoldAsksMs;
      held.emplace_back();
      while (held.back().size() < kHeldPerPath) {
        const size_t length = 1 + random.below(kBufferBytes);
        const auto put = fixture.hold.put(path_of(n), hash_of(n), bytes.data() + (kBufferBytes - length), length,
                                          fixture.now_ms, 0, true);
        const size_t more = (length + kHeldChunkBytes - 1) / kHeldChunkBytes;
        CHECK((put == Hold::Put::full) == (chunks + more > kHeldChunks));
        if (put == Hold::Put::full) break;
        chunks += more;
        held.back().push_back(length);
      }
      if (held.back().size() < kHeldPerPath) break;
    }
    for (uint32_t n = 0; n < held.size(); n++) {
      size_t at = 0;
      fixture.hold.settle(path_of(n), hash_of(n), fixture.now_ms, [&](const Path&, uint64_t, const Hold::Held& got) {
        CHECK_EQUAL(got.length, held[n][at]);
        CHECK(std::memcmp(got.bytes, bytes.data() + (kBufferBytes - got.length), got.length) == 0);
        at++;
      });
      CHECK_EQUAL(at, held[n].size());
    }
    CHECK(fixture.hold.empty());
    fixture.now_ms += kHoldAgainMs;
  }
}

TEST("a worker holds, asks once, forwards in order what has a flow by then, and drops by name what has not") {
  Engine engine(
      options(1), [](void*) {}, nullptr);
  engine.set_keys(keys());
  engine.hold(60'000);
  CHECK_EQUAL(engine.start().error, 0);
  const Endpoint ingress = engine.ingresses()[0].endpoint;
  Peer client, stranger, transceiver;
  const Slot slot = engine.add_transceiver(7, 99, transceiver.local);
  for (uint8_t i = 0; i < 3; i++) {
    const uint8_t rtp[] = {0x80, 111, 0, i};
    client.send(ingress, rtp, sizeof rtp);
    stranger.send(ingress, rtp, sizeof rtp);
  }
  CHECK(eventually([&] { return total(engine, Counter::up_held) == 6; }));
  const uint8_t ufrags[1][32] = {{'u'}};
  CHECK(engine.restore(client.path(), slot, ufrags, 1) == RestoreResult::installed);
  unsigned worker = 0, asked = 0;
  for (; const Path* path = engine.front_ask(worker); engine.pop_ask(worker)) {
    CHECK(engine.settle(worker, *path, HoldVerdict::unknown));
    asked++;
  }
  CHECK(engine.front(worker) == nullptr);
  CHECK_EQUAL(asked, 2u);
  CHECK(eventually([&] { return total(engine, Counter::up_released) == 6; }));
  CHECK(eventually([&] { return total(engine, Counter::up_forwarded) == 3; }));
  CHECK_EQUAL(total(engine, Counter::up_drop_hold_unknown), 3u);
  uint8_t next = 0;
  while (next < 3) {
    uint8_t got[2048];
    const size_t length = transceiver.receive(got, sizeof got, 30'000);
    CHECK(length > 0);
    if (length == 0) break;
    FrameReader reader(got + kTrunkHeaderBytes, got + length - kTrunkTagBytes, Direction::up);
    for (Frame frame; reader.next(frame);) CHECK_EQUAL(frame.payload[3], next++);
  }
  check_accounting(engine);
}

TEST("what workers hold when they stop, or when holding ends, is counted as that") {
  Engine engine(
      options(2), [](void*) {}, nullptr);
  engine.set_keys(keys());
  engine.hold(60'000);
  CHECK_EQUAL(engine.start().error, 0);
  const uint8_t rtp[] = {0x80, 111, 0, 1};
  const auto over_after = [&](const std::function<void()>& change) {
    const uint64_t held = total(engine, Counter::up_held), over = total(engine, Counter::up_drop_hold_over);
    Peer client;
    client.send(engine.ingresses()[0].endpoint, rtp, sizeof rtp);
    CHECK(eventually([&] { return total(engine, Counter::up_held) == held + 1; }));
    change();
    CHECK(eventually([&] { return total(engine, Counter::up_drop_hold_over) == over + 1; }));
    check_accounting(engine);
  };
  over_after([&] { CHECK_EQUAL(engine.set_workers(1, {}).error, 0); });
  over_after([&] { engine.hold(0); });
  Peer client;
  client.send(engine.ingresses()[0].endpoint, rtp, sizeof rtp);
  CHECK(eventually([&] { return total(engine, Counter::up_drop_no_flow) == 1; }));
  engine.hold(60'000);
  over_after([&] { engine.stop(); });
}
