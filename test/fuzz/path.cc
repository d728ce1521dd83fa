// Path bytes and socket addresses, and which of them a client can have.
#include "path.h"

#include <cstring>
#include <vector>

#include "fuzz.h"

using namespace earshot;

namespace {

// The same question, asked of the system's own predicates.
bool could_be_client(const Path& path, bool ingress_is_loopback) {
  if (path.port == 0) return false;
  if (path.family == 4) {
    in_addr_t address;
    std::memcpy(&address, path.address, sizeof address);
    address = ntohl(address);
    if (address >> 24 == IN_LOOPBACKNET) return ingress_is_loopback;
    return address >> 24 != 0 && !IN_MULTICAST(address) && !IN_BADCLASS(address);
  }
  in6_addr address;
  std::memcpy(&address, path.address, sizeof address);
  if (IN6_IS_ADDR_LOOPBACK(&address)) return ingress_is_loopback;
  return !IN6_IS_ADDR_UNSPECIFIED(&address) && !IN6_IS_ADDR_MULTICAST(&address) && !IN6_IS_ADDR_LINKLOCAL(&address) &&
         !IN6_IS_ADDR_V4MAPPED(&address) && !IN6_IS_ADDR_V4COMPAT(&address);
}

// A path is hashed and compared as memory: what its family does not use is zero.
void check_unused_is_zero(const Path& path) {
  for (const uint8_t byte : path.zero) PROMISE(byte == 0);
  for (size_t i = path.address_bytes(); i < sizeof path.address; i++) PROMISE(path.address[i] == 0);
}

void check_socket_address(const Path& path) {
  sockaddr_in6 address;
  std::memset(&address, 0xff, sizeof address);
  const socklen_t length = write_sockaddr(path, address);
  PROMISE(length == (path.family == 4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)));
  PROMISE(path_of(address, path.ingress) == path);
  check_unused_is_zero(path_of(address, path.ingress));
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Path path;
  std::memset(&path, 0xff, sizeof path);
  const size_t used = read_path(data, size, path);
  const size_t wanted = size == 0 ? 0 : data[0] == 4 ? 9 : data[0] == 6 ? kMaxPathBytes : 0;
  PROMISE(used == (wanted <= size ? wanted : 0));
  if (used == 0) return 0;

  check_unused_is_zero(path);
  PROMISE(path.family == data[0] && path.wire_bytes() == used);
  uint8_t again[kMaxPathBytes];
  PROMISE(write_path(path, again) == used);
  PROMISE(std::memcmp(again, data, used) == 0);
  const std::vector<uint8_t> part(data, data + used - 1);
  Path none;
  PROMISE(read_path(part.data(), part.size(), none) == 0);

  check_socket_address(path);
  for (const bool loopback : {false, true})
    PROMISE(plausible_source(path, loopback) == could_be_client(path, loopback));
  return 0;
}
