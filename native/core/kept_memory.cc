#include "kept_memory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "hand_over.h"

namespace earshot {
namespace {

constexpr uint64_t kMagic = 0x31544f4853524145;  // "EARSHOT1"
constexpr size_t kHeaderBytes = 4096;
// Grows when the meaning of something changes that no size or offset shows.
constexpr uint64_t kLayoutVersion = 1;

constexpr uint64_t hash_all(std::initializer_list<uint64_t> numbers) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, by words
  for (const uint64_t number : numbers) hash = (hash ^ number) * 0x100000001b3;
  return hash;
}

constexpr size_t round_up(size_t bytes) { return (bytes + 4095) & ~size_t{4095}; }

struct Offsets {
  size_t transceivers, senders, checks, flows, bytes;
};
constexpr size_t kSenderBytes = round_up((kMaxTransceivers + 1) * sizeof(SenderRecord));

constexpr Offsets offsets_of(const KeptMemory::Shape& shape) {
  Offsets at{};
  at.transceivers = kHeaderBytes;
  at.senders = at.transceivers + round_up((kMaxTransceivers + 1) * sizeof(TransceiverSlot));
  at.checks = at.senders + shape.lanes * kSenderBytes;
  at.flows = at.checks + round_up((size_t{shape.entries} + 1) * sizeof(FlowCheck));
  at.bytes = at.flows + round_up((size_t{shape.entries} + 1) * sizeof(Flow));
  return at;
}

SipKey random_key() {
  uint8_t bytes[16];
  size_t have = 0;
  while (have < sizeof bytes) {
    const ssize_t got = getrandom(bytes + have, sizeof bytes - have, 0);
    if (got > 0) have += static_cast<size_t>(got);
  }
  return SipKey::from_bytes(bytes);
}

}  // namespace

const uint64_t KeptMemory::kLayout = hash_all({kLayoutVersion,
                                               sizeof(KeptHeader),
                                               offsetof(KeptHeader, path_key),
                                               kMaxTransceivers,
                                               kTickShift,
                                               sizeof(TransceiverSlot),
                                               offsetof(TransceiverSlot, epoch),
                                               offsetof(TransceiverSlot, address),
                                               offsetof(TransceiverSlot, check),
                                               sizeof(SenderRecord),
                                               sizeof(FlowCheck),
                                               sizeof(Flow),
                                               offsetof(Flow, owner_ufrags),
                                               offsetof(Flow, owner),
                                               offsetof(Flow, state),
                                               sizeof(Path),
                                               kSpareFlows,
                                               offsets_of({1000, 3}).senders,
                                               offsets_of({1000, 3}).checks,
                                               offsets_of({1000, 3}).flows});

