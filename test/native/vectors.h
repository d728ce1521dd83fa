// Reads the files of test/vectors: each a flat object of strings, and trunk-v1.json unless another is named.
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace vectors {

extern std::string root;

inline std::string text(const std::string& name, const std::string& file = "trunk-v1.json") {
  std::ifstream stream(root + "/test/vectors/" + file);
  const std::string all{std::istreambuf_iterator<char>(stream), {}};
  const size_t key = all.find('"' + name + "\": \"");
  if (key == std::string::npos) return "";
  const size_t begin = key + name.size() + 5;
  return all.substr(begin, all.find('"', begin) - begin);
}

inline std::vector<uint8_t> bytes(const std::string& name, const std::string& file = "trunk-v1.json") {
  const std::string hex = text(name, file);
  std::vector<uint8_t> out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

inline uint64_t number(const std::string& name) { return std::stoull("0" + text(name), nullptr, 16); }

}  // namespace vectors
