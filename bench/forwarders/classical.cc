// The classical native forwarder: what a relay written straight down with recvmmsg and sendmmsg does. A rival in
// benchmarks, never part of Earshot. bench:pps and bench:latency share it.
//
//   classical --address 127.0.0.1 --upstream-port P [--port 0] [--upstreams 1] [--flows 65536]
//             [--receive-buffer-bytes 212992] [--reuse-port]
//
// One thread. A client's first datagram makes its flow; the flows go to the upstreams, which are consecutive ports of
// the same address, in turn. Each client datagram becomes one upstream datagram behind the number of its flow (4
// bytes), so that one connected socket serves all flows of an upstream; an upstream datagram goes to the client whose
// number stands before it. Copies nothing, checks nothing, authenticates nobody: it is meant to be as fast as this
// shape can be.
//
// Its first line of output is {"port":N}. For each line of input it prints its counts as a line of JSON. It ends with
// its input.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "options.h"

namespace {

using earshot::load::fail;
using earshot::load::Options;

constexpr unsigned kBatch = 256;
constexpr size_t kBufferBytes = 2048;
constexpr size_t kHeaderBytes = 4;  // the number of the flow, in this machine's byte order
constexpr uint32_t kNone = ~uint32_t{0};

struct Counts {
  unsigned long long up_received = 0, up_forwarded = 0, down_received = 0, down_forwarded = 0, dropped = 0;
};

// Messages that leave by one socket.
struct Outbox {
  int fd = -1;
  unsigned count = 0;
  std::array<mmsghdr, kBatch> messages{};
  std::array<iovec, kBatch> vectors{};

  void add(uint8_t* bytes, size_t length, sockaddr_in* to) {
    vectors[count] = {bytes, length};
    msghdr& header = messages[count].msg_hdr;
    header.msg_iov = &vectors[count];
    header.msg_iovlen = 1;
    header.msg_name = to;
    header.msg_namelen = to != nullptr ? sizeof *to : 0;
    count++;
  }

  // Returns how many the kernel took; what it refuses is lost.
  unsigned flush() {
    unsigned taken = 0;
    for (unsigned at = 0; at < count;) {
      const int sent = sendmmsg(fd, messages.data() + at, count - at, MSG_DONTWAIT);
      if (sent < 0 && errno != EINTR) at++;
      if (sent > 0) {
        at += static_cast<unsigned>(sent);
        taken += static_cast<unsigned>(sent);
      }
    }
    count = 0;
    return taken;
  }
};

// Client addresses by number, and numbers by address: open addressing, at most half full, never emptied.
class Flows {
 public:
  explicit Flows(size_t capacity) : clients_(capacity) {
    while (size_t{1} << (64 - shift_) < 2 * capacity) shift_--;
    cells_.resize(size_t{1} << (64 - shift_), {0, kNone});
  }

  // kNone if there is no room.
  uint32_t number_of(const sockaddr_in& client) {
    const uint64_t key = uint64_t{client.sin_addr.s_addr} << 16 | client.sin_port;
    // Fibonacci hashing: the upper bits are the good ones.
    for (uint64_t at = (key * 0x9e3779b97f4a7c15) >> shift_;; at++) {
      Cell& cell = cells_[at & (cells_.size() - 1)];
      if (cell.number != kNone && cell.key == key) return cell.number;
      if (cell.number != kNone) continue;
      if (used_ == clients_.size()) return kNone;
      clients_[used_] = client;
      cell = {key, used_};
      return used_++;
    }
  }
  sockaddr_in* client(uint32_t number) { return number < used_ ? &clients_[number] : nullptr; }

 private:
  struct Cell {
    uint64_t key;
    uint32_t number;
  };
  std::vector<sockaddr_in> clients_;
  std::vector<Cell> cells_;
  unsigned shift_ = 63;
  uint32_t used_ = 0;
};

class Forwarder {
 public:
  Forwarder(int fd, const std::vector<int>& upstreams, size_t flows) : flows_(flows), upstreams_(upstreams.size()) {
    client_side_.fd = fd;
    for (size_t i = 0; i < upstreams.size(); i++) upstreams_[i].fd = upstreams[i];
    for (unsigned i = 0; i < kBatch; i++) {
      msghdr& header = received_[i].msg_hdr;
      header.msg_iov = &vectors_[i];
      header.msg_iovlen = 1;
    }
  }

  void up() {
    const unsigned got = receive(client_side_.fd, kHeaderBytes);
    counts_.up_received += got;
    for (unsigned i = 0; i < got; i++) {
      const uint32_t number = flows_.number_of(sources_[i]);
      if (number == kNone) {
        counts_.dropped++;
        continue;
      }
      std::memcpy(buffers_[i].data(), &number, kHeaderBytes);
      upstreams_[number % upstreams_.size()].add(buffers_[i].data(), kHeaderBytes + received_[i].msg_len, nullptr);
    }
    for (Outbox& upstream : upstreams_) {
      const unsigned count = upstream.count;
      const unsigned taken = upstream.flush();
      counts_.up_forwarded += taken;
      counts_.dropped += count - taken;
    }
  }

