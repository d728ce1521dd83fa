#include "raw_sender.h"

#include <netinet/ip.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "options.h"

namespace earshot::load {

RawSender::RawSender(const sockaddr_in& destination)
    : fd_(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)),
      destination_(destination),
      packets_(new std::array<uint8_t, kHeaders + kMaxPayload>[kMessages]()),
      messages_(new mmsghdr[kMessages]()),
      vectors_(new iovec[kMessages]()) {
  if (fd_ < 0) fail(std::string("no raw socket, which needs root: ") + std::strerror(errno));
  const int bytes = 8 << 20;
  setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  for (unsigned i = 0; i < kMessages; i++) {
    ip ip_header{};  // the kernel adds length, id and checksum
    ip_header.ip_v = 4;
    ip_header.ip_hl = 5;
    ip_header.ip_ttl = 64;
    ip_header.ip_p = IPPROTO_UDP;
    ip_header.ip_dst = destination.sin_addr;
    std::memcpy(packets_[i].data(), &ip_header, sizeof ip_header);
    vectors_[i].iov_base = packets_[i].data();
    messages_[i].msg_hdr.msg_iov = &vectors_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_name = &destination_;
    messages_[i].msg_hdr.msg_namelen = sizeof destination_;
  }
}

RawSender::~RawSender() { close(fd_); }

void RawSender::set(unsigned i, uint32_t address, uint16_t port, uint16_t to_port, size_t length) {
  uint8_t* const packet = packets_[i].data();
  std::memcpy(packet + offsetof(ip, ip_src), &address, sizeof address);
  udphdr udp{};  // a checksum of 0 is none (RFC 768)
  udp.source = port;
  udp.dest = to_port;
  udp.len = htons(static_cast<uint16_t>(sizeof udp + length));
  std::memcpy(packet + sizeof(ip), &udp, sizeof udp);
  vectors_[i].iov_len = kHeaders + length;
}

unsigned RawSender::send(unsigned count) {
  unsigned taken = 0;
  for (unsigned at = 0; at < count;) {
    const int sent = sendmmsg(fd_, messages_.get() + at, count - at, 0);
    if (sent > 0) {
      at += static_cast<unsigned>(sent);
      taken += static_cast<unsigned>(sent);
    } else if (errno != EINTR) {
      at++;  // refused: not sent
    }
  }
  return taken;
}

}  // namespace earshot::load
