#include "lanes.h"

#include <fcntl.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <utility>

namespace earshot {
namespace {

std::string name_of(const Ingress& ingress) { return "ingress " + std::to_string(ingress.id); }

int open_ingress(const LaneOptions& options, Ingress& ingress, std::vector<LaneSockets>& lanes) {
  Endpoint local;
  if (ingress.endpoint.port() != 0) {
    // A bind with SO_REUSEPORT would succeed on a port that another relay serves, and take half of its packets.
    Fd probe;
    if (const int error = open_udp(ingress.endpoint, {}, probe, local)) return error;
  }
  for (LaneSockets& lane : lanes) {
    Fd fd;
    const SocketOptions wanted{.reuse_port = true, .receive_buffer_bytes = options.receive_buffer_bytes};
    if (const int error = open_udp(ingress.endpoint, wanted, fd, local)) return error;
    ingress.endpoint = local;  // the first lane's socket chooses the port for all
    lane.publics.push_back(std::move(fd));
  }
  return 0;
}

int open_trunk(const LaneOptions& options, std::vector<LaneSockets>& lanes) {
  for (unsigned l = 0; l < lanes.size(); l++) {
    Endpoint wanted = options.trunk;
    if (wanted.port() != 0) wanted.set_port(static_cast<uint16_t>(wanted.port() + l + 1));
    Endpoint local;
    const SocketOptions socket{.reuse_port = false, .receive_buffer_bytes = options.receive_buffer_bytes};
    if (const int error = open_udp(wanted, socket, lanes[l].trunk, local)) return error;
    lanes[l].trunk_port = local.port();
  }
  return 0;
}

// Whether it is a UDP socket bound to this address; `local` gets the port.
bool is_bound_to(int fd, const Endpoint& expected, Endpoint& local) {
  int protocol = 0;
  socklen_t length = sizeof protocol;
  if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) != 0 || protocol != IPPROTO_UDP) return false;
  if (local_endpoint(fd, local) != 0 || local.length != expected.length || local.port() == 0) return false;
  Endpoint same_port = expected;
  if (expected.port() == 0) same_port.set_port(local.port());
  return std::memcmp(&same_port.address, &local.address, local.length) == 0;
}

Failure adopt(int fd, const Endpoint& expected, const std::string& about, Fd& out, Endpoint& local) {
  if (!is_bound_to(fd, expected, local)) return {EINVAL, about};
  out = Fd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return out.get() < 0 ? Failure{errno, about} : Failure{};
}

void warn_of_short_buffers(int wanted, Lanes& lanes) {
  int least = wanted;
  for (const LaneSockets& lane : lanes.lanes) {
    const GrantedBuffers granted = granted_buffers(lane);
    least = std::min({least, granted.least_public, granted.least_trunk});
  }
  if (least >= wanted) return;
  lanes.warnings.push_back("receive buffers are " + std::to_string(least) + " bytes instead of " +
                           std::to_string(wanted) + ": set net.core.rmem_max to at least that (sysctl -w " +
                           "net.core.rmem_max=" + std::to_string(wanted) + "), or add CAP_NET_ADMIN");
}

}  // namespace

GrantedBuffers granted_buffers(const LaneSockets& lane) {
  GrantedBuffers granted{INT_MAX, granted_receive_buffer(lane.trunk.get())};
  for (const Fd& fd : lane.publics)
    granted.least_public = std::min(granted.least_public, granted_receive_buffer(fd.get()));
  return granted;
}

Failure open_lanes(const LaneOptions& options, Lanes& out) {
  Lanes opened;
  opened.ingresses = options.ingresses;
  opened.lanes.resize(options.lanes);
  for (Ingress& ingress : opened.ingresses) {
    if (const int error = open_ingress(options, ingress, opened.lanes)) return {error, name_of(ingress)};
  }
  if (const int error = open_trunk(options, opened.lanes)) return {error, "trunk"};
  warn_of_short_buffers(options.receive_buffer_bytes, opened);
  out = std::move(opened);
  return {};
}

Failure adopt_lanes(const LaneOptions& options, const std::vector<LaneDescriptors>& descriptors, Lanes& out) {
  if (descriptors.size() != options.lanes) return {EINVAL, "lanes"};
  Lanes adopted;
  adopted.ingresses = options.ingresses;
  for (const LaneDescriptors& from : descriptors) {
    LaneSockets& lane = adopted.lanes.emplace_back();
    if (from.publics.size() != adopted.ingresses.size()) return {EINVAL, "lanes"};
    for (size_t i = 0; i < from.publics.size(); i++) {
      // With port 0 the first lane tells the port, and the others must have the same.
      Ingress& ingress = adopted.ingresses[i];
      Endpoint local;
      Failure failure = adopt(from.publics[i], ingress.endpoint, name_of(ingress), lane.publics.emplace_back(), local);
      if (failure.error != 0) return failure;
      ingress.endpoint = local;
    }
    Endpoint any_port = options.trunk, local;
    any_port.set_port(0);
    if (Failure failure = adopt(from.trunk, any_port, "trunk", lane.trunk, local); failure.error != 0) return failure;
    lane.trunk_port = local.port();
  }
  out = std::move(adopted);
  return {};
}

}  // namespace earshot
