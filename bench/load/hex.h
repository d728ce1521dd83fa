// Hex to bytes, for what the rig hands to the load tools.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "options.h"

namespace earshot::load {

inline std::vector<uint8_t> from_hex(const std::string& text) {
  const auto digit = [&](char c) -> unsigned {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    fail("expected hex, got " + text);
  };
  if (text.size() % 2 != 0) fail("expected whole bytes of hex, got " + text);
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(digit(text[i]) << 4 | digit(text[i + 1])));
  }
  return bytes;
}

}  // namespace earshot::load
