#include "flow_table.h"

#include <cstring>
#include <set>

#include "check.h"

using namespace earshot;

namespace {

constexpr Tick kSecond = ticks_of_ms(1024);

struct Fixture {
  explicit Fixture(uint32_t capacity = 1000, uint32_t quota = 1000) : flows({capacity, quota}, directory, quiescence) {
    a = add(1);
    b = add(2);
    c = add(3);
  }
  Slot add(uint32_t id) { return directory.add(id, 1000 + id, sockaddr_in6{}, sizeof(sockaddr_in), quiescence); }
  static Path path(uint32_t n) {
    Path out;
    out.family = 4;
    out.ingress = 1;
    out.port = static_cast<uint16_t>(n);
    std::memcpy(out.address, &n, 4);
    return out;
  }
  Flow* find(const Path& p) { return flows.find(p, flows.hash_path(p)); }
  void assure(const Path& p, Tick now = 0) { flows.assure(find(p), flows.hash_path(p), now); }
  AdmitResult admit(const Path& p, Slot slot, uint64_t ufrag, Tick now = 0) { return flows.admit(p, slot, ufrag, now); }
  uint32_t expire_all(Tick now) {
    uint32_t removed = 0;
    for (int i = 0; i < 60; i++) removed += flows.expire(now);
    return removed;
  }

  Quiescence quiescence{2};
  Directory directory;
  FlowTable flows;
  Slot a, b, c;
};

}  // namespace

TEST("a flow is tentative until it is assured, and the counts follow") {
  Fixture f;
  const Path p = Fixture::path(7);
  CHECK(f.find(p) == nullptr);
  CHECK(f.admit(p, f.a, 11) == AdmitResult::installed);
  CHECK(!f.find(p)->assured());
  CHECK(f.find(p)->owner_holds(11));
  CHECK_EQUAL(f.flows.counts().tentative, 1u);
  f.assure(p);
  f.assure(p);
  CHECK(f.find(p)->assured());
  CHECK_EQUAL(f.flows.counts().tentative, 0u);
  CHECK_EQUAL(f.flows.counts().flows, 1u);
}

TEST("an owner keeps its newest two ufrags, and stays assured") {
  Fixture f;
  const Path p = Fixture::path(7);
  f.admit(p, f.a, 11);
  f.assure(p);
  CHECK(f.admit(p, f.a, 12) == AdmitResult::joined);
  CHECK(f.find(p)->owner_holds(11) && f.find(p)->owner_holds(12) && f.find(p)->assured());
  CHECK(f.admit(p, f.a, 11) == AdmitResult::joined);
  CHECK(f.admit(p, f.a, 13) == AdmitResult::joined);
  CHECK(f.find(p)->owner_holds(11) && !f.find(p)->owner_holds(12) && f.find(p)->owner_holds(13));
}

TEST("an assured owner is not displaced: another transceiver's session is pending until it is promoted") {
  Fixture f;
  const Path p = Fixture::path(7);
  f.admit(p, f.a, 11);
  f.assure(p);
  CHECK(f.admit(p, f.b, 21) == AdmitResult::pending);
  CHECK(f.admit(p, f.b, 22) == AdmitResult::joined);
  CHECK(f.find(p)->owner == f.a && f.find(p)->pending_holds(21) && f.find(p)->pending_holds(22));
  CHECK(!f.flows.promote(p, f.a, 21, 0));
  CHECK(!f.flows.promote(p, f.b, 11, 0));
  CHECK(f.flows.promote(p, f.b, 21, 0));
  CHECK(f.find(p)->owner == f.b && f.find(p)->assured() && f.find(p)->pending == kNoSlot);
  CHECK(f.admit(p, f.c, 31) == AdmitResult::pending);
  CHECK(f.admit(p, f.a, 11) == AdmitResult::pending);
  CHECK(f.find(p)->pending == f.a);
}

