#include "destination.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "options.h"

namespace earshot::load {
namespace {

constexpr uint32_t kLoopbackNetwork = 127u << 24;
constexpr uint32_t kLoopbackMask = 0xff000000;
// 198.18.0.0/15: for tests of network equipment, so nobody is there (RFC 2544).
constexpr uint32_t kTestNetwork = 198u << 24 | 18u << 16;
constexpr uint32_t kTestMask = 0xfffe0000;

bool is_local(sockaddr_in address) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  address.sin_port = 0;
  const bool bound = fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return bound;
}

bool only_interface_is_lo() {
  struct if_nameindex* const all = if_nameindex();
  if (all == nullptr) return false;
  bool only = true;
  for (const struct if_nameindex* each = all; each->if_index != 0; each++)
    only &= std::strcmp(each->if_name, "lo") == 0;
  if_freenameindex(all);
  return only;
}

}  // namespace

bool is_loopback(const sockaddr_in& address) {
  return (ntohl(address.sin_addr.s_addr) & kLoopbackMask) == kLoopbackNetwork;
}

bool is_in_made_network() {
  const std::string parent = "/proc/" + std::to_string(getppid()) + "/ns/net";
  struct stat ours, theirs;
  return stat("/proc/self/ns/net", &ours) == 0 && stat(parent.c_str(), &theirs) == 0 && ours.st_ino != theirs.st_ino;
}

sockaddr_in permitted_destination(const std::string& address, uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  if (inet_pton(AF_INET, address.c_str(), &out.sin_addr) != 1) fail("expected an IPv4 address, got " + address);
  if (is_loopback(out)) return out;
  if ((ntohl(out.sin_addr.s_addr) & kTestMask) == kTestNetwork && is_in_made_network()) return out;
  if (!only_interface_is_lo())
    fail(address + " is not loopback, and this network namespace has other interfaces than lo");
  if (!is_local(out)) fail(address + " is no address of this network namespace");
  return out;
}

SourceRange SourceRange::permitted(const std::string& cidr, const sockaddr_in& destination) {
  const size_t slash = cidr.find('/');
  in_addr address{};
  char* end = nullptr;
  const unsigned long length = slash == std::string::npos ? 99 : std::strtoul(cidr.c_str() + slash + 1, &end, 10);
  if (length > 32 || *end != '\0' || inet_pton(AF_INET, cidr.substr(0, slash).c_str(), &address) != 1) {
    fail("expected sources as in 127.0.0.0/8, got " + cidr);
  }
  SourceRange range;
  range.mask = length == 0 ? 0 : ~uint32_t{0} << (32 - length);
  range.network = ntohl(address.s_addr) & range.mask;
  const bool loopback_only = length >= 8 && (range.network & kLoopbackMask) == kLoopbackNetwork;
  if (is_loopback(destination) && !loopback_only) fail("sources of load to loopback are loopback too, got " + cidr);
  return range;
}

}  // namespace earshot::load
