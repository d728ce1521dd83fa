// What threads share, each alone and under churn: the flow table, the queue, the doorbell. For the thread sanitizer,
// and for what it cannot see: an entry that is reused too early, a record that is lost, a bell that nobody hears.
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "check.h"
#include "flow_table.h"
#include "queue.h"
#include "random.h"
#include "senders.h"

using namespace earshot;

namespace {

constexpr uint32_t kPaths = 96;
constexpr uint32_t kCapacity = 64;  // less than paths, so that the table is full at times
constexpr uint32_t kQuota = 48;
constexpr uint32_t kTransceivers = 4;
constexpr unsigned kWorkers = 2;
constexpr Tick kSecond = ticks_of_ms(1024);

Path path_number(uint32_t n) {
  Path out;
  out.family = 4;
  out.ingress = 1;
  out.port = static_cast<uint16_t>(n + 1);
  return out;
}

// A ufrag's hash that says whose it is, so that whoever reads it can tell whether it belongs where it stands.
uint64_t ufrag_of(uint32_t path, uint32_t transceiver, uint32_t which) {
  return uint64_t{path + 1} << 32 | transceiver << 8 | (which + 1);
}
bool belongs(uint64_t ufrag, uint32_t path) { return ufrag == 0 || ufrag >> 32 == path + 1; }
bool names(uint64_t ufrag, const TransceiverSlot* entry) {
  return entry == nullptr || (ufrag >> 8 & 0xff) == entry->id;
}

struct Table {
  Quiescence quiescence{kWorkers};
  Directory directory;
  FlowTable flows{{kCapacity, kQuota}, directory, quiescence};
  std::atomic<Tick> now{1};
  std::atomic<bool> done{false};
  std::atomic<uint64_t> found{0};
  std::atomic<uint64_t> wrong{0};

  // As a worker does: what it finds in a batch must stay as it is until the batch ends.
  void work(unsigned worker) {
    Random random(worker + 1);
    struct Held {
      Flow* flow;
      uint32_t path;
    };
    std::vector<Held> held;
    Senders senders;
    while (!done.load()) {
      quiescence.begin(worker);
      senders.follow(directory);
      held.clear();
      for (int i = 0; i < 24; i++) {
        const uint32_t n = random.below(kPaths);
        const Path path = path_number(n);
        const uint64_t hash = flows.hash_path(path);
        flows.prefetch_buckets(hash);
        flows.prefetch_flow(hash);
        Flow* flow = flows.find(path, hash);
        if (flow == nullptr) continue;
        held.push_back({flow, n});
        if (directory.live(flow->owner) == nullptr) continue;
        if (random.chance(20)) flows.assure(flow, hash, now.load());
        if (random.chance(50)) flows.seen(flow, now.load());
      }
      for (const Held& each : held) check(*each.flow, each.path);
      found.fetch_add(held.size());
      quiescence.end(worker);
      if (random.chance(5)) sched_yield();
    }
  }

  void check(const Flow& flow, uint32_t path) {
    const bool right = flow.path == path_number(path) && flow.owner != kNoSlot && belongs(flow.owner_ufrags[0], path) &&
                       belongs(flow.owner_ufrags[1], path) && belongs(flow.pending_ufrags[0], path) &&
                       belongs(flow.pending_ufrags[1], path) &&
                       names(flow.owner_ufrags[0], directory.live(flow.owner)) &&
                       names(flow.pending_ufrags[0], directory.live(flow.pending));
    if (!right) wrong.fetch_add(1);
  }
};

// The control thread: everything that the control plane may ask, in any order.
class Control {
 public:
  explicit Control(Table& table) : table_(table) {
    // So few slots are left that they have to be used again.
    for (uint32_t i = 0; i < kMaxTransceivers - 2 * kTransceivers; i++) idle_.push_back(add(200, i));
    for (uint32_t t = 0; t < kTransceivers; t++) slots_[t] = add(t, ++epoch_);
  }

  void step() {
    const uint32_t n = random_.below(kPaths);
    const uint32_t t = random_.below(kTransceivers);
    const uint64_t ufrag = ufrag_of(n, t, random_.below(3));
    const Path path = path_number(n);
    const Tick now = table_.now.load();
    switch (random_.below(16)) {
      case 0:
      case 1:
        if (table_.flows.promote(path, slots_[t], ufrag, now)) promoted++;
        break;
      case 2:
      case 3:
        if (table_.flows.end(path, slots_[t], ufrag, now)) ended++;
        break;
      case 4:
        expired += table_.flows.expire(now);
        break;
      case 5:
        if (random_.chance(20)) table_.now.store(now + random_.below(4 * kSecond));
        break;
      case 6:
        if (random_.chance(10)) replace(t);
        break;
      case 7:
        if (random_.chance(10)) {
          // No flow names it, so its slot is the next one's at once, while workers may be looking at it.
          Slot& slot = idle_[random_.below(64)];
          table_.directory.retire(slot);
          slot = add(200, ++epoch_ << 16);
        }
        break;
      default:
        results[static_cast<unsigned>(table_.flows.admit(path, slots_[t], ufrag, now))]++;
    }
    const FlowTable::Counts counts = table_.flows.counts();
    if (counts.flows > kCapacity || counts.tentative > counts.flows) table_.wrong.fetch_add(1);
  }

