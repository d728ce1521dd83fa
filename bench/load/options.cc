#include "options.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace earshot::load {

void fail(const std::string& why) {
  std::fprintf(stderr, "load: %s\n", why.c_str());
  std::exit(2);
}

Options::Options(int argc, char** argv, int skip) {
  for (int i = skip; i < argc; i++) {
    const std::string name = argv[i];
    if (name.size() < 3 || name.compare(0, 2, "--") != 0) fail("expected an option, got " + name);
    const bool has_value = i + 1 < argc && std::strncmp(argv[i + 1], "--", 2) != 0;
    values_[name.substr(2)] = has_value ? argv[++i] : "";
  }
}

std::string Options::text(const std::string& name) {
  const auto found = values_.find(name);
  if (found == values_.end() || found->second.empty()) fail("--" + name + " needs a value");
  const std::string value = found->second;
  values_.erase(found);
  return value;
}

std::string Options::text_or(const std::string& name, const std::string& otherwise) {
  return values_.find(name) == values_.end() ? otherwise : text(name);
}

uint64_t Options::number(const std::string& name, uint64_t otherwise, uint64_t least, uint64_t most) {
  if (values_.find(name) == values_.end()) return otherwise;
  const std::string value = text(name);
  char* end = nullptr;
  errno = 0;
  const uint64_t number = std::strtoull(value.c_str(), &end, 10);
  if (errno != 0 || *end != '\0' || number < least || number > most) {
    fail("--" + name + " is from " + std::to_string(least) + " to " + std::to_string(most) + ", got " + value);
  }
  return number;
}

bool Options::flag(const std::string& name) { return values_.erase(name) == 1; }

void Options::done() const {
  if (!values_.empty()) fail("there is no option --" + values_.begin()->first + " here");
}

}  // namespace earshot::load
