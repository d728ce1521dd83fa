// What single steps of the native core cost, warm, on one thread, without sockets: the native side of bench:micro.
//
//   micro --few-flows 1000 --more-flows 100000 --most-flows 1000000 [--milliseconds 20]
//
// Its first line of input is a Binding request in hex, as a browser sends it; its first of output {"ready":true}. For
// each further line it measures every step for so long, and prints {"<step>": <ns for one, median>, ...}. It ends with
// its input.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "flow_table.h"
#include "hex.h"
#include "options.h"
#include "siphash.h"
#include "stun.h"
#include "token.h"
#include "trunk.h"

using namespace earshot;

namespace {

using Clock = std::chrono::steady_clock;

// In one sample: reading the clock costs as much as the fastest step.
constexpr unsigned kCalls = 100;
// As a worker looks up a batch.
constexpr unsigned kBatch = 256;
constexpr unsigned kVoiceBytes = 120;
constexpr unsigned kFrames = 8;
constexpr char kIceChars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The compiler may not assume that nobody looks at it.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

SipKey random_key(std::mt19937_64& random) { return {random(), random()}; }

// Median of samples of `calls` calls each, in ns for one; `run` makes all calls of a sample.
template <typename Run>
double median_ns(std::chrono::milliseconds time, unsigned calls, const Run& run) {
  std::vector<double> samples;
  for (const auto start = Clock::now(); samples.size() < 5 || Clock::now() - start < time;) {
    const auto begin = Clock::now();
    run();
    samples.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / calls);
  }
  std::nth_element(samples.begin(), samples.begin() + static_cast<ptrdiff_t>(samples.size() / 2), samples.end());
  return samples[samples.size() / 2];
}

Path nth_path(uint32_t n) {
  Path path;
  path.family = 4;
  path.ingress = 1;
  path.port = static_cast<uint16_t>(1024 + (n & 0xff));
  path.address[0] = 10;
  path.address[1] = static_cast<uint8_t>(n >> 16);
  path.address[2] = static_cast<uint8_t>(n >> 8);
  path.address[3] = static_cast<uint8_t>(n);
  return path;
}

// A full table, and its paths in random order.
class Lookups {
 public:
  Lookups(uint32_t flows, std::mt19937_64& random)
      : count_(flows), table_(new FlowTable({flows, flows}, directory_, quiescence_)) {
    sockaddr_in6 nowhere{};
    const Slot slot = directory_.add(1, 1, nowhere, sizeof(sockaddr_in), quiescence_);
    for (uint32_t n = 0; n < flows; n++) {
      paths_.push_back(nth_path(n));
      // The last few may find both of their buckets full; they are looked up in vain.
      installed_ += table_->admit(paths_.back(), slot, n + 1, 0) == AdmitResult::installed;
    }
    std::shuffle(paths_.begin(), paths_.end(), random);
    while (paths_.size() < kBatch) paths_.insert(paths_.end(), paths_.begin(), paths_.end());
  }

  uint32_t flows() const { return count_; }
  bool ok() const { return installed_ > count_ - count_ / 50; }
  FlowTable& table() { return *table_; }

  // A batch of lookups one after the other.
  void one_by_one() {
    const Path* const batch = next_batch();
    for (unsigned i = 0; i < kBatch; i++) keep(table_->find(batch[i], table_->hash_path(batch[i])));
  }
  // As uplink.cc does: first all hashes, with a prefetch each, then all lookups.
  void prefetched() {
    const Path* const batch = next_batch();
    uint64_t hashes[kBatch];
    for (unsigned i = 0; i < kBatch; i++) {
      hashes[i] = table_->hash_path(batch[i]);
      table_->prefetch_buckets(hashes[i]);
    }
    for (unsigned i = 0; i < kBatch; i++) keep(table_->find(batch[i], hashes[i]));
  }

 private:
  const Path* next_batch() {
    if (at_ + kBatch > paths_.size()) at_ = 0;
    const Path* const batch = &paths_[at_];
    at_ += kBatch;
    return batch;
  }

  const uint32_t count_;
  uint32_t installed_ = 0;
  size_t at_ = 0;
  Quiescence quiescence_{1};
  Directory directory_;
  std::unique_ptr<FlowTable> table_;
  std::vector<Path> paths_;
};

struct Step {
  std::string name;
  unsigned calls;
  std::function<void()> sample;
};

template <typename Call>
Step step(const char* name, Call call) {
  return {name, kCalls, [call]() mutable {
            for (unsigned i = 0; i < kCalls; i++) call();
          }};
}

struct Data {
  std::vector<uint8_t> check;
  std::vector<uint8_t> forged;  // the same with a ufrag that nobody has sealed
  std::unique_ptr<KeySet> keys{new KeySet};
  SipKey trunk;
  uint8_t bytes[2048];
  uint8_t datagram[2048];
  size_t sealed = 0;
};

