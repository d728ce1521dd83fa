// Sends UDP datagrams with any source through a raw socket, a batch at a time. Needs root (CAP_NET_RAW). Whoever uses
// it has had the destination and the sources permitted by destination.h.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace earshot::load {

class RawSender {
 public:
  static constexpr unsigned kMessages = 64;
  static constexpr size_t kMaxPayload = 1472;

  explicit RawSender(const sockaddr_in& destination);
  ~RawSender();
  RawSender(const RawSender&) = delete;
  RawSender& operator=(const RawSender&) = delete;

  // Where the i-th message's payload goes, up to kMaxPayload bytes. It stays as it was between two batches.
  uint8_t* payload(unsigned i) { return packets_[i].data() + kHeaders; }
  // `address` and `port` in network byte order.
  void set(unsigned i, uint32_t address, uint16_t port, size_t length) {
    set(i, address, port, destination_.sin_port, length);
  }
  // The same to another port of the destination.
  void set(unsigned i, uint32_t address, uint16_t port, uint16_t to_port, size_t length);
  // Sends the first `count` messages. Returns how many the kernel took.
  unsigned send(unsigned count);

 private:
  static constexpr size_t kHeaders = 20 + 8;

  int fd_;
  sockaddr_in destination_;
  std::unique_ptr<std::array<uint8_t, kHeaders + kMaxPayload>[]> packets_;
  std::unique_ptr<mmsghdr[]> messages_;
  std::unique_ptr<iovec[]> vectors_;
};

}  // namespace earshot::load
