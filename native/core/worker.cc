#include "worker.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string>
#include <utility>

namespace earshot {
namespace {

// What an epoll event is about: a public socket's index, or one of these.
constexpr uint32_t kTrunk = 0xfffffffe;
constexpr uint32_t kWake = 0xffffffff;

}  // namespace

Worker::Worker(unsigned number, uint32_t sender_id, Shared& shared, Sockets sockets)
    : number_(number),
      sender_id_(sender_id),
      shared_(shared),
      trunk_(std::move(sockets.trunk)),
      batch_(new Datagram[kBatch]()),
      trunk_sender_({shared.cluster, sender_id, shared.epoch}, counters_) {
  for (PublicSocket& socket : sockets.publics) {
    publics_.push_back(std::make_unique<Public>(std::move(socket), counters_));
  }
  trunk_sender_.use(trunk_.get());
}

Worker::~Worker() { stop(); }

int Worker::start(int cpu, bool& pinned) {
  pinned = false;
  wake_ = Fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  if (wake_.get() < 0 || epoll_.get() < 0) return errno;
  const auto watch = [&](int fd, uint32_t what) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = what;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  for (uint32_t i = 0; i < publics_.size(); i++) {
    if (!watch(publics_[i]->socket.fd.get(), i)) return errno;
  }
  if (!watch(trunk_.get(), kTrunk) || !watch(wake_.get(), kWake)) return errno;

  // Signals belong to the process's main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const auto body = [](void* self) -> void* {
    static_cast<Worker*>(self)->run();
    return nullptr;
  };
  const int error = pthread_create(&thread_, nullptr, body, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return error;
  started_ = true;
  pthread_setname_np(thread_, ("earshot-w" + std::to_string(number_)).c_str());
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < CPU_SETSIZE) CPU_SET(static_cast<size_t>(cpu), &set);
    pinned = pthread_setaffinity_np(thread_, sizeof set, &set) == 0;
  }
  return 0;
}

void Worker::stop() {
  if (!started_) return;
  stopping_.store(true, std::memory_order_release);
  eventfd_write(wake_.get(), 1);
  pthread_join(thread_, nullptr);
  started_ = false;
}

bool Worker::offer(const Path& path, const uint8_t* bytes, size_t length) {
  if (length > kBufferBytes || !offers_.push(0, kNoSlot, path, bytes, length)) return false;
  eventfd_write(wake_.get(), 1);
  return true;
}

uint64_t Worker::public_kernel_drops() const {
  uint64_t drops = 0;
  for (const auto& each : publics_) drops += kernel_drops(each->socket.fd.get());
  return drops;
}
uint64_t Worker::trunk_kernel_drops() const { return kernel_drops(trunk_.get()); }

int Worker::least_receive_buffer() const {
  int least = receive_buffer_bytes(trunk_.get());
  for (const auto& each : publics_) least = std::min(least, receive_buffer_bytes(each->socket.fd.get()));
  return least;
}

// ---- the worker's thread --------------------------------------------------------------------------------------------

void Worker::run() {
  epoll_event events[kMaxIngresses + 2];
  while (!stopping_.load(std::memory_order_acquire)) {
    const int ready = epoll_wait(epoll_.get(), events, static_cast<int>(std::size(events)), -1);
    begin_batch();
    for (int i = 0; i < ready; i++) {
      switch (events[i].data.u32) {
        case kTrunk:
          receive_trunk();
          break;
        case kWake:
          eventfd_t ignored;
          eventfd_read(wake_.get(), &ignored);
          receive_offers();
          break;
        default:
          receive_public(*publics_[events[i].data.u32]);
      }
    }
    trunk_sender_.flush();
    end_batch();
  }
}

void Worker::begin_batch() {
  shared_.quiescence.begin(number_ - 1);
  now_ = shared_.now();
  keys_ = shared_.keys.load(std::memory_order_seq_cst);
  senders_.follow(shared_.directory);
  trunk_sender_.begin(*keys_);
}

void Worker::end_batch() { shared_.quiescence.end(number_ - 1); }

}  // namespace earshot
