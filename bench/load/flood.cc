#include "flood.h"

#include <arpa/inet.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <vector>

#include "clock.h"
#include "destination.h"
#include "hex.h"
#include "random.h"
#include "raw_sender.h"

namespace earshot::load {
namespace {

constexpr uint64_t kMostSeconds = 120;
constexpr uint64_t kMostDatagrams = 1'000'000'000;
constexpr uint16_t kMostPort = 65535;
constexpr uint16_t kLeastSourcePort = 1024;

// Binding requests begin with their header and USERNAME, as the TypeScript writer makes them.
constexpr size_t kTransactionIdAt = 8;
constexpr size_t kTransactionIdBytes = 12;
constexpr size_t kTokenAt = 24;
constexpr size_t kTokenChars = 32;
constexpr size_t kKeyIdChars = 2;  // version, key id, and 4 bits that are already random
constexpr char kIceChars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr size_t kRandomBytes[2] = {1, 256};
constexpr size_t kUnclassifiedBytes = 120;
constexpr uint8_t kUnclassified = 64;

uint64_t seed() {
  uint64_t bits = 0;
  if (getrandom(&bits, sizeof bits, 0) != sizeof bits) fail("no randomness");
  return bits;
}

// The i-th line's request, of those that load-rig.ts writes.
std::vector<uint8_t> template_request(Options& options) {
  const std::string file = options.text("flows");
  std::ifstream in(file);
  std::string source, hex;
  if (!(in >> source >> hex)) fail("no flows in " + file);
  std::vector<uint8_t> request = from_hex(hex);
  if (request.size() < kTokenAt + kTokenChars || request.size() > RawSender::kMaxPayload) fail("no request in " + file);
  return request;
}

// Fills in what differs between two datagrams of a kind, and returns the length.
class Content {
 public:
  Content(const std::string& kind, Options& options) {
    if (kind == "random") {
      kind_ = Kind::random;
    } else if (kind == "unclassified") {
      kind_ = Kind::unclassified;
    } else {
      kind_ = kind == "forged" ? Kind::forged : Kind::replay;
      request_ = template_request(options);
    }
  }

  // Once for each buffer.
  void prepare(uint8_t* out) const {
    if (kind_ == Kind::unclassified) out[0] = kUnclassified;
    std::copy(request_.begin(), request_.end(), out);
  }

  size_t next(uint8_t* out, Random& random) const {
    switch (kind_) {
      case Kind::random: {
        const size_t length = kRandomBytes[0] + random.next() % (kRandomBytes[1] - kRandomBytes[0] + 1);
        random.fill(out, length);
        return length;
      }
      case Kind::forged: {
        random.fill(out + kTransactionIdAt, kTransactionIdBytes);
        uint64_t bits = 0;
        for (size_t i = kKeyIdChars; i < kTokenChars; i++, bits >>= 6) {
          if ((i - kKeyIdChars) % 10 == 0) bits = random.next();
          out[kTokenAt + i] = static_cast<uint8_t>(kIceChars[bits & 63]);
        }
        return request_.size();
      }
      case Kind::replay:
        return request_.size();
      case Kind::unclassified:
        break;
    }
    return kUnclassifiedBytes;
  }

 private:
  enum class Kind { unclassified, random, forged, replay };
  Kind kind_;
  std::vector<uint8_t> request_;
};

uint16_t port_of(uint64_t bits) {
  return htons(static_cast<uint16_t>(kLeastSourcePort + bits % (kMostPort + 1 - kLeastSourcePort)));
}

}  // namespace

void flood(const std::string& kind, Options& options) {
  const std::string to = options.text("to");
  const auto port = static_cast<uint16_t>(options.number("port", 0, 1, kMostPort));
  if (port == 0) fail("--port needs a value");
  const sockaddr_in destination = permitted_destination(to, port);
  const SourceRange sources = SourceRange::permitted(options.text("sources"), destination);
  const uint64_t seconds = options.number("seconds", 5, 1, kMostSeconds);
  const uint64_t most = options.number("count", kMostDatagrams, 1, kMostDatagrams);
  const uint64_t rate = options.number("rate", 0, 0, 100'000'000);
  const uint64_t nice = options.number("nice", 0, 0, 19);
  const Content content(kind, options);
  options.done();
  if (setpriority(PRIO_PROCESS, 0, static_cast<int>(nice)) != 0) fail("no lower priority");

  RawSender sender(destination);
  for (unsigned i = 0; i < RawSender::kMessages; i++) content.prepare(sender.payload(i));
  Random random(seed());
  const uint64_t start = steady_ns();
  const uint64_t end = start + seconds * kSecondNs;
  const Pace pace(rate, start);
  uint64_t tried = 0, sent = 0;
  for (uint64_t now = start; now < end && tried < most; now = steady_ns()) {
    const uint64_t due = std::min(pace.due(now), most);
    if (due <= tried) {
      sleep_ns(100'000);
      continue;
    }
    const auto count = static_cast<unsigned>(std::min<uint64_t>(due - tried, RawSender::kMessages));
    for (unsigned i = 0; i < count; i++) {
      const size_t length = content.next(sender.payload(i), random);
      const uint64_t bits = random.next();
      sender.set(i, sources.pick(static_cast<uint32_t>(bits)), port_of(bits >> 32), length);
    }
    sent += sender.send(count);
    tried += count;
  }
  const double took = static_cast<double>(steady_ns() - start) / kSecondNs;
  std::printf("{\"sent\":%llu,\"refused\":%llu,\"seconds\":%.3f,\"perSecond\":%.0f}\n",
              static_cast<unsigned long long>(sent), static_cast<unsigned long long>(tried - sent), took,
              static_cast<double>(sent) / took);
}

void spoof(Options& options) {
  const std::string to = options.text("to");
  const auto port = static_cast<uint16_t>(options.number("port", 0, 1, kMostPort));
  if (port == 0) fail("--port needs a value");
  const sockaddr_in destination = permitted_destination(to, port);
  options.done();

  RawSender sender(destination);
  uint64_t sent = 0;
  std::string source, hex;
  for (unsigned source_port = 0; std::cin >> source >> source_port >> hex;) {
    const SourceRange range = SourceRange::permitted(source + "/32", destination);
    const std::vector<uint8_t> payload = from_hex(hex);
    if (source_port > kMostPort || payload.size() > RawSender::kMaxPayload) fail("no such datagram: " + hex);
    std::copy(payload.begin(), payload.end(), sender.payload(0));
    sender.set(0, range.pick(0), htons(static_cast<uint16_t>(source_port)), payload.size());
    sent += sender.send(1);
  }
  std::printf("{\"sent\":%llu}\n", static_cast<unsigned long long>(sent));
}

}  // namespace earshot::load
