// First packets: clients that send one Binding request each and wait for its answer, and then once more.
#pragma once

#include "options.h"

namespace earshot::load {

// Prints how many were answered, how fast, and how long each took, as one line of JSON.
void first_packets(Options& options);

}  // namespace earshot::load
