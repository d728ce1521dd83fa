// Floods: what a relay gets from sources that nobody has invited.
#pragma once

#include "options.h"

namespace earshot::load {

//   unclassified  a first byte of no class: the least that a relay can spend on a datagram
//   random        random bytes of random length
//   forged        a Binding request, well-formed, whose token has the right key id and is otherwise random
//   replay        a valid Binding request, from many sources
// Prints what it has sent, and how fast, as one line of JSON.
void flood(const std::string& kind, Options& options);

// Sends what stdin says, a line for each datagram: source address, source port, payload in hex.
void spoof(Options& options);

}  // namespace earshot::load
