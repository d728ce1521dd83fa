// Records for a successor of another layout: they say all that there is, or they are not believed.
#include "hand_over.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "bytes.h"
#include "check.h"
#include "flow_table.h"
#include "random.h"
#include "senders.h"

using namespace earshot;

namespace {

constexpr unsigned kLanes = 2;
constexpr SipKey kKey{3, 4};
constexpr uint64_t kStartMs = 1'000'000;
// Other capacities are other layouts: what a program of another one finds is the same.
constexpr FlowTable::Options kOld{64, 48};
constexpr FlowTable::Options kNew{100, 48};

KeptMemory::Shape shape_of(const FlowTable::Options& options) { return {FlowTable::entries_of(options), kLanes}; }

Path path_number(uint32_t n) {
  Path out;
  out.family = n % 2 == 0 ? 4 : 6;
  out.ingress = 1;
  out.port = static_cast<uint16_t>(n + 1);
  out.address[0] = 10;
  if (n % 2 == 1) out.address[15] = 9;
  return out;
}

struct Process {
  Process(int memfd, const FlowTable::Options& options, uint64_t now_ms, const KeptMemory::HandOver& hand_over)
      : memory(memfd, shape_of(options), now_ms, hand_over),
        directory(memory.transceivers(), memory.header().check_key),
        flows(options, directory, quiescence, memory) {}
  Slot add(uint32_t id, const char* host = "10.0.0.1") {
    Endpoint at;
    CHECK(Endpoint::parse(host, static_cast<uint16_t>(7000 + id), at));
    return directory.add(id, 1000 + id, at.address, at.length, quiescence);
  }
  Flow* find(uint32_t n) { return flows.find(path_number(n), flows.hash_path(path_number(n))); }
  uint64_t hash(const char* ufrag) const {
    return flows.hash_ufrag(reinterpret_cast<const uint8_t*>(ufrag), std::strlen(ufrag));
  }
  Tick tick(uint64_t now_ms) const { return ticks_of_ms(now_ms - memory.header().origin_ms); }

  KeptMemory memory;
  Quiescence quiescence{1};
  Directory directory;
  FlowTable flows;
};

// The keeper's part of it.
struct Kept {
  Fd memory{KeptMemory::make_memfd()};
  Fd records{KeptMemory::make_memfd()};
  Fd next{KeptMemory::make_memfd()};

