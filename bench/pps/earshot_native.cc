// The native engine alone, as the addon has it, for bench:pps: the real workers, flow table, keys and trunk, without
// the control plane and with every flow installed from the start. It speaks to its starter as
// bench/forwarders/classical.cc does.
//
//   earshot_native --upstream-port P --client-port C --flows N [--upstreams 1] [--workers 1] [--gather-us 50]
//                  [--receive-buffer-bytes 268435456]
//
// Its first line of output is {"port":N,"bytesPerFlow":N,"trunkPorts":[N],"trunkDown":"hex"}. For each line of input it
// prints its counts as a line of JSON. It ends with its input.
#include <sys/random.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine.h"
#include "options.h"
#include "scene.h"

namespace {

using namespace earshot;
using load::fail;

constexpr char kUfrag[33] = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

Endpoint loopback(uint64_t port) {
  Endpoint out;
  Endpoint::parse("127.0.0.1", static_cast<uint16_t>(port), out);
  return out;
}

Path path_of_flow(uint32_t flow, uint64_t port) {
  Path path;
  path.family = 4;
  path.ingress = pps::kIngress;
  path.port = static_cast<uint16_t>(port);
  write_u32(path.address, pps::address_of(flow));
  return path;
}

uint64_t total(const Engine& engine, Counter counter) {
  uint64_t sum = 0;
  for (const auto& worker : engine.counters()) sum += worker[static_cast<unsigned>(counter)];
  return sum;
}

void print_counts(const Engine& engine) {
  const auto of = [&](Counter counter) { return static_cast<unsigned long long>(total(engine, counter)); };
  std::printf("{\"upReceived\":%llu,\"upForwarded\":%llu,\"downReceived\":%llu,\"downForwarded\":%llu,\"dropped\":0}\n",
              of(Counter::up_received), of(Counter::up_forwarded), of(Counter::frame_received),
              of(Counter::frame_forwarded));
  std::fflush(stdout);
}

int run(load::Options& in) {
  const uint64_t upstream_port = in.number("upstream-port", 0, 1, 65535);
  const uint64_t upstreams = in.number("upstreams", 1, 1, 1024);
  const uint64_t client_port = in.number("client-port", 0, 1, 65535);
  const uint64_t flows = in.number("flows", 1000, 1, pps::kMostFlows);
  EngineOptions options;
  options.workers = options.lanes = static_cast<unsigned>(in.number("workers", 1, 1, 64));
  options.receive_buffer_bytes = static_cast<int>(in.number("receive-buffer-bytes", 256u << 20, 4096, 1u << 30));
  options.gather_us = static_cast<unsigned>(in.number("gather-us", 50, 0, 1000));
  in.done();
  options.ingresses.push_back({pps::kIngress, loopback(0)});
  options.trunk = loopback(0);
  options.relay_id = pps::kRelayId;
  options.epoch = pps::kRelayEpoch;
  options.cluster = pps::kCluster;
  options.flows.capacity = options.flows.tentative_quota = static_cast<uint32_t>(flows);

  Engine engine(
      options, [](void*) {}, nullptr);
  uint8_t secret[32];
  if (getrandom(secret, sizeof secret, 0) != sizeof secret) fail("no random bytes");
  KeySet keys;
  keys.signing = pps::kKeyId;
  keys.entries[pps::kKeyId] = {true, {}, SipKey::from_bytes(secret), SipKey::from_bytes(secret + 16)};
  engine.set_keys(keys);
  if (const Failure failure = engine.start(); failure.error != 0) {
    fail(failure.about + ": " + std::strerror(failure.error));
  }
  std::vector<Slot> slots;
  for (uint64_t t = 0; t < upstreams; t++) {
    slots.push_back(
        engine.add_transceiver(static_cast<uint32_t>(t + 1), pps::kTransceiverEpoch, loopback(upstream_port + t)));
  }
  uint8_t ufrags[1][32];
  std::memcpy(ufrags[0], kUfrag, 32);
  for (uint32_t flow = 0; flow < flows; flow++) {
    engine.restore(path_of_flow(flow, client_port), slots[flow % upstreams], ufrags, 1);
  }
  if (engine.flow_counts().flows != flows) fail("not every flow found room");

  std::printf("{\"port\":%u,\"bytesPerFlow\":%.1f,\"trunkPorts\":[", engine.ingresses()[0].endpoint.port(),
              static_cast<double>(engine.flow_table_bytes()) / static_cast<double>(flows));
  const char* comma = "";
  for (const uint16_t port : engine.trunk_ports()) std::printf("%s%u", std::exchange(comma, ","), port);
  std::printf("],\"trunkDown\":\"");
  for (size_t i = 16; i < 32; i++) std::printf("%02x", secret[i]);
  std::printf("\"}\n");
  std::fflush(stdout);
  for (char asked; read(STDIN_FILENO, &asked, 1) == 1;) {
    if (asked == '\n') print_counts(engine);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  earshot::load::Options options(argc, argv, 1);
  return run(options);
}
