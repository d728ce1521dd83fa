// The argument is the repository's root, for test/vectors/.
#include <string>

#include "check.h"
#include "vectors.h"

std::string vectors::root = ".";

int main(int count, char** arguments) {
  if (count > 1) vectors::root = arguments[1];
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  return check::run_all();
}