int KeptMemory::make_memfd() {
#ifdef MFD_NOEXEC_SEAL
  // Linux 6.3 wants to be told, and older ones refuse to hear of it.
  const int fd = memfd_create("earshot", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd >= 0 || errno != EINVAL) return fd;
#endif
  return memfd_create("earshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

KeptMemory::KeptMemory(int memfd, const Shape& shape, uint64_t now_ms, const HandOver& hand_over) {
  error_ = memfd >= 0 ? take(memfd, shape, now_ms, hand_over) : make(-1, shape, now_ms);
  if (error_ == 0) {
    if (!taken_over_ || imported_) publish();
    return;
  }
  lock_ = Fd();
  unmap();
  const Shape empty{0, shape.lanes};
  if (make(-1, empty, now_ms) != 0) std::abort();  // it could not even report that
  publish();
}

KeptMemory::~KeptMemory() { unmap(); }

int KeptMemory::take(int memfd, const Shape& shape, uint64_t now_ms, const HandOver& hand_over) {
  // A descriptor that was inherited shares its lock with whom it came from; one that is opened anew does not.
  const int role = hand_over.records >= 0 ? hand_over.records : memfd;
  lock_ = Fd(open(("/proc/self/fd/" + std::to_string(role)).c_str(), O_RDWR | O_CLOEXEC));
  if (lock_.get() < 0) return errno;
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK ? EBUSY : errno;

  struct stat status {};
  if (fstat(memfd, &status) != 0) return errno;
  KeptHeader header{};
  const bool has_header = status.st_size >= static_cast<off_t>(kHeaderBytes) &&
                          pread(memfd, &header, sizeof header, 0) == static_cast<ssize_t>(sizeof header);
  if (!has_header || header.magic == 0) return make(memfd, shape, now_ms);
  const size_t bytes = offsets_of(shape).bytes;
  if (header.magic != kMagic || header.layout != kLayout || header.entries != shape.entries ||
      header.lanes != shape.lanes || header.bytes != bytes || static_cast<size_t>(status.st_size) != bytes) {
    return hand_over.memory < 0 ? EILSEQ : import(memfd, shape, now_ms, hand_over);
  }
  bytes_ = bytes;
  if (const int error = map(memfd)) return error;
  lay_out(shape);
  taken_over_ = true;
  return 0;
}

// The foreign memory stays as it is: its program goes on with it if this one does not become healthy.
int KeptMemory::import(int memfd, const Shape& shape, uint64_t now_ms, const HandOver& hand_over) {
  std::vector<uint8_t> bytes;
  if (const int error = load_records(hand_over.records, shape, bytes)) return error;
  Records records;
  if (const int error = read_records(bytes, hand_over.key, shape, now_ms, records)) return error;
  if (const int error = make(hand_over.memory, shape, now_ms)) return error;
  write_into(records, *this);
  if (dup3(hand_over.memory, memfd, O_CLOEXEC) < 0) return errno;
  taken_over_ = imported_ = true;
  imported_flows_ = records.flow_count;
  return 0;
}

int KeptMemory::make(int memfd, const Shape& shape, uint64_t now_ms) {
  bytes_ = offsets_of(shape).bytes;
  if (memfd >= 0) {
    // Sealed already: of another size, from a program that was killed as it began. Of this size: our own predecessor's.
    if (ftruncate(memfd, static_cast<off_t>(bytes_)) != 0) return errno == EPERM ? EILSEQ : errno;
    // All of it at once: memory that is not there when it is touched is a SIGBUS.
    if (fallocate(memfd, 0, 0, static_cast<off_t>(bytes_)) != 0) return errno;
    if (fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 && errno != EPERM) return errno;
  }
  if (const int error = map(memfd)) return error;
  lay_out(shape);
  initialise(shape, now_ms);
  return 0;
}

int KeptMemory::map(int memfd) {
  const int flags = memfd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, memfd, 0);
  if (memory == MAP_FAILED) return errno;
  memory_ = static_cast<uint8_t*>(memory);
  return 0;
}

void KeptMemory::unmap() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
  memory_ = nullptr;
}

void KeptMemory::lay_out(const Shape& shape) {
  const Offsets at = offsets_of(shape);
  lanes_ = shape.lanes;
  header_ = reinterpret_cast<KeptHeader*>(memory_);
  transceivers_ = reinterpret_cast<TransceiverSlot*>(memory_ + at.transceivers);
  senders_ = reinterpret_cast<SenderRecord*>(memory_ + at.senders);
  checks_ = reinterpret_cast<FlowCheck*>(memory_ + at.checks);
  flows_ = reinterpret_cast<Flow*>(memory_ + at.flows);
}

void KeptMemory::initialise(const Shape& shape, uint64_t now_ms) {
  header_->layout = kLayout;
  header_->bytes = bytes_;
  header_->entries = shape.entries;
  header_->lanes = shape.lanes;
  header_->origin_ms = now_ms;
  header_->path_key = random_key();
  header_->ufrag_key = random_key();
  header_->check_key = random_key();
  for (unsigned slot = 0; slot <= kMaxTransceivers; slot++) new (&transceivers_[slot]) TransceiverSlot{};
  for (unsigned lane = 1; lane <= lanes_; lane++) {
    for (unsigned slot = 0; slot <= kMaxTransceivers; slot++) new (&senders(lane)[slot]) SenderRecord{};
  }
  for (uint32_t i = 0; i <= shape.entries; i++) {
    new (&checks_[i]) FlowCheck{};
    (new (&flows_[i]) Flow{})->state.store(Flow::kDead, std::memory_order_relaxed);
  }
}

// From here on a successor has it.
void KeptMemory::publish() { std::atomic_ref(header_->magic).store(kMagic, std::memory_order_release); }

SenderRecord* KeptMemory::senders(unsigned lane) const {
  return reinterpret_cast<SenderRecord*>(reinterpret_cast<uint8_t*>(senders_) + (lane - 1) * kSenderBytes);
}

}  // namespace earshot
