// What the driver of bench:pps and the Earshot engines that it drives agree on without asking each other: who the
// relay, the transceivers and the clients are. bench/pps/earshot-js.ts has the same in TypeScript.
#pragma once

#include <cstdint>

namespace earshot::pps {

inline constexpr uint16_t kCluster = 1;
inline constexpr uint16_t kIngress = 1;
inline constexpr uint32_t kRelayId = 1;  // lane l is port 1 << 8 | l
inline constexpr uint64_t kRelayEpoch = 1;
inline constexpr uint64_t kTransceiverEpoch = 1;  // transceiver t, from 0, has id t + 1
inline constexpr uint8_t kKeyId = 1;

// Flow f's client: this address of loopback, in host byte order, and one port for all of them. 22 bits of flows fit.
inline constexpr uint32_t address_of(uint32_t flow) { return 0x7f400000u + flow; }
inline constexpr uint64_t kMostFlows = 1u << 22;

}  // namespace earshot::pps
