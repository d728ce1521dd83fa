// Flow records as a relay of another version hands them over: what is read makes memory in which everything is whole,
// and comes out again as it went in.
#include "hand_over.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "bytes.h"
#include "flow_table.h"
#include "fuzz.h"
#include "senders.h"

using namespace earshot;

namespace {

constexpr SipKey kKey{1, 2};
constexpr uint64_t kNowMs = uint64_t{1} << 40;
constexpr FlowTable::Options kOptions{24, 16};
constexpr unsigned kLanes = 2;
const KeptMemory::Shape kShape{FlowTable::entries_of(kOptions), kLanes};
constexpr size_t kFlowsAt = 20;  // their number, in the header
constexpr size_t kTagBytes = 8;

// Memory that says it is another layout's, so that records are looked for.
struct Keeper {
  Keeper() {
    PROMISE(memory.get() >= 0 && records.get() >= 0);
    const KeptMemory other(memory.get(), {kShape.entries + 1, kLanes}, kNowMs, {records.get(), -1, {}});
    PROMISE(other.error() == 0);
  }
  Fd memory{KeptMemory::make_memfd()};
  Fd records{KeptMemory::make_memfd()};
};

void check_taken(const std::vector<uint8_t>& bytes) {
  static const Keeper keeper;
  PROMISE(ftruncate(keeper.records.get(), 0) == 0);
  PROMISE(pwrite(keeper.records.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  const Fd next(KeptMemory::make_memfd());
  const Fd place(dup(keeper.memory.get()));  // that the new memory takes
  const KeptMemory memory(place.get(), kShape, kNowMs, {keeper.records.get(), next.get(), kKey});
  PROMISE(memory.error() == 0 && memory.imported());
  Quiescence quiescence(1);
  Directory directory(memory.transceivers(), memory.header().check_key);
  FlowTable flows(kOptions, directory, quiescence, memory);
  PROMISE(directory.torn() == 0 && flows.torn() == 0);
  PROMISE(flows.counts().flows <= memory.imported_flows());
  if (flows.counts().flows != memory.imported_flows()) return;  // a path twice: an engine does not begin with that

  for (uint32_t i = 1; i <= memory.imported_flows(); i++) {
    const Flow& flow = memory.flows()[i];
    PROMISE(flows.find(flow.path) == &flow && directory.in_use(flow.owner));
  }
  Exported exported;
  PROMISE(export_records(memory, kNowMs, kKey, keeper.records.get(), exported) == 0);
  PROMISE(exported.flows == memory.imported_flows() && exported.torn == 0);
  std::vector<uint8_t> again;
  PROMISE(load_records(keeper.records.get(), kShape, again) == 0);
  Records before, after;
  PROMISE(read_records(bytes, kKey, kShape, kNowMs, before) == 0);
  PROMISE(again.size() == bytes.size() && read_records(again, kKey, kShape, kNowMs, after) == 0);
  // All but the flows, whose order is another's to choose and whose times come in ticks.
  const auto fixed = static_cast<size_t>(before.flows - bytes.data());
  PROMISE(std::equal(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(fixed), again.begin()));
  for (unsigned lane = 1; lane <= kLanes; lane++) Senders(memory.senders(lane)).follow(directory);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Records records;
  const std::span<const uint8_t> raw(data, size);
  PROMISE(size < kFlowsAt || read_records(raw, SipKey{8, 9}, kShape, kNowMs, records) != 0);
  // With a right tag, as from a writer that errs.
  std::vector<uint8_t> sealed(data, data + size);
  sealed.resize(size + kTagBytes);
  write_u64(sealed.data() + size, siphash24(kKey, data, size));
  if (read_records(sealed, kKey, kShape, kNowMs, records) == 0) check_taken(sealed);
  return 0;
}
