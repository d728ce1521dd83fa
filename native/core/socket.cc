#include "socket.h"

#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <utility>

namespace earshot {

static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));

bool Endpoint::parse(const std::string& host, uint16_t port, Endpoint& out) {
  out = Endpoint{};
  sockaddr_in v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    std::memcpy(&out.address, &v4, sizeof v4);
    out.length = sizeof v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &out.address.sin6_addr) == 1) {
    out.address.sin6_family = AF_INET6;
    out.length = sizeof out.address;
  } else {
    return false;
  }
  out.set_port(port);
  return true;
}

std::string Endpoint::host() const {
  char text[INET6_ADDRSTRLEN] = "";
  sockaddr_in v4;
  std::memcpy(&v4, &address, sizeof v4);
  const void* const from = family() == AF_INET6 ? static_cast<const void*>(&address.sin6_addr) : &v4.sin_addr;
  inet_ntop(family(), from, text, sizeof text);
  return text;
}

uint16_t Endpoint::port() const { return ntohs(address.sin6_port); }
void Endpoint::set_port(uint16_t port) { address.sin6_port = htons(port); }

bool Endpoint::loopback() const {
  if (family() == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&address.sin6_addr);
  sockaddr_in v4;
  std::memcpy(&v4, &address, sizeof v4);
  return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
}

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}
Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

int open_udp(const Endpoint& bind_to, const SocketOptions& options, Fd& out, Endpoint& local) {
  Fd fd(socket(bind_to.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return errno;
  const auto set = [&](int level, int name, int value) {
    return setsockopt(fd.get(), level, name, &value, sizeof value) == 0;
  };
  // Never "don't fragment": a client's datagram plus our header may exceed what a path carries in one piece.
  if (bind_to.family() == AF_INET6) {
    if (!set(IPPROTO_IPV6, IPV6_V6ONLY, 1)) return errno;
    set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
  } else {
    set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
  }
  if (options.reuse_port && !set(SOL_SOCKET, SO_REUSEPORT, 1)) return errno;
  if (options.receive_buffer_bytes > 0 && !set(SOL_SOCKET, SO_RCVBUFFORCE, options.receive_buffer_bytes)) {
    set(SOL_SOCKET, SO_RCVBUF, options.receive_buffer_bytes);  // without CAP_NET_ADMIN: capped by rmem_max
  }
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&bind_to.address), bind_to.length) != 0) return errno;
  if (const int error = local_endpoint(fd.get(), local)) return error;
  out = std::move(fd);
  return 0;
}

int local_endpoint(int fd, Endpoint& out) {
  out = Endpoint{};
  out.length = sizeof out.address;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&out.address), &out.length) == 0 ? 0 : errno;
}

int granted_receive_buffer(int fd) {
  int bytes = 0;
  socklen_t length = sizeof bytes;
  return getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &length) == 0 ? bytes / 2 : 0;
}

bool makes_segments(int fd) {
  int bytes = 0;
  socklen_t length = sizeof bytes;
  return getsockopt(fd, SOL_UDP, UDP_SEGMENT, &bytes, &length) == 0;
}

uint32_t kernel_drops(int fd) {
  uint32_t info[SK_MEMINFO_VARS] = {};
  socklen_t length = sizeof info;
  return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) == 0 ? info[SK_MEMINFO_DROPS] : 0;
}

}  // namespace earshot
