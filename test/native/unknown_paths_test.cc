// Which unknown paths a worker tells of: by path and by tick.
#include "unknown_paths.h"

#include "check.h"

using namespace earshot;

TEST("an unknown path is told of once in two ticks") {
  UnknownPaths paths;
  CHECK(paths.take(7, 100));
  CHECK(!paths.take(7, 100));
  CHECK(!paths.take(7, 101));
  CHECK(paths.take(8, 101));
  CHECK(paths.take(7, 102));
}

TEST("so many are told of in a tick, and as many in the next") {
  UnknownPaths paths;
  uint32_t told = 0;
  for (uint64_t hash = 1; hash <= 3 * kUnknownPathsPerTick; hash++) told += paths.take(hash, 100);
  CHECK_EQUAL(told, kUnknownPathsPerTick);
  for (uint64_t hash = 1; hash <= 3 * kUnknownPathsPerTick; hash++) told += paths.take(hash << 32, 101);
  CHECK_EQUAL(told, 2 * kUnknownPathsPerTick);
}

TEST("two paths that share a place in memory are both told of") {
  UnknownPaths paths;
  CHECK(paths.take(5, 100));
  CHECK(paths.take(5 + kToldPaths, 100));
  CHECK(paths.take(5, 100));
}
