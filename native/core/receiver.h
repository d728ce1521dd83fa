// Preallocated buffers for recvmmsg; per batch they are only reset. Owned by one worker.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <memory>

#include "constants.h"

namespace earshot {

class Receiver {
 public:
  Receiver()
      : bytes_(new uint8_t[kBatch * kBufferBytes]()),
        messages_(new mmsghdr[kBatch]()),
        vectors_(new iovec[kBatch]()),
        sources_(new sockaddr_in6[kBatch]()) {
    for (unsigned i = 0; i < kBatch; i++) {
      vectors_[i] = {bytes_.get() + i * kBufferBytes, kBufferBytes};
      messages_[i].msg_hdr.msg_iov = &vectors_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
      messages_[i].msg_hdr.msg_name = &sources_[i];
      messages_[i].msg_hdr.msg_namelen = sizeof(sockaddr_in6);
    }
  }

  // Reads what is there, at most kBatch datagrams. 0 if nothing is, or on an error (which the next call shows again
  // or which was an ICMP message about an earlier datagram).
  unsigned receive(int fd) {
    for (unsigned i = 0; i < last_; i++) messages_[i].msg_hdr.msg_namelen = sizeof(sockaddr_in6);
    const int got = recvmmsg(fd, messages_.get(), kBatch, MSG_DONTWAIT, nullptr);
    last_ = got > 0 ? static_cast<unsigned>(got) : 0;
    return last_;
  }

  const uint8_t* bytes(unsigned i) const { return bytes_.get() + i * kBufferBytes; }
  size_t length(unsigned i) const { return messages_[i].msg_len; }
  bool truncated(unsigned i) const { return (messages_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0; }
  const sockaddr_in6& source(unsigned i) const { return sources_[i]; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  std::unique_ptr<mmsghdr[]> messages_;
  std::unique_ptr<iovec[]> vectors_;
  std::unique_ptr<sockaddr_in6[]> sources_;
  unsigned last_ = 0;
};

}  // namespace earshot
