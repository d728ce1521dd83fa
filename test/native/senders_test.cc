#include "senders.h"

#include <vector>

#include "check.h"

using namespace earshot;

namespace {

struct Fixture {
  Quiescence quiescence{1};
  Directory directory;
  Senders senders;

  Slot add(uint32_t id, uint64_t epoch) {
    const Slot slot = directory.add(id, epoch, sockaddr_in6{}, sizeof(sockaddr_in), quiescence);
    senders.follow(directory);
    return slot;
  }
  void retire(Slot slot) {
    directory.retire(slot);
    senders.follow(directory);
  }
};

}  // namespace

TEST("only live transceivers of the right epoch are senders") {
  Fixture f;
  const Slot slot = f.add(7, 99);
  CHECK_EQUAL(f.senders.find(7, 99), slot);
  CHECK_EQUAL(f.senders.find(7, 98), kNoSlot);
  CHECK_EQUAL(f.senders.find(8, 99), kNoSlot);
  f.retire(slot);
  CHECK_EQUAL(f.senders.find(7, 99), kNoSlot);
}

TEST("a transceiver that has left and comes back with the same epoch cannot be replayed") {
  Fixture f;
  const Slot first = f.add(7, 99);
  CHECK(f.senders.accept(first, 5));
  f.retire(first);
  f.add(8, 99);
  const Slot again = f.add(7, 99);
  CHECK(again != first);
  CHECK_EQUAL(f.senders.find(7, 99), again);
  CHECK(!f.senders.accept(again, 5));
  CHECK(f.senders.accept(again, 6));
  const Slot next_epoch = f.add(7, 100);
  CHECK(f.senders.accept(next_epoch, 5));
}

TEST("every slot may be taken, and taken again by others") {
  Fixture f;
  for (uint64_t epoch = 1; epoch <= 3; epoch++) {
    std::vector<Slot> slots;
    for (uint32_t id = 1; id <= kMaxTransceivers; id++) {
      slots.push_back(f.directory.add(id, epoch, sockaddr_in6{}, sizeof(sockaddr_in), f.quiescence));
    }
    f.senders.follow(f.directory);
    for (uint32_t id = 1; id <= kMaxTransceivers; id++) {
      if (f.senders.find(id, epoch) != slots[id - 1] || !f.senders.accept(slots[id - 1], 1)) CHECK(false);
      if (f.senders.find(id, epoch - 1) != kNoSlot) CHECK(false);
      f.directory.retire(slots[id - 1]);
    }
    f.senders.follow(f.directory);
    CHECK_EQUAL(f.senders.find(1, epoch), kNoSlot);
  }
}
