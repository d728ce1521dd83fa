// Established flows: clients that set up their flows with one Binding request each, and then send numbered and
// time-stamped datagrams at a steady rate, which a transceiver echoes.
#pragma once

#include "options.h"

namespace earshot::load {

// Prints what was sent, what came back and how long it took, as one line of JSON.
void established(Options& options);

}  // namespace earshot::load