TEST("a tentative owner, and one that has left the directory, give way") {
  Fixture f;
  const Path p = Fixture::path(7);
  f.admit(p, f.a, 11);
  CHECK(f.admit(p, f.b, 21) == AdmitResult::installed);
  CHECK(f.find(p)->owner == f.b);
  f.assure(p);
  f.directory.retire(f.b);
  CHECK(f.admit(p, f.c, 31) == AdmitResult::installed);
  CHECK(f.find(p)->owner == f.c && !f.find(p)->assured());
  CHECK_EQUAL(f.flows.counts().tentative, 1u);
  CHECK_EQUAL(f.flows.counts().flows, 1u);
}

TEST("a claim ends with its last ufrag, a flow with its owner, unless a session is pending") {
  Fixture f;
  const Path p = Fixture::path(7);
  f.admit(p, f.a, 11);
  f.admit(p, f.a, 12);
  f.assure(p);
  CHECK(!f.flows.end(p, f.b, 11, 0));
  CHECK(f.flows.end(p, f.a, 11, 0));
  CHECK(f.find(p)->assured() && !f.find(p)->owner_holds(11));
  f.admit(p, f.b, 21);
  CHECK(f.flows.end(p, f.a, 12, 0));
  CHECK(f.find(p)->owner == f.b && !f.find(p)->assured());
  CHECK(f.flows.end(p, f.b, 21, 0));
  CHECK(f.find(p) == nullptr);
  CHECK_EQUAL(f.flows.counts().flows, 0u);
  CHECK_EQUAL(f.flows.counts().tentative, 0u);
}

TEST("tentative flows have a quota and five seconds, assured ones sixty since the last downlink") {
  Fixture f(1000, 10);
  for (uint32_t i = 1; i <= 10; i++) CHECK(f.admit(Fixture::path(i), f.a, i) == AdmitResult::installed);
  CHECK(f.admit(Fixture::path(11), f.a, 11) == AdmitResult::quota);
  f.assure(Fixture::path(1));
  CHECK(f.admit(Fixture::path(11), f.a, 11) == AdmitResult::installed);
  CHECK_EQUAL(f.expire_all(4 * kSecond), 0u);
  CHECK_EQUAL(f.expire_all(6 * kSecond), 10u);
  CHECK_EQUAL(f.flows.counts().tentative, 0u);
  f.flows.seen(f.find(Fixture::path(1)), 50 * kSecond);
  CHECK_EQUAL(f.expire_all(100 * kSecond), 0u);
  CHECK_EQUAL(f.expire_all(112 * kSecond), 1u);
  CHECK_EQUAL(f.flows.counts().flows, 0u);
}

TEST("downlink does not keep a tentative flow alive") {
  Fixture f;
  f.admit(Fixture::path(1), f.a, 1);
  f.flows.seen(f.find(Fixture::path(1)), 4 * kSecond);
  CHECK_EQUAL(f.expire_all(6 * kSecond), 1u);
}

TEST("how long a flow has been idle: since its owner was seen, or since it was made") {
  Fixture f;
  const Path p = Fixture::path(1);
  f.admit(p, f.a, 1, 10);
  CHECK_EQUAL(FlowTable::idle_ms(*f.find(p), 12), 512u);
  f.flows.seen(f.find(p), 12);
  CHECK_EQUAL(FlowTable::idle_ms(*f.find(p), 14), 1024u);
  f.assure(p, 14);
  CHECK_EQUAL(FlowTable::idle_ms(*f.find(p), 14), 0u);
  f.flows.seen(f.find(p), 14 + kSecond);
  CHECK_EQUAL(FlowTable::idle_ms(*f.find(p), 16 + kSecond), 512u);
}

TEST("a flow that a worker saw a tick after the scan had read the clock is not taken for one of years ago") {
  Fixture f;
  const Path p = Fixture::path(1);
  f.admit(p, f.a, 1, 10);
  f.assure(p, 11);
  CHECK_EQUAL(FlowTable::idle_ms(*f.find(p), 10), 0u);
  CHECK_EQUAL(f.expire_all(10), 0u);
  CHECK(f.find(p) != nullptr);
}