  uint64_t promoted = 0, ended = 0, expired = 0, replaced = 0;
  uint64_t results[5] = {};

 private:
  Slot add(uint32_t id, uint64_t epoch) {
    return table_.directory.add(id, epoch, sockaddr_in6{}, sizeof(sockaddr_in), table_.quiescence);
  }
  void replace(uint32_t t) {
    table_.directory.retire(slots_[t]);
    Slot next = add(t, ++epoch_);
    // Every slot may be named by flows, or by a worker that has lost its CPU within a batch. Time passes: flows of a
    // transceiver that is gone end, as owner and as pending session, whatever the live ones go on sending.
    for (int tries = 0; next == kNoSlot && tries < 20'000; tries++) {
      table_.now.store(table_.now.load() + kSecond);
      expired += table_.flows.expire(table_.now.load());
      usleep(50);
      next = add(t, ++epoch_);
    }
    if (next == kNoSlot) table_.wrong.fetch_add(1);
    slots_[t] = next;
    replaced++;
  }

  Table& table_;
  Random random_{99};
  Slot slots_[kTransceivers] = {};
  std::vector<Slot> idle_;
  uint64_t epoch_ = 0;
};

}  // namespace

TEST("whatever the control thread changes, a worker finds a path's own flow or none, and nothing is lost") {
  Table table;
  Control control(table);
  std::vector<std::thread> workers;
  for (unsigned w = 0; w < kWorkers; w++) workers.emplace_back([&table, w] { table.work(w); });
  const auto everything_came = [&] {
    bool all = control.promoted > 100 && control.ended > 100 && control.expired > 100 && control.replaced > 30;
    for (const uint64_t count : control.results) all = all && count > 0;
    return all && table.found.load() > 20'000;
  };
  for (int i = 0; i < 5'000'000 && (i < 60'000 || !everything_came()); i++) control.step();
  table.done = true;
  for (std::thread& worker : workers) worker.join();
  CHECK(everything_came());
  CHECK_EQUAL(table.wrong.load(), 0u);

  // At the end nothing is left over: no flow, no tentative one, no entry, no reference to a transceiver.
  const Tick later = table.now.load() + 100 * kSecond;
  for (int i = 0; i < 60; i++) table.flows.expire(later);
  CHECK_EQUAL(table.flows.counts().flows, 0u);
  CHECK_EQUAL(table.flows.counts().tentative, 0u);
  uint32_t reused = 0;
  for (Slot slot = 1; slot <= kMaxTransceivers; slot++) table.directory.retire(slot);
  for (unsigned i = 0; i < kMaxTransceivers; i++) {
    if (table.directory.add(1, 1, sockaddr_in6{}, sizeof(sockaddr_in), table.quiescence) != kNoSlot) reused++;
  }
  CHECK_EQUAL(reused, kMaxTransceivers);
  for (uint32_t n = 0; n < kQuota; n++) {
    CHECK(table.flows.admit(path_number(n), 1, 1, later) == AdmitResult::installed);
    const uint64_t hash = table.flows.hash_path(path_number(n));
    table.flows.assure(table.flows.find(path_number(n), hash), hash, later);
  }
  for (uint32_t n = kQuota; n < kCapacity; n++) {
    CHECK(table.flows.admit(path_number(n), 1, 1, later) == AdmitResult::installed);
  }
  CHECK(table.flows.admit(path_number(kCapacity), 1, 1, later) == AdmitResult::table_full);
}

TEST("a queue's records arrive once, whole and in order, and the bell wakes for each that came while it was silent") {
  constexpr uint32_t kRecords = 60'000;
  Queue queue;
  const int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  Doorbell doorbell([](void* fd) { eventfd_write(*static_cast<int*>(fd), 1); }, const_cast<int*>(&wake));
  std::thread producer([&] {
    Random random(5);
    uint8_t payload[512];
    for (uint32_t n = 0; n < kRecords; n++) {
      const size_t length = 4 + n % 500;
      std::memset(payload, static_cast<int>(n & 0xff), length);
      write_u32(payload, n);
      while (!queue.push(static_cast<uint8_t>(n % 7), static_cast<Slot>(n % 1000), path_number(n % 60'000), payload,
                         length)) {
        sched_yield();
      }
      doorbell.ring();
      if (random.below(200) == 0) usleep(20);  // the consumer goes to sleep
    }
  });

  uint32_t next = 0, wrong = 0;
  bool heard = true;
  while (next < kRecords && heard) {
    pollfd poll_fd{wake, POLLIN, 0};
    heard = poll(&poll_fd, 1, 5000) == 1;
    eventfd_t ignored;
    eventfd_read(wake, &ignored);
    doorbell.answer();
    for (; const QueueRecord* record = queue.front(); queue.pop(), next++) {
      const size_t length = 4 + next % 500;
      bool right = record->kind == next % 7 && record->slot == next % 1000 && record->length == length &&
                   record->path == path_number(next % 60'000) && read_u32(record->payload) == next;
      for (size_t i = 4; i < length; i++) right = right && record->payload[i] == (next & 0xff);
      if (!right) wrong++;
    }
  }
  // A bell that was not heard leaves the producer before a full queue.
  for (; next < kRecords; next++) {
    while (queue.front() == nullptr) sched_yield();
    queue.pop();
  }
  producer.join();
  close(wake);
  CHECK(heard);
  CHECK_EQUAL(wrong, 0u);
}
