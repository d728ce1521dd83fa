// The command line of the load tools: `--name value`, or `--name` alone. A name that nobody asked for is an error, and
// so is a number out of its range: a load that is bounded only by a typing mistake is not bounded.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace earshot::load {

// Says what is wrong on stderr, and ends the program with code 2.
[[noreturn]] void fail(const std::string& why);

class Options {
 public:
  // `skip` arguments are the program's name and its mode.
  Options(int argc, char** argv, int skip);

  std::string text(const std::string& name);  // required
  std::string text_or(const std::string& name, const std::string& otherwise);
  uint64_t number(const std::string& name, uint64_t otherwise, uint64_t least, uint64_t most);
  bool flag(const std::string& name);
  // After everything has been asked for.
  void done() const;

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace earshot::load
