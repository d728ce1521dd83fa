// Sends frames' payloads to clients from one public socket, a batch at a time, straight from the receive buffers: those
// must stay as they are until flush(). Owned by one worker. Allocates at construction only.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>

#include "constants.h"
#include "counters.h"
#include "path.h"

namespace earshot {

class ClientSender {
 public:
  ClientSender(int fd, Counters& counters);

  // Counts frame_forwarded or frame_drop_send when it is sent.
  void append(const Path& path, const uint8_t* payload, size_t length);
  void flush();

 private:
  int fd_;
  Counters& counters_;
  unsigned used_ = 0;
  std::unique_ptr<mmsghdr[]> messages_;
  std::unique_ptr<iovec[]> vectors_;
  std::unique_ptr<sockaddr_in6[]> addresses_;
};

}  // namespace earshot