  void down(size_t upstream) {
    const unsigned got = receive(upstreams_[upstream].fd, 0);
    counts_.down_received += got;
    for (unsigned i = 0; i < got; i++) {
      uint32_t number = kNone;
      if (received_[i].msg_len > kHeaderBytes) std::memcpy(&number, buffers_[i].data(), kHeaderBytes);
      sockaddr_in* const client = flows_.client(number);
      if (client == nullptr) {
        counts_.dropped++;
      } else {
        client_side_.add(buffers_[i].data() + kHeaderBytes, received_[i].msg_len - kHeaderBytes, client);
      }
    }
    const unsigned count = client_side_.count;
    const unsigned taken = client_side_.flush();
    counts_.down_forwarded += taken;
    counts_.dropped += count - taken;
  }

  const Counts& counts() const { return counts_; }

 private:
  // Behind `room` bytes of each buffer.
  unsigned receive(int fd, size_t room) {
    for (unsigned i = 0; i < kBatch; i++) {
      vectors_[i] = {buffers_[i].data() + room, kBufferBytes - room};
      received_[i].msg_hdr.msg_name = &sources_[i];
      received_[i].msg_hdr.msg_namelen = sizeof sources_[i];
    }
    const int got = recvmmsg(fd, received_.data(), kBatch, MSG_DONTWAIT, nullptr);
    return got > 0 ? static_cast<unsigned>(got) : 0;
  }

  Flows flows_;
  Outbox client_side_;
  std::vector<Outbox> upstreams_;
  Counts counts_;
  std::array<mmsghdr, kBatch> received_{};
  std::array<iovec, kBatch> vectors_{};
  std::array<sockaddr_in, kBatch> sources_{};
  std::unique_ptr<std::array<uint8_t, kBufferBytes>[]> buffers_ { new std::array<uint8_t, kBufferBytes>[ kBatch ]() };
};

int udp_socket(int receive_buffer_bytes) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail(std::string("no socket: ") + std::strerror(errno));
  const int bytes = receive_buffer_bytes;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  return fd;
}

void print(const Counts& counts) {
  std::printf(
      "{\"upReceived\":%llu,\"upForwarded\":%llu,\"downReceived\":%llu,\"downForwarded\":%llu,\"dropped\":%llu}\n",
      counts.up_received, counts.up_forwarded, counts.down_received, counts.down_forwarded, counts.dropped);
  std::fflush(stdout);
}

int run(Options& options) {
  const std::string address = options.text("address");
  sockaddr_in local{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
  if (inet_pton(AF_INET, address.c_str(), &local.sin_addr) != 1) fail("expected an IPv4 address, got " + address);
  sockaddr_in target = local;
  local.sin_port = htons(static_cast<uint16_t>(options.number("port", 0, 0, 65535)));
  const uint64_t upstream_port = options.number("upstream-port", 0, 1, 65535);
  const uint64_t upstreams = options.number("upstreams", 1, 1, 1024);
  const uint64_t flows = options.number("flows", 65'536, 1, 1u << 24);
  const auto buffer = static_cast<int>(options.number("receive-buffer-bytes", 212'992, 4096, 1u << 30));
  const bool reuse_port = options.flag("reuse-port");
  options.done();
  if (upstream_port == 0) fail("--upstream-port needs a value");

  const int on = 1;
  const int fd = udp_socket(buffer);
  socklen_t length = sizeof local;
  if (reuse_port) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) != 0) {
    fail("no socket on " + address + ": " + std::strerror(errno));
  }
  std::vector<int> sockets;
  for (uint64_t i = 0; i < upstreams; i++) {
    target.sin_port = htons(static_cast<uint16_t>(upstream_port + i));
    sockets.push_back(udp_socket(buffer));
    if (connect(sockets.back(), reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
      fail(std::string("no way to an upstream: ") + std::strerror(errno));
    }
  }

  // What an event is for: an upstream's number, or one of these.
  constexpr uint64_t kClients = ~uint64_t{0}, kInput = kClients - 1;
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  const auto watch = [&](int watched, uint64_t what) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = what}};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, watched, &event) != 0) fail("epoll_ctl failed");
  };
  watch(fd, kClients);
  watch(STDIN_FILENO, kInput);
  for (uint64_t i = 0; i < upstreams; i++) watch(sockets[i], i);

  Forwarder forwarder(fd, sockets, flows);
  std::printf("{\"port\":%u}\n", ntohs(local.sin_port));
  std::fflush(stdout);
  for (;;) {
    std::array<epoll_event, 64> events;
    const int count = epoll_wait(poll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; i++) {
      const uint64_t what = events[static_cast<size_t>(i)].data.u64;
      if (what == kClients) {
        forwarder.up();
      } else if (what != kInput) {
        forwarder.down(what);
      } else {
        char asked;
        if (read(STDIN_FILENO, &asked, 1) != 1) return 0;
        if (asked == '\n') print(forwarder.counts());
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options(argc, argv, 1);
  return run(options);
}
