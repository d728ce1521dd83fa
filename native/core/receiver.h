// Preallocated buffers for recvmmsg; per batch they are only reset. One thread's.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdint>
#include <cstring>
#include <memory>

#include "constants.h"

namespace earshot {

class Receiver {
 public:
  struct Sizes {
    unsigned batch = kBatch;
    size_t buffer_bytes = kBufferBytes;
    bool timestamps = false;  // room for what a socket with SO_TIMESTAMPNS adds
  };

  Receiver() : Receiver(Sizes{}) {}
  explicit Receiver(const Sizes& sizes)
      : sizes_(sizes),
        bytes_(new uint8_t[sizes.batch * sizes.buffer_bytes]()),
        messages_(new mmsghdr[sizes.batch]()),
        vectors_(new iovec[sizes.batch]()),
        sources_(new sockaddr_in6[sizes.batch]()),
        stamps_(sizes.timestamps ? new Stamp[sizes.batch]() : nullptr) {
    for (unsigned i = 0; i < sizes_.batch; i++) {
      vectors_[i] = {bytes_.get() + i * sizes_.buffer_bytes, sizes_.buffer_bytes};
      msghdr& header = messages_[i].msg_hdr;
      header.msg_iov = &vectors_[i];
      header.msg_iovlen = 1;
      header.msg_name = &sources_[i];
      if (sizes_.timestamps) header.msg_control = stamps_[i].bytes;
      reset(header);
    }
  }

  // Reads what is there, at most a batch. 0 if nothing is, or on an error (which the next call shows again or which was
  // an ICMP message about an earlier datagram).
  unsigned receive(int fd) {
    for (unsigned i = 0; i < last_; i++) reset(messages_[i].msg_hdr);
    const int got = recvmmsg(fd, messages_.get(), sizes_.batch, MSG_DONTWAIT, nullptr);
    last_ = got > 0 ? static_cast<unsigned>(got) : 0;
    return last_;
  }

  const uint8_t* bytes(unsigned i) const { return bytes_.get() + i * sizes_.buffer_bytes; }
  size_t length(unsigned i) const { return messages_[i].msg_len; }
  bool truncated(unsigned i) const { return (messages_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0; }
  const sockaddr_in6& source(unsigned i) const { return sources_[i]; }
  socklen_t source_length(unsigned i) const { return messages_[i].msg_hdr.msg_namelen; }
  // When the kernel got it, by the realtime clock. False if the kernel did not say.
  bool arrived(unsigned i, timespec& at) const {
    const msghdr& header = messages_[i].msg_hdr;
    const cmsghdr* const stamp = CMSG_FIRSTHDR(&header);
    if (stamp == nullptr || stamp->cmsg_level != SOL_SOCKET || stamp->cmsg_type != SCM_TIMESTAMPNS) return false;
    std::memcpy(&at, CMSG_DATA(stamp), sizeof at);
    return true;
  }

 private:
  struct Stamp {
    alignas(cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(timespec))];
  };

  void reset(msghdr& header) const {
    header.msg_namelen = sizeof(sockaddr_in6);
    header.msg_controllen = sizes_.timestamps ? sizeof(Stamp) : 0;
  }

  const Sizes sizes_;
  std::unique_ptr<uint8_t[]> bytes_;
  std::unique_ptr<mmsghdr[]> messages_;
  std::unique_ptr<iovec[]> vectors_;
  std::unique_ptr<sockaddr_in6[]> sources_;
  std::unique_ptr<Stamp[]> stamps_;
  unsigned last_ = 0;
};

}  // namespace earshot
