// When a worker waits before it reads again.
#include "gather.h"

#include "check.h"

using namespace earshot;

namespace {

// A worker that takes `each` datagrams in every millisecond of a while.
uint64_t run(Gather& gather, unsigned each, uint64_t from_ms) {
  uint64_t now_ms = from_ms;
  for (; now_ms < from_ms + 5 * kRateWindowMs; now_ms++) gather.took(each, false, now_ms);
  return now_ms;
}

}  // namespace

TEST("a worker gathers above 50,000 datagrams a second, and no longer when they become fewer") {
  Gather gather;
  CHECK(!gather.wanted());
  uint64_t now_ms = run(gather, 45, 1000);
  CHECK(!gather.wanted());
  now_ms = run(gather, 55, now_ms);
  CHECK(gather.wanted());
  now_ms = run(gather, 45, now_ms);
  CHECK(!gather.wanted());
}

TEST("a worker whose last batch was full reads on at once") {
  Gather gather;
  const uint64_t now_ms = run(gather, 200, 1000);
  CHECK(gather.wanted());
  gather.took(kBatch, true, now_ms);
  CHECK(!gather.wanted());
  gather.took(1, false, now_ms);
  CHECK(gather.wanted());
}

TEST("one burst after a silence is no rate") {
  Gather gather;
  gather.took(kBatch, false, 1000);
  gather.took(kBatch, false, 60'000);
  CHECK(!gather.wanted());
}
