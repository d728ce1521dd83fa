// What a worker process leaves to its successor: taken over whole, or not at all. Processes are really killed here.
#include "kept_memory.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "check.h"
#include "flow_table.h"
#include "random.h"
#include "senders.h"

using namespace earshot;

namespace {

constexpr FlowTable::Options kOptions{64, 48};
constexpr unsigned kLanes = 2;

Path path_number(uint32_t n) {
  Path out;
  out.family = 4;
  out.ingress = 1;
  out.port = static_cast<uint16_t>(n + 1);
  return out;
}

// Everything that a worker process has of a table.
struct Process {
  explicit Process(int memfd, const FlowTable::Options& options = kOptions)
      : memory(memfd, {FlowTable::entries_of(options), kLanes}, 0),
        directory(memory.transceivers(), memory.header().check_key),
        flows(options, directory, quiescence, memory) {}
  Slot add(uint32_t id, uint64_t epoch = 1000) {
    return directory.add(id, epoch, sockaddr_in6{}, sizeof(sockaddr_in), quiescence);
  }
  Flow* find(uint32_t n) { return flows.find(path_number(n), flows.hash_path(path_number(n))); }
  void assure(uint32_t n) { flows.assure(find(n), flows.hash_path(path_number(n)), 0); }

  KeptMemory memory;
  Quiescence quiescence{1};
  Directory directory;
  FlowTable flows;
};

// The keeper's part of it.
struct Kept {
  Kept() : memfd(KeptMemory::make_memfd()) { CHECK(memfd.get() >= 0); }
  std::unique_ptr<Process> process() { return std::make_unique<Process>(memfd.get()); }
  template <class T>
  void write(size_t at, const T& value) {
    CHECK(pwrite(memfd.get(), &value, sizeof value, static_cast<off_t>(at)) == static_cast<ssize_t>(sizeof value));
  }
  Fd memfd;
};

// Where something of a process's memory is in the memfd.
size_t offset_of(const Process& process, const void* what) {
  return static_cast<size_t>(static_cast<const uint8_t*>(what) -
                             reinterpret_cast<const uint8_t*>(&process.memory.header()));
}

}  // namespace