  std::unique_ptr<Process> old_one(uint64_t now_ms = kStartMs) {
    return std::make_unique<Process>(memory.get(), kOld, now_ms, KeptMemory::HandOver{records.get(), -1, {}});
  }
  std::unique_ptr<Process> new_one(uint64_t now_ms = kStartMs + 60'000, const FlowTable::Options& options = kNew) {
    return std::make_unique<Process>(memory.get(), options, now_ms,
                                     KeptMemory::HandOver{records.get(), next.get(), kKey});
  }
  // Of the kind of new_one(), when nothing is handed over.
  std::unique_ptr<Process> later_one() {
    return std::make_unique<Process>(memory.get(), kNew, kStartMs, KeptMemory::HandOver{records.get(), -1, {}});
  }
  Exported hand_over(Process& process, uint64_t now_ms = kStartMs + 60'000) {
    Exported exported;
    CHECK_EQUAL(export_records(process.memory, now_ms, kKey, records.get(), exported), 0);
    process.memory.give_up_writing();
    return exported;
  }
};

std::vector<uint8_t> bytes_of(int memfd) {
  struct stat status {};
  CHECK(fstat(memfd, &status) == 0);
  std::vector<uint8_t> bytes(static_cast<size_t>(status.st_size));
  CHECK(pread(memfd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

// In memory of just that size, so that the address sanitizer sees a read past the end.
int read(const std::vector<uint8_t>& bytes, size_t length, Records& out, const SipKey& key = kKey) {
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[length]);
  std::memcpy(exact.get(), bytes.data(), length);
  return read_records({exact.get(), length}, key, shape_of(kNew), kStartMs + 60'000, out);
}

void seal(std::vector<uint8_t>& bytes) {
  write_u64(bytes.data() + bytes.size() - 8, siphash24(kKey, bytes.data(), bytes.size() - 8));
}

// A few of everything.
std::unique_ptr<Process> some_calls(Kept& kept) {
  auto process = kept.old_one();
  CHECK_EQUAL(process->add(1), 1);
  CHECK_EQUAL(process->add(2, "fd00::2"), 2);
  CHECK_EQUAL(process->add(3), 3);
  const Tick then = process->tick(kStartMs + 20'000);
  process->flows.admit(path_number(0), 1, process->hash("first"), then);
  process->flows.admit(path_number(0), 1, process->hash("second"), then);
  process->flows.assure(process->find(0), process->flows.hash_path(path_number(0)), then);
  process->flows.admit(path_number(0), 2, process->hash("other"), then);
  process->flows.restore(path_number(1), {3, {process->hash("third"), 0}}, process->tick(kStartMs + 50'000));
  process->flows.admit(path_number(2), 2, process->hash("fourth"), process->tick(kStartMs + 58'000));
  process->flows.admit(path_number(3), 2, process->hash("ended"), then);
  process->flows.end(path_number(3), 2, process->hash("ended"), then);
  process->directory.retire(3);
  Senders senders(process->memory.senders(2));
  senders.follow(process->directory);
  CHECK(senders.accept(1, 500) && senders.accept(2, 7));
  return process;
}

std::vector<uint8_t> some_records() {
  Kept kept;
  const auto process = some_calls(kept);
  kept.hand_over(*process);
  return bytes_of(kept.records.get());
}

}  // namespace

TEST("a successor of another layout finds every flow, transceiver and sequence as they were") {
  Kept kept;
  const auto before = some_calls(kept);
  const Exported exported = kept.hand_over(*before);
  CHECK_EQUAL(exported.flows, 3u);
  CHECK_EQUAL(exported.torn, 0u);
  const std::vector<uint8_t> untouched = bytes_of(kept.memory.get());
  const Fd old_memory(fcntl(kept.memory.get(), F_DUPFD_CLOEXEC, 0));
  const uint64_t now_ms = kStartMs + 61'000;

  for (const bool again : {false, true}) {
    const auto next = again ? kept.later_one() : kept.new_one(now_ms);
    CHECK_EQUAL(next->memory.error(), 0);
    CHECK(next->memory.taken_over());
    CHECK_EQUAL(next->memory.imported(), !again);
    CHECK_EQUAL(next->flows.torn() + next->directory.torn(), 0u);
    CHECK_EQUAL(next->flows.counts().flows, 3u);
    CHECK_EQUAL(next->flows.counts().tentative, 1u);
    CHECK_EQUAL(next->flows.counts().capacity, kNew.capacity);
    const Flow* flow = next->find(0);
    CHECK(flow != nullptr && flow->assured() && flow->owner == 1 && flow->pending == 2);
    CHECK(flow->owner_ufrags[0] == next->hash("second") && flow->owner_ufrags[1] == next->hash("first"));
    CHECK(flow->pending_ufrags[0] == next->hash("other") && flow->pending_ufrags[1] == 0);
    const auto idle_ms = [&](uint32_t n) { return FlowTable::idle_ms(*next->find(n), next->tick(now_ms)); };
    CHECK_EQUAL(idle_ms(0), FlowTable::idle_ms(*before->find(0), before->tick(now_ms)));
    CHECK(next->find(1)->assured() && next->find(1)->owner == 3 && next->find(1)->pending == kNoSlot);
    CHECK_EQUAL(idle_ms(1), FlowTable::idle_ms(*before->find(1), before->tick(now_ms)));
    CHECK(!next->find(2)->assured() && next->find(2)->owner == 2);
    CHECK(next->find(3) == nullptr);
    CHECK(next->directory.live(3) == nullptr && next->directory.in_use(3));
    for (Slot slot = 1; slot <= 2; slot++) {
      const TransceiverSlot *was = before->directory.live(slot), *is = next->directory.live(slot);
      CHECK(is != nullptr && is->id == was->id && is->epoch == was->epoch);
      CHECK_EQUAL(is->address_length, was->address_length);
      CHECK(std::memcmp(&is->address, &was->address, is->address_length) == 0);
    }
    Senders senders(next->memory.senders(2));
    senders.follow(next->directory);
    CHECK(senders.find(1, 1001) == 1 && senders.find(2, 1002) == 2);
    CHECK(!senders.accept(1, 500) && senders.accept(1, 501 + again));
    CHECK(Senders(next->memory.senders(1)).find(1, 1001) == kNoSlot);
  }
  CHECK(bytes_of(old_memory.get()) == untouched);
}

TEST("while one process writes no other does, whatever memory it has") {
  Kept kept;
  const Fd old_memory(fcntl(kept.memory.get(), F_DUPFD_CLOEXEC, 0));
  const auto before = some_calls(kept);
  CHECK_EQUAL(kept.new_one()->memory.error(), EBUSY);
  kept.hand_over(*before);
  const KeptMemory::HandOver by_role{kept.records.get(), -1, {}};
  {
    const auto next = kept.new_one();
    CHECK_EQUAL(next->memory.error(), 0);
    CHECK_EQUAL(Process(old_memory.get(), kOld, kStartMs, by_role).memory.error(), EBUSY);
  }
  // It has ended: the one before goes on with what it had.
  Process again(old_memory.get(), kOld, kStartMs, by_role);
  CHECK_EQUAL(again.memory.error(), 0);
  CHECK_EQUAL(again.flows.counts().flows, 3u);
}

TEST("a process that finds its own layout uses it, records or not") {
  Kept kept;
  const auto before = some_calls(kept);
  kept.hand_over(*before);
  const auto next = kept.new_one(kStartMs, kOld);
  CHECK_EQUAL(next->memory.error(), 0);
  CHECK(next->memory.taken_over() && !next->memory.imported());
  CHECK_EQUAL(next->flows.counts().flows, 3u);
}

TEST("a full table is handed over whole, and not to one with less room") {
  Kept kept;
  const auto before = kept.old_one();
  before->add(1);
  const uint64_t ufrag = before->hash("ufrag");
  for (uint32_t n = 0; n < kOld.capacity; n++) {
    CHECK(before->flows.restore(path_number(n), {1, {ufrag, 0}}, 0) == RestoreResult::installed);
  }
  CHECK_EQUAL(kept.hand_over(*before).flows, kOld.capacity);
  CHECK_EQUAL(kept.new_one(kStartMs + 60'000, {kOld.capacity - 1, 48})->memory.error(), E2BIG);
  const auto next = kept.new_one();
  CHECK_EQUAL(next->flows.counts().flows, kOld.capacity);
  for (uint32_t n = 0; n < kOld.capacity; n++) CHECK(next->find(n) != nullptr && next->find(n)->owner_holds(ufrag));
  for (uint32_t n = kOld.capacity; n < kNew.capacity; n++) {
    CHECK(next->flows.restore(path_number(n), {1, {ufrag, 0}}, 0) == RestoreResult::installed);
  }
  CHECK(next->flows.restore(path_number(kNew.capacity), {1, {ufrag, 0}}, 0) == RestoreResult::table_full);
}

TEST("an empty table is handed over too") {
  Kept kept;
  const auto before = kept.old_one();
  CHECK_EQUAL(kept.hand_over(*before).flows, 0u);
  const auto next = kept.new_one();
  CHECK_EQUAL(next->memory.error(), 0);
  CHECK(next->memory.imported());
  CHECK_EQUAL(next->flows.counts().flows, 0u);
}

TEST("entries that are not whole are not handed over as if they were") {
  Kept kept;
  const auto before = some_calls(kept);
  before->find(1)->owner_ufrags[0] ^= 1;
  before->memory.transceivers()[1].epoch ^= 1;
  const Exported exported = kept.hand_over(*before);
  CHECK_EQUAL(exported.torn, 3u);  // flow 1, slot 1, and flow 0, which is its
  CHECK_EQUAL(exported.flows, 1u);
  const auto next = kept.new_one();
  CHECK_EQUAL(next->memory.error(), 0);
  CHECK(next->find(0) == nullptr && next->find(1) == nullptr && next->find(2) != nullptr);
}

TEST("records that are cut off anywhere, or longer, are not read") {
  std::vector<uint8_t> bytes = some_records();
  Records records;
  CHECK_EQUAL(read(bytes, bytes.size(), records), 0);
  CHECK_EQUAL(records.flow_count, 3u);
  for (size_t length = 0; length < bytes.size(); length++) {
    if (read(bytes, length, records) != EPROTO) CHECK(false);
  }
  bytes.push_back(0);
  CHECK_EQUAL(read(bytes, bytes.size(), records), EPROTO);
}

TEST("records with any wrong bit, or of another upgrade, are not read") {
  std::vector<uint8_t> bytes = some_records();
  Records records;
  CHECK_EQUAL(read(bytes, bytes.size(), records, SipKey{3, 5}), EPROTO);
  for (size_t at = 0; at < bytes.size(); at++) {
    for (int bit = 0; bit < 8; bit++) {
      bytes[at] ^= static_cast<uint8_t>(1 << bit);
      const int error = read(bytes, bytes.size(), records);
      if (error != (at >= 8 && at < 12 ? EPROTONOSUPPORT : EPROTO)) CHECK(false);
      bytes[at] ^= static_cast<uint8_t>(1 << bit);
    }
  }
}

TEST("records of a later version are told from broken ones") {
  std::vector<uint8_t> bytes = some_records();
  write_u32(bytes.data() + 8, kRecordsVersion + 1);
  seal(bytes);
  Records records;
  CHECK_EQUAL(read(bytes, bytes.size(), records), EPROTONOSUPPORT);
}

// A tag says who wrote; what a writer that errs writes must not be believed either.
TEST("records that are sealed but wrong make no memory that is not whole") {
  const std::vector<uint8_t> good = some_records();
  int taken = 0;
  for (size_t at = 12; at < good.size() - 8; at++) {
    for (const int change : {0x01, 0x80, 0xff}) {
      std::vector<uint8_t> bytes = good;
      bytes[at] ^= static_cast<uint8_t>(change);
      seal(bytes);
      Records records;
      if (read(bytes, bytes.size(), records) != 0) continue;
      Kept kept;
      some_calls(kept);
      CHECK(ftruncate(kept.records.get(), 0) == 0);
      CHECK(pwrite(kept.records.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
      const auto next = kept.new_one();
      if (next->memory.error() != 0 || next->flows.torn() != 0 || next->directory.torn() != 0) CHECK(false);
      if (next->flows.counts().flows != next->memory.imported_flows()) CHECK(false);
      taken++;
    }
  }
  CHECK(taken > 0);
}

TEST("what no records may say is refused") {
  const std::vector<uint8_t> good = some_records();
  constexpr size_t kSlots = 48, kSenders = kSlots + 3 * 36, kFlows = kSenders + 2 * 23, kFlow = 66;
  const std::vector<std::pair<size_t, uint8_t>> wrong = {
      {24, 0xff},             // made in the future
      {kSlots + 1, 0},        // no slot
      {kSlots, 0x20},         // one that does not exist
      {kSlots + 37, 1},       // one twice
      {kSlots + 2, 0},        // free
      {kSlots + 2, 3},        // in no state
      {kSlots + 15, 5},       // an address of no family
      {kSlots + 17, 1},       // one with an ingress
      {kSlots + 15 + 20, 1},  // an IPv4 address with something behind it
      {kSenders, 0},          // no lane
      {kSenders, 3},          // one that does not exist
      {kSenders + 2, 0},      // no slot
      {kSenders + 24, 0x20},  // one that does not exist
      {kFlows, 7},            // a path of no family
      {kFlows + 21, 2},       // neither assured nor not
      {kFlows + 31, 4},       // an owner that is no slot in use
      {kFlows + 31, 0},       // no owner
      {kFlows + 49, 9},       // a pending session of nobody
      {kFlows + kFlow + 30, 0x20},
  };
  Records records;
  for (const auto& [at, byte] : wrong) {
    std::vector<uint8_t> bytes = good;
    bytes[at] = byte;
    seal(bytes);
    if (read(bytes, bytes.size(), records) != EPROTO) {
      std::printf("  byte %zu\n", at);
      CHECK(false);
    }
  }
}

TEST("a process is killed anywhere in a hand-over: the memory of before is whole, the new one is so or is none") {
  Kept kept;
  const auto before = some_calls(kept);
  const Fd old_memory(fcntl(kept.memory.get(), F_DUPFD_CLOEXEC, 0));
  kept.hand_over(*before);
  const std::vector<uint8_t> untouched = bytes_of(old_memory.get());
  Random random(1);
  int whole = 0;
  constexpr int kKills = 40;
  for (int kill_number = 0; kill_number < kKills; kill_number++) {
    kept.next = Fd(KeptMemory::make_memfd());
    int told[2];
    CHECK(pipe(told) == 0);
    const pid_t child = fork();
    if (child == 0) {
      CHECK(write(told[1], "x", 1) == 1);
      const auto exporter = kept.old_one();
      kept.hand_over(*exporter);
      const auto next = kept.new_one();
      for (;;) pause();
    }
    char byte = 0;
    CHECK(::read(told[0], &byte, 1) == 1);
    usleep(random.below(2500));
    kill(child, SIGKILL);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    close(told[0]);
    close(told[1]);

    if (bytes_of(old_memory.get()) != untouched) CHECK(false);
    Process next(kept.next.get(), kNew, kStartMs, KeptMemory::HandOver{kept.records.get(), -1, {}});
    if (next.memory.error() != 0 || next.flows.torn() != 0 || next.directory.torn() != 0) CHECK(false);
    if (next.flows.counts().flows != (next.memory.taken_over() ? 3u : 0u)) CHECK(false);
    whole += next.memory.taken_over();
  }
  std::printf("       %d kills, after %d of them the new memory was whole\n", kKills, whole);
}