TEST(
    "a pending session whose transceiver is gone is forgotten, and lets go of its directory slot, while the owner "
    "lives") {
  Fixture f;
  const Path p = Fixture::path(7);
  f.admit(p, f.a, 11);
  f.assure(p);
  CHECK(f.admit(p, f.b, 21) == AdmitResult::pending);
  f.expire_all(0);
  CHECK(f.find(p)->pending == f.b);  // a live one stays
  f.directory.retire(f.b);
  CHECK_EQUAL(f.expire_all(0), 0u);
  CHECK(f.find(p)->owner == f.a && f.find(p)->owner_holds(11) && f.find(p)->assured());
  CHECK(f.find(p)->pending == kNoSlot);
  CHECK_EQUAL(f.flows.counts().flows, 1u);
  while (f.add(9) != kNoSlot) continue;  // until every slot is taken, its own among them
  f.directory.retire(f.c);
  CHECK(f.add(10) == f.c);
  CHECK(f.directory.live(f.b) != nullptr);
}

TEST("a full table refuses, and takes flows again after an end") {
  Fixture f(500, 500);
  for (uint32_t i = 1; i <= 500; i++) CHECK(f.admit(Fixture::path(i), f.a, i) == AdmitResult::installed);
  CHECK(f.admit(Fixture::path(501), f.a, 501) != AdmitResult::installed);
  for (uint32_t i = 1; i <= 500; i++) CHECK(f.find(Fixture::path(i)) != nullptr);
  CHECK(f.admit(Fixture::path(4), f.a, 1004) == AdmitResult::joined);  // a change of a flow needs no room
  f.assure(Fixture::path(5));
  CHECK(f.admit(Fixture::path(5), f.b, 5) == AdmitResult::pending);
  CHECK(f.flows.promote(Fixture::path(5), f.b, 5, 0));
  CHECK(f.flows.end(Fixture::path(3), f.a, 3, 0));
  CHECK(f.admit(Fixture::path(501), f.a, 501) == AdmitResult::installed);
  CHECK(f.find(Fixture::path(3)) == nullptr);
}

TEST("a removed entry is not reused while a worker is inside the batch in which it may have found it") {
  Fixture f(1, 2);
  f.quiescence.begin(0);
  f.admit(Fixture::path(1), f.a, 1);
  Flow* held = f.find(Fixture::path(1));
  CHECK(f.flows.end(Fixture::path(1), f.a, 1, 0));
  uint32_t made = 1;
  while (f.admit(Fixture::path(++made), f.a, 2) == AdmitResult::installed) {
    CHECK(f.flows.end(Fixture::path(made), f.a, 2, 0));
  }
  CHECK_EQUAL(made, kSpareFlows + 2);  // all entries are waiting for the worker
  CHECK(held->path == Fixture::path(1));
  f.quiescence.end(0);
  CHECK(f.admit(Fixture::path(2), f.a, 2) == AdmitResult::installed);
}

TEST("a directory slot is reused only when no flow names it") {
  Fixture f;
  std::set<Slot> slots;
  for (uint32_t i = 0; i < kMaxTransceivers - 3; i++) slots.insert(f.add(100 + i));
  CHECK_EQUAL(f.add(99), kNoSlot);
  f.admit(Fixture::path(1), f.a, 1);
  f.directory.retire(f.a);
  CHECK_EQUAL(f.add(99), kNoSlot);
  CHECK_EQUAL(f.expire_all(10 * kSecond), 1u);
  CHECK_EQUAL(f.add(99), f.a);
}

TEST("memory per flow, indexes included, is below 192 bytes") {
  for (uint32_t capacity : {10'000u, 65'536u, 1'000'000u}) {
    Fixture f(capacity, 1);
    CHECK(f.flows.bytes() / capacity < 128);
  }
}

