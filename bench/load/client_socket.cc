#include "client_socket.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "clock.h"
#include "options.h"
#include "socket.h"

namespace earshot::load {
namespace {

// At 832 bytes for a queued datagram, 80,000 of them: what is lost here would look like the relay's loss.
constexpr int kReceiveBufferBytes = 64 << 20;

}  // namespace

ClientSocket::ClientSocket(const sockaddr_in& destination, uint16_t port)
    : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
      destination_(destination),
      aimed_before_(destination.sin_port),
      send_bytes_(new Buffer[kSendBatch]()),
      receive_bytes_(new Buffer[kReceiveBatch]()),
      send_control_(new Control[kSendBatch]()),
      receive_control_(new Control[kReceiveBatch]()) {
  const int on = 1;
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  if (setsockopt(fd_, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0 ||
      setsockopt(fd_, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
      bind(fd_, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) {
    fail("no socket on port " + std::to_string(port) + ": " + std::strerror(errno));
  }
  const int bytes = kReceiveBufferBytes;
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  for (unsigned i = 0; i < kSendBatch; i++) {
    send_vectors_[i].iov_base = send_bytes_[i].data();
    msghdr& header = send_messages_[i].msg_hdr;
    header.msg_iov = &send_vectors_[i];
    header.msg_iovlen = 1;
    header.msg_name = &destination_;
    header.msg_namelen = sizeof destination_;
    header.msg_control = send_control_[i].bytes;
    header.msg_controllen = CMSG_SPACE(sizeof(in_pktinfo));
    cmsghdr* const control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = IPPROTO_IP;
    control->cmsg_type = IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
  }
  for (unsigned i = 0; i < kReceiveBatch; i++) {
    receive_vectors_[i] = {receive_bytes_[i].data(), kMaxPayload};
    msghdr& header = receive_messages_[i].msg_hdr;
    header.msg_iov = &receive_vectors_[i];
    header.msg_iovlen = 1;
    header.msg_control = receive_control_[i].bytes;
    header.msg_name = &sources_[i];
    header.msg_namelen = sizeof sources_[i];
  }
}

ClientSocket::~ClientSocket() { close(fd_); }

void ClientSocket::set(unsigned i, uint32_t client, size_t length) {
  in_pktinfo info{};
  info.ipi_spec_dst.s_addr = client;
  std::memcpy(CMSG_DATA(CMSG_FIRSTHDR(&send_messages_[i].msg_hdr)), &info, sizeof info);
  send_vectors_[i].iov_len = length;
}

unsigned ClientSocket::send(unsigned count) {
  unsigned refused = 0;
  earshot::send_all(fd_, send_messages_.data(), count, [&](unsigned, int) { refused++; });
  return count - refused;
}

unsigned ClientSocket::receive() {
  for (auto& message : receive_messages_) message.msg_hdr.msg_controllen = sizeof(Control);
  const int got = recvmmsg(fd_, receive_messages_.data(), kReceiveBatch, MSG_DONTWAIT, nullptr);
  return got > 0 ? static_cast<unsigned>(got) : 0;
}

ClientSocket::Received ClientSocket::received(unsigned i) const {
  const sockaddr_in& from = sources_[i];
  const bool port_known = from.sin_port == destination_.sin_port || from.sin_port == aimed_before_;
  const bool from_elsewhere = from.sin_addr.s_addr != destination_.sin_addr.s_addr || !port_known;
  Received out{receive_bytes_[i].data(), receive_messages_[i].msg_len, 0, 0, from_elsewhere};
  auto* const header = const_cast<msghdr*>(&receive_messages_[i].msg_hdr);  // the macros take nothing else
  for (cmsghdr* each = CMSG_FIRSTHDR(header); each != nullptr; each = CMSG_NXTHDR(header, each)) {
    if (each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(each), sizeof info);
      out.client = info.ipi_addr.s_addr;
    } else if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_TIMESTAMPNS) {
      timespec time;
      std::memcpy(&time, CMSG_DATA(each), sizeof time);
      out.arrived_ns = static_cast<uint64_t>(time.tv_sec) * kSecondNs + static_cast<uint64_t>(time.tv_nsec);
    }
  }
  return out;
}

void ClientSocket::wait(int most_ms) const {
  pollfd watched{fd_, POLLIN, 0};
  poll(&watched, 1, most_ms);
}

uint32_t ClientSocket::kernel_drops() const { return earshot::kernel_drops(fd_); }

}  // namespace earshot::load
