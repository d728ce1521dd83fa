// A path: where a client can be reached. The key of the flow table, and part of every data frame.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>

#include "bytes.h"

namespace earshot {

// 24 bytes without padding, so that it can be hashed and compared as memory.
struct Path {
  uint8_t address[16] = {};  // IPv4 in the first four, then zeros
  uint16_t port = 0;
  uint16_t ingress = 0;
  uint8_t family = 0;  // 4 or 6
  uint8_t zero[3] = {};

  bool operator==(const Path& other) const { return std::memcmp(this, &other, sizeof(Path)) == 0; }
  size_t address_bytes() const { return family == 4 ? 4 : 16; }
  size_t wire_bytes() const { return 5 + address_bytes(); }
};
static_assert(sizeof(Path) == 24);

inline constexpr size_t kMaxPathBytes = 21;

// The path bytes of docs/trunk-protocol.md. Returns how many were written.
inline size_t write_path(const Path& path, uint8_t* out) {
  out[0] = path.family;
  write_u16(out + 1, path.ingress);
  write_u16(out + 3, path.port);
  std::memcpy(out + 5, path.address, path.address_bytes());
  return path.wire_bytes();
}

// Returns how many bytes the path took, or 0 if there is none in `available` bytes.
inline size_t read_path(const uint8_t* in, size_t available, Path& path) {
  if (available == 0 || (in[0] != 4 && in[0] != 6)) return 0;
  path = Path{};
  path.family = in[0];
  if (available < path.wire_bytes()) return 0;
  path.ingress = read_u16(in + 1);
  path.port = read_u16(in + 3);
  std::memcpy(path.address, in + 5, path.address_bytes());
  return path.wire_bytes();
}

// The source of a received datagram. IPv6 sockets are V6ONLY, so an address has one spelling.
inline Path path_of(const sockaddr_in6& source, uint16_t ingress) {
  Path path;
  path.ingress = ingress;
  if (source.sin6_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &source, sizeof v4);
    path.family = 4;
    path.port = ntohs(v4.sin_port);
    std::memcpy(path.address, &v4.sin_addr, 4);
  } else {
    path.family = 6;
    path.port = ntohs(source.sin6_port);
    std::memcpy(path.address, &source.sin6_addr, 16);
  }
  return path;
}

// Fills `out` and returns its length for the kernel.
inline socklen_t write_sockaddr(const Path& path, sockaddr_in6& out) {
  std::memset(&out, 0, sizeof out);
  if (path.family == 4) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(path.port);
    std::memcpy(&v4.sin_addr, path.address, 4);
    std::memcpy(&out, &v4, sizeof v4);
    return sizeof(sockaddr_in);
  }
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(path.port);
  std::memcpy(&out.sin6_addr, path.address, 16);
  return sizeof(sockaddr_in6);
}

// Whether a client can have this source. Loopback counts only where the ingress itself is on loopback, or one host
// could be made to talk to its own services.
inline bool plausible_source(const Path& path, bool ingress_is_loopback) {
  if (path.port == 0) return false;
  const uint8_t* a = path.address;
  if (path.family == 4) {
    if (a[0] == 0 || a[0] >= 224) return false;  // "this network", multicast, reserved, broadcast
    return a[0] != 127 || ingress_is_loopback;
  }
  static constexpr uint8_t kZeros[12] = {};
  if (a[0] == 0xff) return false;                           // multicast
  if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) return false;  // link-local: a reply would need the interface
  if (std::memcmp(a, kZeros, 10) != 0) return true;
  if (a[10] == 0xff && a[11] == 0xff) return false;  // v4-mapped never on the wire
  if (std::memcmp(a, kZeros, 12) != 0) return true;
  // ::/96 holds loopback, the unspecified address, and IPv4 addresses in a notation withdrawn by RFC 4291
  // section 2.5.5.1.
  return read_u32(a + 12) == 1 && ingress_is_loopback;
}

}  // namespace earshot
