// Lanes: the fixed set of sockets of a relay. A lane is one public socket for each ingress and one trunk socket with a
// port id of its own. Workers own sets of lanes, so that another number of workers, or another process, opens and
// closes no socket: closing one of several that share a port would lose what is queued there and move flows.
//
// This file opens lanes, or takes over ones that another process has opened. It knows nothing of workers or packets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "socket.h"

namespace earshot {

// A local address:port that clients send to.
struct Ingress {
  uint16_t id;
  Endpoint endpoint;
};

struct LaneSockets {
  std::vector<Fd> publics;  // one for each ingress, in their order
  Fd trunk;
  uint16_t trunk_port = 0;
};

// The same as bare descriptors, of which somebody else is the owner.
struct LaneDescriptors {
  std::vector<int> publics;
  int trunk = -1;
};

struct LaneOptions {
  std::vector<Ingress> ingresses;
  Endpoint trunk;  // lane l, from 1, binds its port + l, or any port if it is 0
  unsigned lanes = 1;
  int receive_buffer_bytes = 0;
};

struct Lanes {
  std::vector<Ingress> ingresses;  // as bound
  std::vector<LaneSockets> lanes;
  std::vector<std::string> warnings;
};

// Receive buffers in bytes as they were asked for; 0 without lanes.
struct GrantedBuffers {
  int least_public = 0;
  int least_trunk = 0;
};
GrantedBuffers granted_buffers(const LaneSockets& lane);

// Why something could not start: an errno, and what it was about.
struct Failure {
  int error = 0;
  std::string about;
};

// Binds every socket. On failure nothing stays open.
Failure open_lanes(const LaneOptions& options, Lanes& out);

// Duplicates descriptors that are open and bound already; the caller's stay open. Fails with EINVAL where they are not
// what `options` describes. The receive buffers stay as they are: who has opened them has said whether they are short.
Failure adopt_lanes(const LaneOptions& options, const std::vector<LaneDescriptors>& descriptors, Lanes& out);

}  // namespace earshot
