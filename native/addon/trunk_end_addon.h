// The Node-API face of the transceiver's end of the trunk.
#pragma once

#include <napi.h>

namespace earshot {

// The class `TrunkEnd`; trunk_end_addon.cc says what it takes and gives.
Napi::Function define_trunk_end(Napi::Env env);

}  // namespace earshot