TEST("a restored flow is assured at once, whatever the tentative quota, and is found as any other") {
  Fixture f(4, 1);
  CHECK(f.admit(Fixture::path(1), f.a, 11) == AdmitResult::installed);
  CHECK(f.admit(Fixture::path(2), f.a, 12) == AdmitResult::quota);
  CHECK(f.flows.restore(Fixture::path(2), {f.a, {12, 13}}, 0) == RestoreResult::installed);
  CHECK(f.flows.restore(Fixture::path(3), {f.b, {21, 0}}, 0) == RestoreResult::installed);
  const Flow* flow = f.find(Fixture::path(2));
  CHECK(flow->assured() && flow->owner == f.a && flow->owner_holds(12) && flow->owner_holds(13));
  CHECK_EQUAL(f.flows.counts().tentative, 1u);
  CHECK_EQUAL(f.flows.counts().flows, 3u);
  CHECK(f.flows.restore(Fixture::path(4), {f.b, {22, 0}}, 0) == RestoreResult::installed);
  CHECK(f.flows.restore(Fixture::path(5), {f.b, {23, 0}}, 0) == RestoreResult::table_full);
}

TEST("restoring what is there already adds only what is missing, and makes a tentative flow assured") {
  Fixture f;
  const Path p = Fixture::path(7);
  f.admit(p, f.a, 11);
  CHECK(f.flows.restore(p, {f.a, {11, 0}}, 0) == RestoreResult::joined);
  CHECK(f.find(p)->assured());
  CHECK_EQUAL(f.flows.counts().tentative, 0u);
  CHECK(f.flows.restore(p, {f.a, {12, 11}}, 0) == RestoreResult::joined);
  CHECK(f.find(p)->owner_holds(11) && f.find(p)->owner_holds(12));
  CHECK(f.flows.restore(p, {f.a, {14, 13}}, 0) == RestoreResult::joined);
  CHECK(f.find(p)->owner_holds(11) && f.find(p)->owner_holds(12));
  CHECK_EQUAL(f.flows.counts().flows, 1u);
}

TEST("restoring displaces nobody who is assured and live") {
  Fixture f;
  const Path p = Fixture::path(7);
  f.admit(p, f.a, 11);
  f.assure(p);
  CHECK(f.flows.restore(p, {f.b, {21, 0}}, 0) == RestoreResult::kept);
  CHECK(f.find(p)->owner == f.a && f.find(p)->pending == kNoSlot);
  f.admit(p, f.b, 22);
  CHECK(f.flows.restore(p, {f.b, {21, 0}}, 0) == RestoreResult::kept);
  CHECK(f.find(p)->owner == f.a && f.find(p)->pending == f.b);
  // With the owner gone, the pending session is the one that is restored.
  f.directory.retire(f.a);
  CHECK(f.flows.restore(p, {f.b, {21, 0}}, 0) == RestoreResult::installed);
  CHECK(f.find(p)->owner == f.b && f.find(p)->owner_holds(21) && f.find(p)->owner_holds(22));
  CHECK(f.find(p)->assured() && f.find(p)->pending == kNoSlot);
  CHECK_EQUAL(f.flows.counts().tentative, 0u);
}

TEST("a session that asked before the owner was restored goes on beside it") {
  Fixture f;
  const Path p = Fixture::path(7);
  f.admit(p, f.b, 21);
  CHECK(f.flows.restore(p, {f.a, {11, 0}}, 0) == RestoreResult::installed);
  CHECK(f.find(p)->owner == f.a && f.find(p)->assured());
  CHECK(f.find(p)->pending == f.b && f.find(p)->pending_holds(21));
  CHECK_EQUAL(f.flows.counts().tentative, 0u);
  CHECK_EQUAL(f.flows.counts().flows, 1u);
}