TEST("a successor finds every flow and every transceiver as they were") {
  Kept kept;
  uint64_t hash = 0;
  {
    const auto process = kept.process();
    CHECK(!process->memory.taken_over());
    CHECK_EQUAL(process->add(1), 1);
    CHECK_EQUAL(process->add(2), 2);
    CHECK_EQUAL(process->add(3), 3);
    process->directory.retire(3);
    process->flows.admit(path_number(0), 1, 11, 5);
    process->flows.admit(path_number(0), 1, 12, 5);
    process->assure(0);
    process->flows.admit(path_number(0), 2, 21, 5);
    process->flows.admit(path_number(1), 2, 22, 5);
    process->flows.admit(path_number(2), 2, 23, 5);
    process->flows.end(path_number(2), 2, 23, 5);
    hash = process->flows.hash_ufrag(reinterpret_cast<const uint8_t*>("ufrag"), 5);
  }
  const auto next = kept.process();
  CHECK_EQUAL(next->memory.error(), 0);
  CHECK(next->memory.taken_over());
  CHECK_EQUAL(next->flows.hash_ufrag(reinterpret_cast<const uint8_t*>("ufrag"), 5), hash);
  const Flow* flow = next->find(0);
  CHECK(flow != nullptr && flow->assured() && flow->owner == 1 && flow->owner_holds(11) && flow->owner_holds(12));
  CHECK(flow->pending == 2 && flow->pending_holds(21));
  CHECK(next->find(1) != nullptr && !next->find(1)->assured());
  CHECK(next->find(2) == nullptr);
  CHECK_EQUAL(next->flows.counts().flows, 2u);
  CHECK_EQUAL(next->flows.counts().tentative, 1u);
  CHECK_EQUAL(next->flows.torn(), 0u);
  CHECK(next->directory.live(1)->id == 1 && next->directory.live(2)->id == 2 && next->directory.live(3) == nullptr);
  // Slots 1 and 2 have flows; 3 was retired and has none.
  next->directory.retire(1);
  next->directory.retire(2);
  for (uint32_t id = 4; id <= kMaxTransceivers; id++) CHECK(next->add(id) > 3);
  CHECK_EQUAL(next->add(9999), 3);
  CHECK_EQUAL(next->add(10'000), kNoSlot);
}

TEST("one process at a time may write, also through an inherited descriptor") {
  Kept kept;
  auto first = kept.process();
  first->add(1);
  CHECK_EQUAL(kept.process()->memory.error(), EBUSY);
  const pid_t child = fork();
  if (child == 0) _exit(Process(kept.memfd.get()).memory.error() == EBUSY ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  CHECK_EQUAL(status, 0);
  first->memory.give_up_writing();
  const auto second = kept.process();
  CHECK_EQUAL(second->memory.error(), 0);
  CHECK(second->directory.live(1) != nullptr);
}

TEST("a process that gets no memory has a table without room, and can still say so") {
  Kept kept;
  const auto first = kept.process();
  const auto second = kept.process();
  CHECK(second->flows.admit(path_number(1), second->add(1), 11, 0) == AdmitResult::table_full);
  CHECK(first->directory.live(1) == nullptr);
}

TEST("a layout or a size that is not ours is never read") {
  for (const size_t at : {offsetof(KeptHeader, magic), offsetof(KeptHeader, layout), offsetof(KeptHeader, bytes),
                          offsetof(KeptHeader, entries), offsetof(KeptHeader, lanes)}) {
    Kept kept;
    kept.process()->add(1);
    uint8_t byte = 0;
    CHECK(pread(kept.memfd.get(), &byte, 1, static_cast<off_t>(at)) == 1);
    kept.write(at, static_cast<uint8_t>(byte ^ 1));
    const auto next = kept.process();
    CHECK_EQUAL(next->memory.error(), EILSEQ);
    CHECK(next->directory.live(1) == nullptr);
  }
  Kept kept;
  kept.process();
  CHECK_EQUAL(Process(kept.memfd.get(), {kOptions.capacity + 1, 48}).memory.error(), EILSEQ);
}

TEST("memory whose making was cut short is made again") {
  Kept kept;
  kept.process()->add(1);
  kept.write(offsetof(KeptHeader, magic), uint64_t{0});
  const auto next = kept.process();
  CHECK_EQUAL(next->memory.error(), 0);
  CHECK(!next->memory.taken_over() && next->directory.live(1) == nullptr);
  Kept partly;
  CHECK(ftruncate(partly.memfd.get(), 8192) == 0);
  CHECK_EQUAL(partly.process()->memory.error(), 0);
}

TEST("memory cannot be cut off under a process that uses it") {
  Kept kept;
  const auto process = kept.process();
  CHECK(ftruncate(kept.memfd.get(), 0) != 0 && errno == EPERM);
}

TEST("whatever byte of a flow is wrong, it is dropped and counted, and the others stay") {
  for (size_t at = 0; at < kFlowFixedBytes + sizeof(FlowCheck); at++) {
    Kept kept;
    size_t broken = 0;
    {
      const auto process = kept.process();
      process->add(1);
      for (uint32_t n = 0; n < 3; n++) process->flows.admit(path_number(n), 1, 11, 0);
      const Flow* flow = process->find(1);
      const auto index = flow - process->memory.flows();
      broken = at < kFlowFixedBytes ? offset_of(*process, flow) + at
                                    : offset_of(*process, &process->memory.checks()[index]) + (at - kFlowFixedBytes);
    }
    uint8_t byte = 0;
    CHECK(pread(kept.memfd.get(), &byte, 1, static_cast<off_t>(broken)) == 1);
    kept.write(broken, static_cast<uint8_t>(byte ^ 0x10));
    const auto next = kept.process();
    CHECK(next->find(0) != nullptr && next->find(1) == nullptr && next->find(2) != nullptr);
    CHECK_EQUAL(next->flows.torn(), 1u);
    CHECK_EQUAL(next->flows.counts().flows, 2u);
    CHECK_EQUAL(next->flows.counts().tentative, 2u);
  }
}

TEST("a transceiver whose slot is torn goes, and its flows with it") {
  Kept kept;
  size_t epoch = 0;
  {
    const auto process = kept.process();
    process->add(1);
    process->add(2);
    process->flows.admit(path_number(0), 1, 11, 0);
    process->flows.admit(path_number(1), 2, 12, 0);
    epoch = offset_of(*process, &process->memory.transceivers()[1].epoch);
  }
  kept.write(epoch, uint64_t{1001});
  const auto next = kept.process();
  CHECK(next->directory.live(1) == nullptr && next->directory.live(2) != nullptr);
  CHECK_EQUAL(next->directory.torn(), 1u);
  CHECK(next->find(0) == nullptr && next->find(1) != nullptr);
  CHECK_EQUAL(next->flows.torn(), 1u);
}

TEST("of two entries for one path the older counts: the change had not been made") {
  for (const bool older_is_first : {true, false}) {
    Kept kept;
    const auto process = kept.process();
    process->add(1);
    // Other flows, so that the copy lands before or behind the entry that it is to replace.
    process->flows.admit(path_number(8), 1, 8, 0);
    process->flows.admit(path_number(9), 1, 9, 0);
    if (!older_is_first) process->flows.end(path_number(8), 1, 8, 0);
    process->flows.admit(path_number(0), 1, 11, 0);
    Flow* old = process->find(0);
    process->flows.admit(path_number(0), 1, 12, 0);
    // As a kill before the old one's death would have left it.
    CHECK(process->find(0) != old);
    old->state.fetch_and(~Flow::kDead);
    process->memory.give_up_writing();
    const auto next = kept.process();
    CHECK(next->find(0)->owner_holds(11) && !next->find(0)->owner_holds(12));
    CHECK_EQUAL(next->flows.torn(), 0u);
    CHECK_EQUAL(next->flows.counts().flows, older_is_first ? 3u : 2u);
    CHECK_EQUAL(next->flows.counts().tentative, next->flows.counts().flows);
  }
}

TEST("what a lane has accepted, its successor does not accept again, whatever slot the sender has by then") {
  Kept kept;
  const auto senders_of = [](Process& process) { return Senders(process.memory.senders(2)); };
  {
    const auto process = kept.process();
    Senders senders = senders_of(*process);
    process->add(7);
    process->add(8);
    senders.follow(process->directory);
    CHECK(senders.accept(1, 5) && senders.accept(1, 3) && senders.accept(2, 9));
  }
  {
    const auto next = kept.process();
    Senders senders = senders_of(*next);
    senders.follow(next->directory);
    CHECK_EQUAL(senders.find(7, 1000), 1);
    for (uint64_t sequence = 0; sequence <= 5; sequence++) CHECK(!senders.accept(1, sequence));
    CHECK(senders.accept(1, 6) && !senders.accept(2, 9) && senders.accept(2, 10));
    // Another lane knows nothing of it.
    CHECK(Senders(next->memory.senders(1)).find(7, 1000) == kNoSlot);
    next->directory.retire(1);
    next->directory.retire(2);
  }
  const auto last = kept.process();
  last->add(9);
  CHECK_EQUAL(last->add(7), 4);
  Senders senders = senders_of(*last);
  senders.follow(last->directory);
  CHECK(!senders.accept(4, 6) && senders.accept(4, 7));
}

// ---- killed at any instruction ------------------------------------------------------------------------------------

namespace {

constexpr uint32_t kPaths = 96;  // more than the table holds
constexpr uint32_t kTransceivers = 3;

// What the churning process says about each path, in memory that outlives it.
struct Log {
  std::atomic<uint32_t> busy{kPaths};  // the path that is being changed
  std::atomic<bool> ending{false};     // and whether it may be gone then
  std::atomic<uint64_t> flows[kPaths]{};
  std::atomic<uint64_t> steps{0};
};

uint64_t summary(const Flow* flow) {
  if (flow == nullptr) return 0;
  const uint64_t words[] = {flow->owner,           flow->pending,           flow->owner_ufrags[0],
                            flow->owner_ufrags[1], flow->pending_ufrags[0], flow->pending_ufrags[1],
                            flow->assured()};
  return siphash13(SipKey{1, 2}, reinterpret_cast<const uint8_t*>(words), sizeof words) | 1;
}

// Changes flows until it is killed.
[[noreturn]] void churn(int memfd, Log& log, uint64_t seed) {
  Process process(memfd);
  if (process.memory.error() != 0) _exit(1);
  if (!process.memory.taken_over()) {
    for (uint32_t id = 1; id <= kTransceivers; id++) process.add(id);
  }
  for (Random random(seed);;) {
    const uint32_t n = random.below(kPaths);
    const auto slot = static_cast<Slot>(1 + random.below(kTransceivers));
    const uint64_t ufrag = uint64_t{n + 1} << 8 | (1 + random.below(3));
    const uint32_t what = random.below(8);
    log.ending.store(what == 0);
    log.busy.store(n);
    const Path path = path_number(n);
    if (what == 0) {
      process.flows.end(path, slot, ufrag, 0);
    } else if (what == 1) {
      process.flows.promote(path, slot, ufrag, 0);
    } else if (what == 2) {
      process.flows.restore(path, {slot, {ufrag, 0}}, 0);
    } else if (what == 3 && process.find(n) != nullptr) {
      process.assure(n);
    } else {
      process.flows.admit(path, slot, ufrag, 0);
    }
    log.flows[n].store(summary(process.find(n)));
    log.busy.store(kPaths);
    log.steps.fetch_add(1);
  }
}

}  // namespace

TEST("a process is killed at any instruction, and no flow is lost or half changed") {
  Kept kept;
  void* shared = mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  Log& log = *new (shared) Log;
  Random random(1);
  constexpr int kKills = 100;
  int in_midst = 0;
  for (int kill_number = 0; kill_number < kKills; kill_number++) {
    const uint64_t before = log.steps.load();
    const pid_t child = fork();
    if (child == 0) churn(kept.memfd.get(), log, static_cast<uint64_t>(kill_number) + 1);
    // At least some steps of each, then a moment of any length.
    int status = 0;
    while (log.steps.load() < before + 20 && waitpid(child, &status, WNOHANG) == 0) usleep(50);
    usleep(random.below(300));
    kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));

    const auto next = kept.process();
    if (next->memory.error() != 0 || next->flows.torn() != 0 || next->directory.torn() != 0) CHECK(false);
    const uint32_t busy = log.busy.load();
    uint32_t flows = 0, tentative = 0;
    for (uint32_t n = 0; n < kPaths; n++) {
      const Flow* flow = next->find(n);
      if (flow != nullptr) flows++;
      if (flow != nullptr && !flow->assured()) tentative++;
      const uint64_t known = log.flows[n].load();
      if (n != busy) {
        if (summary(flow) != known) CHECK(false);
        continue;
      }
      // As before the change or as after it; gone only if it was to end.
      if (summary(flow) != known) in_midst++;
      if (known != 0 && flow == nullptr) CHECK(log.ending.load());
      if (flow != nullptr && (flow->owner_ufrags[0] >> 8) != n + 1) CHECK(false);
      log.flows[n].store(summary(flow));
    }
    CHECK_EQUAL(next->flows.counts().flows, flows);
    CHECK_EQUAL(next->flows.counts().tentative, tentative);
    log.busy.store(kPaths);
  }
  std::printf("       %d kills, %d in the midst of a change that had been made, %llu steps\n", kKills, in_midst,
              static_cast<unsigned long long>(log.steps.load()));
  munmap(shared, sizeof(Log));
}

namespace {

// Runs `change` in a process of its own, one instruction at a time. Whenever memory has changed, attaches to a copy of
// it as a successor would had the process been killed there, and asks `look` what it finds. Returns how often it did.
int at_every_instruction(void (*before)(Process&), void (*change)(Process&), void (*look)(Process&)) {
  Kept kept;
  const pid_t child = fork();
  if (child == 0) {
    Process process(kept.memfd.get());
    before(process);
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    change(process);
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSTOPPED(status));
  struct stat size {};
  CHECK(fstat(kept.memfd.get(), &size) == 0);
  const auto bytes = static_cast<size_t>(size.st_size);
  auto* memory = static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_READ, MAP_SHARED, kept.memfd.get(), 0));
  // Flows and their checks; nothing else changes here.
  const size_t flows = bytes - (FlowTable::entries_of(kOptions) + 1) * (sizeof(Flow) + sizeof(FlowCheck)) - 8192;
  std::vector<uint8_t> last(bytes);
  int looks = 0;
  while (WIFSTOPPED(status)) {
    if (looks == 0 || std::memcmp(last.data() + flows, memory + flows, bytes - flows) != 0) {
      std::memcpy(last.data(), memory, bytes);
      Kept copy;
      CHECK(write(copy.memfd.get(), last.data(), bytes) == static_cast<ssize_t>(bytes));
      const auto successor = copy.process();
      CHECK(successor->memory.taken_over() && successor->flows.torn() == 0);
      look(*successor);
      looks++;
    }
    if (ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0 || waitpid(child, &status, 0) != child) break;
  }
  munmap(memory, bytes);
  return looks;
}

