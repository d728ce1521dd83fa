#include "worker.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace earshot {
namespace {

// What an epoll event is about: an index of sources_, or this.
constexpr uint32_t kWake = UINT32_MAX;

// Sockets that one turn looks after at most; what else is ready is there in the next.
constexpr int kEvents = 64;

}  // namespace

Worker::Worker(Work work, const std::vector<Ingress>& ingresses, Shared& shared)
    : work_(std::move(work)),
      shared_(shared),
      counters_(work_.desk->counters),
      to_control_(work_.desk->to_control),
      asks_(work_.desk->asks),
      batch_(new Datagram[kBatch]()),
      trunk_sender_({shared.cluster, work_.lanes[0]->sender_id, shared.epoch}, counters_) {
  const LaneSockets& home = work_.lanes[0]->sockets;
  publics_.reserve(ingresses.size());
  for (size_t i = 0; i < ingresses.size(); i++) {
    publics_.push_back(
        {ingresses[i].id, ingresses[i].endpoint.loopback(), ClientSender(home.publics[i].get(), counters_)});
  }
  trunk_sender_.use(home.trunk.get());
  for (Lane* lane : work_.lanes) {
    for (size_t i = 0; i < ingresses.size(); i++) sources_.push_back({lane, i});
    sources_.push_back({lane, Source::kTrunk});
  }
}

Worker::~Worker() { stop(); }

int Worker::start(int cpu, bool& pinned) {
  pinned = false;
  wake_ = Fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  if (wake_.get() < 0 || epoll_.get() < 0) return errno;
  for (uint32_t i = 0; i < sources_.size(); i++) {
    const auto& [lane, which] = sources_[i];
    const Fd& fd = which == Source::kTrunk ? lane->sockets.trunk : lane->sockets.publics[which];
    if (const int error = watch(fd.get(), i)) return error;
  }
  if (const int error = watch(wake_.get(), kWake)) return error;

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
  pthread_setname_np(thread_, ("earshot-w" + std::to_string(work_.number)).c_str());
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

void Worker::wake() { eventfd_write(wake_.get(), 1); }

int Worker::watch(int fd, uint32_t what) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = what;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

// ---- the worker's thread --------------------------------------------------------------------------------------------

void Worker::run() {
  epoll_event events[kEvents];
  // The kernel rounds sleeps up by this much: 50 us unless told otherwise, which would double the gathering.
  prctl(PR_SET_TIMERSLACK, 1000);
  begin_batch();
  hold_ms_ = shared_.hold_ms.load(std::memory_order_acquire);
  receive_offers();  // what earlier workers have left
  trunk_sender_.flush();
  end_batch();
  while (!stopping_.load(std::memory_order_acquire)) {
    if (gather_.wanted()) gather();
    const int ready = epoll_wait(epoll_.get(), events, kEvents, -1);
    begin_batch();
    for (int i = 0; i < ready; i++) {
      if (events[i].data.u32 != kWake) {
        receive(sources_[events[i].data.u32]);
        continue;
      }
      eventfd_t ignored;
      eventfd_read(wake_.get(), &ignored);
      // After the read, or the end of holding could be missed.
      const uint32_t held_ms = std::exchange(hold_ms_, shared_.hold_ms.load(std::memory_order_acquire));
      receive_offers();
      if (held_ms != 0 && hold_ms_ == 0) release_all();
    }
    trunk_sender_.flush();
    end_batch();
  }
  begin_batch();
  receive_offers();  // nobody else will, if another process goes on
  release_all();
  trunk_sender_.flush();
  end_batch();
}

// Outside of any batch: nobody waits for it meanwhile.
void Worker::gather() const {
  if (work_.gather_us == 0) return;
  const timespec time{0, static_cast<long>(work_.gather_us) * 1000};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
}

void Worker::begin_batch() {
  shared_.quiescence.begin(work_.number - 1);
  now_ = shared_.now();
  keys_ = shared_.keys.load(std::memory_order_seq_cst);
  trunk_sender_.begin(*keys_);
}

void Worker::receive(const Source& source) {
  const auto& [lane, which] = source;
  if (which == Source::kTrunk) return receive_trunk(*lane);
  receive_public(lane->sockets.publics[which].get(), publics_[which]);
}

// Into receiver_. Returns how many came.
unsigned Worker::read(int fd) {
  const unsigned got = receiver_.receive(fd);
  taken_ += got;
  full_ |= got == kBatch;
  return got;
}

void Worker::end_batch() {
  shared_.quiescence.end(work_.number - 1);
  gather_.took(std::exchange(taken_, 0), std::exchange(full_, false), Shared::coarse_ms());
}

}  // namespace earshot
