// What stands behind the classical forwarders, nginx, and the direct path in benchmarks: it sends every datagram back
// to where it came from, whatever is in it. Only ever on loopback. bench:pps and bench:latency share it.
//
//   plain_echo [--address 127.0.0.1] [--ports 1] [--discard] [--realtime]
//
// It takes consecutive ports, the first of which is its first line of output, {"port":N}; with --discard it only reads.
// For each line of input it prints {"received":N}. It ends with its input.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
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

#include "destination.h"
#include "options.h"

namespace {

using namespace earshot::load;

constexpr unsigned kBatch = 256;
constexpr size_t kBufferBytes = 2048;
constexpr int kReceiveBufferBytes = 64 << 20;
constexpr int kTries = 100;

// -1 if the port is taken.
int bound_socket(sockaddr_in& address) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int bytes = kReceiveBufferBytes;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  socklen_t length = sizeof address;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    return fd;
  }
  close(fd);
  return -1;
}

// The kernel chooses the first port; the others behind it may be taken, and then it chooses again.
std::vector<int> consecutive_sockets(sockaddr_in address, uint64_t count, uint16_t& first) {
  for (int tries = 0; tries < kTries; tries++) {
    std::vector<int> sockets;
    address.sin_port = 0;
    for (uint64_t i = 0; i < count; i++) {
      const int fd = bound_socket(address);
      if (fd < 0) break;
      if (i == 0) first = ntohs(address.sin_port);
      sockets.push_back(fd);
      address.sin_port = htons(static_cast<uint16_t>(first + i + 1));
    }
    if (sockets.size() == count) return sockets;
    for (const int fd : sockets) close(fd);
  }
  fail("no " + std::to_string(count) + " consecutive ports are free");
}

class Echo {
 public:
  Echo() {
    for (unsigned i = 0; i < kBatch; i++) {
      msghdr& header = messages_[i].msg_hdr;
      header.msg_iov = &vectors_[i];
      header.msg_iovlen = 1;
      header.msg_name = &sources_[i];
    }
  }

  // Returns how many came.
  unsigned take(int fd, bool discard) {
    for (unsigned i = 0; i < kBatch; i++) {
      vectors_[i] = {buffers_[i].data(), kBufferBytes};
      messages_[i].msg_hdr.msg_namelen = sizeof sources_[i];
    }
    const int got = recvmmsg(fd, messages_.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (got <= 0) return 0;
    const auto count = static_cast<unsigned>(got);
    for (unsigned i = 0; i < count; i++) vectors_[i].iov_len = messages_[i].msg_len;
    for (unsigned at = 0; !discard && at < count;) {
      const int sent = sendmmsg(fd, messages_.data() + at, count - at, MSG_DONTWAIT);
      if (sent > 0) at += static_cast<unsigned>(sent);
      if (sent < 0 && errno != EINTR) at++;
    }
    return count;
  }

 private:
  std::array<mmsghdr, kBatch> messages_{};
  std::array<iovec, kBatch> vectors_{};
  std::array<sockaddr_in, kBatch> sources_{};
  std::unique_ptr<std::array<uint8_t, kBufferBytes>[]> buffers_ { new std::array<uint8_t, kBufferBytes>[ kBatch ]() };
};

int run(Options& options) {
  const std::string address = options.text_or("address", "127.0.0.1");
  const uint64_t ports = options.number("ports", 1, 1, 1024);
  const bool discard = options.flag("discard");
  const bool realtime = options.flag("realtime");
  options.done();
  const sched_param priority{.sched_priority = 10};
  if (realtime && sched_setscheduler(0, SCHED_FIFO, &priority) != 0) fail("no realtime priority, which needs root");

  uint16_t first = 0;
  const std::vector<int> sockets = consecutive_sockets(permitted_destination(address, 0), ports, first);
  std::vector<pollfd> watched{{STDIN_FILENO, POLLIN, 0}};
  for (const int fd : sockets) watched.push_back({fd, POLLIN, 0});
  std::printf("{\"port\":%u}\n", first);
  std::fflush(stdout);

  Echo echo;
  unsigned long long received = 0;
  for (;;) {
    if (poll(watched.data(), watched.size(), -1) < 0) continue;
    for (size_t i = 1; i < watched.size(); i++) {
      if (watched[i].revents != 0) received += echo.take(watched[i].fd, discard);
    }
    if (watched[0].revents == 0) continue;
    char asked;
    if (read(STDIN_FILENO, &asked, 1) != 1) return 0;
    if (asked == '\n') std::printf("{\"received\":%llu}\n", received);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options(argc, argv, 1);
  return run(options);
}
