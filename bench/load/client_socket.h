// One UDP socket that plays many clients: each has an address of its own, all have the same port. The machine's local
// table must hold these addresses, as it holds 127.0.0.0/8.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace earshot::load {

class ClientSocket {
 public:
  // Small, because the time of sending is read once for a batch.
  static constexpr unsigned kSendBatch = 16;
  static constexpr unsigned kReceiveBatch = 256;
  static constexpr size_t kMaxPayload = 1472;

  struct Received {
    const uint8_t* bytes;
    size_t length;
    uint32_t client;      // the address that it came to, network byte order
    uint64_t arrived_ns;  // CLOCK_REALTIME, when the kernel had it: no wait of ours is in it
    bool from_elsewhere;  // not from the address and a port that this socket has sent to
  };

  ClientSocket(const sockaddr_in& destination, uint16_t port);
  ~ClientSocket();
  ClientSocket(const ClientSocket&) = delete;
  ClientSocket& operator=(const ClientSocket&) = delete;

  // Everything goes to this port of the same address from now on.
  void aim(uint16_t port) {
    aimed_before_ = destination_.sin_port;
    destination_.sin_port = htons(port);
  }

  uint8_t* payload(unsigned i) { return send_bytes_[i].data(); }
  void set(unsigned i, uint32_t client, size_t length);
  // Sends the first `count`. Returns how many the kernel took.
  unsigned send(unsigned count);

  // Takes what is there, up to a batch, without waiting.
  unsigned receive();
  Received received(unsigned i) const;
  // Until something is there, or so long.
  void wait(int most_ms) const;

  // Datagrams that came and found no room here.
  uint32_t kernel_drops() const;

 private:
  using Buffer = std::array<uint8_t, kMaxPayload>;
  struct alignas(cmsghdr) Control {
    uint8_t bytes[128];
  };

  int fd_;
  sockaddr_in destination_;
  in_port_t aimed_before_;
  std::unique_ptr<Buffer[]> send_bytes_;
  std::unique_ptr<Buffer[]> receive_bytes_;
  std::unique_ptr<Control[]> send_control_;
  std::unique_ptr<Control[]> receive_control_;
  std::array<sockaddr_in, kReceiveBatch> sources_{};
  std::array<iovec, kSendBatch> send_vectors_{};
  std::array<iovec, kReceiveBatch> receive_vectors_{};
  std::array<mmsghdr, kSendBatch> send_messages_{};
  std::array<mmsghdr, kReceiveBatch> receive_messages_{};
};

}  // namespace earshot::load
