// UDP sockets as the workers want them: non-blocking, own address family, sized buffers.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string>

namespace earshot {

// A local or remote address, IPv4 or IPv6, as the kernel takes it.
struct Endpoint {
  sockaddr_in6 address{};
  socklen_t length = 0;

  // `host` is a literal address. False if it is none.
  static bool parse(const std::string& host, uint16_t port, Endpoint& out);
  // The literal address.
  std::string host() const;
  int family() const { return address.sin6_family; }
  uint16_t port() const;  // the same place in both families
  void set_port(uint16_t port);
  bool loopback() const;
};

// An owned descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();
  int get() const { return fd_; }
  // Gives the descriptor away.
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

struct SocketOptions {
  bool reuse_port = false;
  int receive_buffer_bytes = 0;  // 0 = leave the kernel's default
};

// Opens and binds. Returns 0 or an errno. On success `local` carries the port that the kernel chose.
int open_udp(const Endpoint& bind_to, const SocketOptions& options, Fd& out, Endpoint& local);

// Where it is bound. Returns 0 or an errno.
int local_endpoint(int fd, Endpoint& out);

// What the kernel granted of a receive buffer, in bytes as they were asked for: SO_RCVBUF reports the double.
int granted_receive_buffer(int fd);

// Whether the kernel makes several datagrams of one message on this socket (UDP_SEGMENT). One that does not know of it
// may take no notice, and send all of them as one.
bool makes_segments(int fd);

// Datagrams that the kernel dropped on this socket. SO_RXQ_OVFL would report them only with a later datagram.
uint32_t kernel_drops(int fd);

// Sends all of them, in order. A message that the kernel refuses is skipped and `dropped(index, errno)` is called; when
// the kernel has no room (EAGAIN, ENOBUFS) so is every one that is left. sendmmsg hides the errno of a failing message
// behind a short count; asking again from there brings it to light.
template <class Dropped>
void send_all(int fd, mmsghdr* messages, unsigned count, Dropped dropped) {
  unsigned at = 0;
  while (at < count) {
    const int sent = sendmmsg(fd, messages + at, count - at, MSG_DONTWAIT);
    if (sent > 0) {
      at += static_cast<unsigned>(sent);
    } else if (errno == EAGAIN || errno == ENOBUFS) {
      const int error = errno;
      while (at < count) dropped(at++, error);
    } else if (errno != EINTR) {
      dropped(at++, errno);
    }
  }
}

}  // namespace earshot
