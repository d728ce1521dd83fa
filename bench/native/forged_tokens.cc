// What it costs a worker to refuse a Binding request with a forged token: the steps of uplink.cc from the bytes to the
// tag, on one core, without the socket. `make -C bench/native run` builds and runs it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "flow_table.h"
#include "stun.h"
#include "token.h"

using namespace earshot;

namespace {

// More than the caches nearest to a core hold: a flood repeats nothing.
constexpr unsigned kRequests = 16'384;
constexpr unsigned kRounds = 200;
constexpr uint32_t kFlows = 65'536;
constexpr char kIceChars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct Request {
  uint8_t bytes[116];
  Path path;
};

// A check as browsers send it: USERNAME, ICE-CONTROLLING, PRIORITY, MESSAGE-INTEGRITY, FINGERPRINT.
Request forged(std::mt19937& random) {
  constexpr uint8_t kHeader[] = {0, 1, 0, 96, 0x21, 0x12, 0xa4, 0x42};
  constexpr struct {
    uint8_t type[2];
    uint8_t length;
  } kAttributes[] = {{{0, 0x06}, 37}, {{0x80, 0x2a}, 8}, {{0, 0x24}, 4}, {{0, 0x08}, 20}, {{0x80, 0x28}, 4}};
  Request out{};
  for (uint8_t& byte : out.bytes) byte = static_cast<uint8_t>(random());
  std::memcpy(out.bytes, kHeader, sizeof kHeader);
  size_t at = 20;
  for (const auto& attribute : kAttributes) {
    std::memcpy(out.bytes + at, attribute.type, 2);
    out.bytes[at + 2] = 0;
    out.bytes[at + 3] = attribute.length;
    at += 4 + (attribute.length + 3u) / 4 * 4;
  }
  uint8_t* ufrag = out.bytes + 24;
  for (int i = 0; i < 32; i++) ufrag[i] = static_cast<uint8_t>(kIceChars[random() % 64]);
  ufrag[0] = 'A';  // version 0 and key id 1, the one that is known
  ufrag[1] = 'Q';
  ufrag[32] = ':';
  out.path.family = 4;
  out.path.ingress = 1;
  out.path.port = static_cast<uint16_t>(random());
  const uint32_t address = static_cast<uint32_t>(random());
  std::memcpy(out.path.address, &address, sizeof address);
  return out;
}

// The fastest round, in ns for each request: the others were interrupted.
template <typename Step>
double measure(const std::vector<Request>& requests, const Step& step, uint64_t& refused) {
  double best = 1e9;
  for (unsigned round = 0; round < kRounds; round++) {
    const auto start = std::chrono::steady_clock::now();
    for (const Request& request : requests) refused += step(request) ? 0 : 1;
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    best = std::min(best, spent.count() / kRequests);
  }
  return best;
}

void report(const char* what, double ns) { std::printf("%-52s %7.1f ns %12.0f /s\n", what, ns, 1e9 / ns); }

}  // namespace

int main() {
  std::mt19937 random(1);
  std::vector<Request> requests;
  for (unsigned i = 0; i < kRequests; i++) requests.push_back(forged(random));
  const auto keys = std::make_unique<KeySet>();
  uint8_t key[16];
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(random());
  keys->entries[1].known = true;
  keys->entries[1].token_tag = SipKey::from_bytes(key);
  Quiescence quiescence(1);
  Directory directory;
  FlowTable flows({kFlows, kFlows}, directory, quiescence);

  uint64_t refused = 0;
  const auto tag = [&](const Request& request) {
    uint8_t token[kTokenBytes];
    return decode_ice_chars(request.bytes + 24, token) && token_is_ours(token, *keys);
  };
  const auto whole = [&](const Request& request) {
    const uint64_t hash = flows.hash_path(request.path);
    const StunView stun = read_stun(request.bytes, sizeof request.bytes);
    if (stun.kind != StunKind::request || stun.ufrag_length != kUfragChars) std::abort();
    uint8_t token[kTokenBytes];
    if (!decode_ice_chars(stun.ufrag, token)) std::abort();
    return flows.find(request.path, hash) != nullptr || token_is_ours(token, *keys);
  };
  report("the token alone: decode, check the tag", measure(requests, tag, refused));
  report("all: hash the path, read STUN, look up, decode, check", measure(requests, whole, refused));
  if (refused != uint64_t{2} * kRounds * kRequests) {
    std::fprintf(stderr, "a forged token passed\n");
    return 1;
  }
}
