// The flows of a load: clients and their first Binding requests, as bench/load/flow-lines.ts writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace earshot::load {

struct Flow {
  uint32_t client;  // network byte order
  std::vector<uint8_t> request;
  bool answered = false;
};

// At least one. Ends the program if the file is not as it should be.
std::vector<Flow> read_flows(const std::string& file);

inline constexpr size_t kTransactionIdAt = 8;
inline constexpr size_t kTransactionIdBytes = 12;

// Of a STUN message, which is at least 20 bytes long.
inline std::string transaction_of(const uint8_t* message) {
  return std::string(reinterpret_cast<const char*>(message) + kTransactionIdAt, kTransactionIdBytes);
}

}  // namespace earshot::load
