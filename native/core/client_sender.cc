#include "client_sender.h"

#include "socket.h"

namespace earshot {

ClientSender::ClientSender(int fd, Counters& counters)
    : fd_(fd),
      counters_(counters),
      messages_(new mmsghdr[kBatch]()),
      vectors_(new iovec[kBatch]()),
      addresses_(new sockaddr_in6[kBatch]()) {
  for (unsigned i = 0; i < kBatch; i++) {
    messages_[i].msg_hdr.msg_iov = &vectors_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_name = &addresses_[i];
  }
}

void ClientSender::append(const Path& path, const uint8_t* payload, size_t length) {
  if (used_ == kBatch) flush();
  vectors_[used_].iov_base = const_cast<uint8_t*>(payload);  // sendmmsg only reads
  vectors_[used_].iov_len = length;
  messages_[used_].msg_hdr.msg_namelen = write_sockaddr(path, addresses_[used_]);
  used_++;
}

void ClientSender::flush() {
  if (used_ == 0) return;
  uint64_t dropped = 0;
  send_all(fd_, messages_.get(), used_, [&](unsigned, int) { dropped++; });
  counters_.add(Counter::frame_forwarded, used_ - dropped);
  counters_.add(Counter::frame_drop_send, dropped);
  used_ = 0;
}

}  // namespace earshot