bool token_of_is_ours(const StunView& stun, const KeySet& keys) {
  uint8_t token[kTokenBytes];
  return stun.ufrag_length == kUfragChars && decode_ice_chars(stun.ufrag, token) && token_is_ours(token, keys);
}

// Returns its length without the tag.
size_t pack(Data& data) {
  write_trunk_header({.key_id = 1, .cluster = 1, .sender_id = 0x101, .target_id = 7, .target_epoch = 5, .sequence = 9},
                     data.datagram);
  size_t length = kTrunkHeaderBytes;
  for (unsigned i = 0; i < kFrames; i++) {
    length += write_frame(FrameKind::data, nth_path(i), data.bytes, kVoiceBytes, data.datagram + length);
  }
  seal_trunk(data.datagram, length, data.trunk);
  return length;
}

void unpack(const Data& data) {
  TrunkHeader header;
  const bool ours = read_trunk_header(data.datagram, data.sealed, header) &&
                    trunk_tag_matches(data.datagram, data.sealed, data.trunk);
  if (!ours) std::abort();
  FrameReader reader(data.datagram + kTrunkHeaderBytes, data.datagram + data.sealed - kTrunkTagBytes, Direction::up);
  unsigned frames = 0;
  for (Frame frame; reader.next(frame);) frames++;
  if (frames != kFrames) std::abort();
}

void fill(Data& data, const std::string& check, std::mt19937_64& random) {
  data.check = load::from_hex(check);
  data.forged = data.check;
  const StunView stun = read_stun(data.forged.data(), data.forged.size());
  if (stun.kind != StunKind::request || stun.ufrag_length != kUfragChars)
    load::fail("expected a Binding request in hex");
  auto* const ufrag = data.forged.data() + (stun.ufrag - data.forged.data());
  for (size_t i = 0; i < kUfragChars; i++) ufrag[i] = static_cast<uint8_t>(kIceChars[random() % 64]);
  ufrag[0] = 'A';  // version 0 and key id 1, the one that is known
  ufrag[1] = 'Q';
  data.keys->entries[1].known = true;
  data.keys->entries[1].token_tag = random_key(random);
  data.trunk = random_key(random);
  for (uint8_t& byte : data.bytes) byte = static_cast<uint8_t>(random());
  data.sealed = pack(data) + kTrunkTagBytes;
}

std::vector<Step> steps_of(Data& data, std::vector<std::unique_ptr<Lookups>>& tables) {
  FlowTable& flows = tables[0]->table();
  std::vector<Step> steps{
      step("STUN: read a check and find its ufrag",
           [&] { keep(read_stun(data.check.data(), data.check.size()).ufrag); }),
      step("request with a forged token: refuse",
           [&] {
             const Path path = nth_path(0xffffff);
             const bool known = flows.find(path, flows.hash_path(path)) != nullptr;
             if (known || token_of_is_ours(read_stun(data.forged.data(), data.forged.size()), *data.keys)) std::abort();
           }),
      step("SipHash-2-4: 17 bytes", [&] { keep(siphash24(data.trunk, data.bytes, 17)); }),
      step("SipHash-2-4: 1,400 bytes", [&] { keep(siphash24(data.trunk, data.bytes, 1'400)); }),
      step("trunk: pack 8 voice frames and seal", [&] { keep(pack(data)); }),
      step("trunk: open and read 8 voice frames", [&] { unpack(data); }),
  };
  for (auto& table : tables) {
    const std::string name = "flow lookup: " + std::to_string(table->flows());
    steps.push_back({name, kBatch, [&table] { table->one_by_one(); }});
    steps.push_back({name + ", batch", kBatch, [&table] { table->prefetched(); }});
  }
  return steps;
}

int run(load::Options& options) {
  std::mt19937_64 random(1);
  std::vector<std::unique_ptr<Lookups>> tables;
  for (const char* name : {"few-flows", "more-flows", "most-flows"}) {
    const auto flows = static_cast<uint32_t>(options.number(name, 1000, kBatch, 1u << 22));
    tables.push_back(std::make_unique<Lookups>(flows, random));
    if (!tables.back()->ok()) load::fail("no flow table of " + std::to_string(flows) + " flows");
  }
  const std::chrono::milliseconds time(options.number("milliseconds", 20, 1, 10'000));
  options.done();
  std::string line;
  if (!std::getline(std::cin, line)) load::fail("expected a Binding request on stdin");
  Data data;
  fill(data, line, random);
  const std::vector<Step> steps = steps_of(data, tables);
  std::printf("{\"ready\":true}\n");
  std::fflush(stdout);
  while (std::getline(std::cin, line)) {
    const char* separator = "{";
    for (const Step& each : steps) {
      std::printf("%s\"%s\":%.3f", separator, each.name.c_str(), median_ns(time, each.calls, each.sample));
      separator = ",";
    }
    std::printf("}\n");
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  load::Options options(argc, argv, 1);
  return run(options);
}
