// Trunk datagrams and frames that a relay must drop, one of each kind, made from a good datagram: what a broken or
// hostile transceiver sends. For tests of the relay's accounting; what each one is dropped as, the conformance suite
// says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "constants.h"
#include "trunk.h"

namespace earshot::load {

// `header` is the good datagram's, but with a sequence that has not been used. `good` is sealed and has been sent.
// Calls `send(bytes, length)` for each.
template <class Send>
void for_each_mischief(const TrunkHeader& header, const SipKey& key, const uint8_t* good, size_t good_length,
                       Send send) {
  uint8_t bytes[kBufferBytes + 1] = {};
  if (good_length > sizeof bytes) return;
  const size_t unsealed = good_length - kTrunkTagBytes;

  send(bytes, size_t{0});
  send(good, kMinTrunkBytes - 1);
  send(bytes, sizeof bytes);  // larger than a receive buffer
  send(good, good_length);    // again

  std::memcpy(bytes, good, good_length);
  bytes[good_length - 1] ^= 1;
  send(bytes, good_length);  // the tag is wrong

  const auto with_header = [&](const TrunkHeader& changed) {
    std::memcpy(bytes, good, unsealed);
    write_trunk_header(changed, bytes);
    seal_trunk(bytes, unsealed, key);
    send(bytes, good_length);
  };
  TrunkHeader changed = header;
  changed.key_id ^= 1;
  with_header(changed);
  changed = header;
  changed.target_epoch ^= 1;
  with_header(changed);
  changed = header;
  changed.sender_id ^= 1;
  with_header(changed);

  // Good on the outside. Of its frames the relay knows no such path, obeys no such ufrags, and cannot read the last
  // one.
  constexpr uint8_t kUfrag[32] = {'A'};
  Path path;
  path.family = 4;
  path.ingress = 1;
  path.port = 1;
  write_trunk_header(header, bytes);
  size_t length = kTrunkHeaderBytes;
  length += write_frame(FrameKind::data, path, kUfrag, sizeof kUfrag, bytes + length);
  length += write_frame(FrameKind::promote, path, kUfrag, sizeof kUfrag, bytes + length);
  length += write_frame(FrameKind::flow_end, path, kUfrag, sizeof kUfrag, bytes + length);
  length += write_frame(FrameKind::unknown_path, path, kUfrag, 0, bytes + length);
  seal_trunk(bytes, length, key);
  send(bytes, length + kTrunkTagBytes);
}

}  // namespace earshot::load
