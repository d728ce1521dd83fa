// Where load may go: to this machine, and nowhere else. A destination is loopback; or it is an address of this network
// namespace, and the namespace has no interface but `lo`, so that neither the load nor an answer to it can leave; or it
// is an address that no network routes (RFC 2544), and the namespace is one that a test has made for this process.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>

namespace earshot::load {

// Ends the program if load may not go there.
sockaddr_in permitted_destination(const std::string& address, uint16_t port);

// Whether this process is in another network namespace than who started it: one that a test has made for it.
bool is_in_made_network();

// IPv4 sources that floods pretend to have, one network of them.
struct SourceRange {
  uint32_t network = 0;  // host byte order
  uint32_t mask = 0;

  // `a.b.c.d/length`. Ends the program if answers to such a source could leave this machine.
  static SourceRange permitted(const std::string& cidr, const sockaddr_in& destination);
  // In network byte order, from any 32 bits.
  uint32_t pick(uint32_t random) const { return htonl(network | (random & ~mask)); }
};

bool is_loopback(const sockaddr_in& address);

}  // namespace earshot::load