constexpr uint64_t kFirst = 11, kSecond = 12, kOther = 21;

void empty(Process& process) {
  process.add(1);
  process.add(2);
}
void assured(Process& process) {
  empty(process);
  process.flows.admit(path_number(0), 1, kFirst, 0);
  process.assure(0);
}
void assured_with_pending(Process& process) {
  assured(process);
  process.flows.admit(path_number(0), 2, kOther, 0);
}

}  // namespace

TEST("at every instruction of a change, a successor finds the flow as it was before or as it is after") {
  int looks = at_every_instruction(
      empty, [](Process& p) { p.flows.admit(path_number(0), 1, kFirst, 0); },
      [](Process& p) { CHECK(p.find(0) == nullptr || (p.find(0)->owner_holds(kFirst) && !p.find(0)->assured())); });
  looks += at_every_instruction(
      assured, [](Process& p) { p.flows.admit(path_number(0), 1, kSecond, 0); },
      [](Process& p) { CHECK(p.find(0) != nullptr && p.find(0)->owner_holds(kFirst) && p.find(0)->assured()); });
  looks += at_every_instruction(
      assured_with_pending, [](Process& p) { p.flows.promote(path_number(0), 2, kOther, 0); },
      [](Process& p) {
        const Flow* flow = p.find(0);
        CHECK(flow != nullptr && flow->assured());
        CHECK(flow->owner == 1 ? flow->pending_holds(kOther) : flow->owner_holds(kOther) && flow->pending == kNoSlot);
      });
  looks += at_every_instruction(
      assured_with_pending, [](Process& p) { p.flows.end(path_number(0), 1, kFirst, 0); },
      [](Process& p) {
        const Flow* flow = p.find(0);
        CHECK(flow != nullptr && (flow->owner == 1) == flow->assured());
        CHECK(flow->owner == 1 || flow->owner_holds(kOther));
      });
  looks += at_every_instruction(
      assured, [](Process& p) { p.flows.end(path_number(0), 1, kFirst, 0); },
      [](Process& p) { CHECK(p.find(0) == nullptr || (p.find(0)->assured() && p.find(0)->owner_holds(kFirst))); });
  looks += at_every_instruction(
      empty,
      [](Process& p) {
        p.flows.restore(path_number(0), {1, {kFirst, kSecond}}, 0);
      },
      [](Process& p) {
        const Flow* flow = p.find(0);
        CHECK(flow == nullptr || (flow->assured() && flow->owner_holds(kFirst) && flow->owner_holds(kSecond)));
      });
  CHECK(looks > 6 * 3);
  std::printf("       looked at %d states of the memory\n", looks);
}
