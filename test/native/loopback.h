// What the engine's tests share: an engine on loopback, sockets around it, and datagrams to send.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <vector>

#include "check.h"
#include "engine.h"
#include "trunk.h"

namespace loopback {

using namespace earshot;

inline constexpr uint16_t kIngress = 1;
inline constexpr uint16_t kCluster = 9;
inline constexpr uint32_t kRelayId = 0xabcdef;
inline constexpr uint64_t kRelayEpoch = 1234567;

inline Endpoint endpoint(uint16_t port = 0) {
  Endpoint out;
  Endpoint::parse("127.0.0.1", port, out);
  return out;
}

inline bool within_two_seconds(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; i++) {
    if (condition()) return true;
    usleep(1000);
  }
  return false;
}

// For what a machine that is busy with other work may take long over.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 15; i++) {
    if (within_two_seconds(condition)) return true;
  }
  return false;
}

struct Peer {
  explicit Peer(int receive_buffer = 0) {
    CHECK_EQUAL(open_udp(endpoint(), {.reuse_port = false, .receive_buffer_bytes = receive_buffer}, fd, local), 0);
  }
  // Whether the kernel took it.
  bool send(const Endpoint& to, const uint8_t* bytes, size_t length) const {
    const auto* address = reinterpret_cast<const sockaddr*>(&to.address);
    return sendto(fd.get(), bytes, length, 0, address, to.length) == static_cast<ssize_t>(length);
  }
  // 0 when nothing came.
  size_t receive(uint8_t* out, size_t most, int timeout_ms = 2000, Endpoint* from = nullptr) const {
    pollfd poll_fd{fd.get(), POLLIN, 0};
    if (timeout_ms > 0 && poll(&poll_fd, 1, timeout_ms) != 1) return 0;
    Endpoint source;
    source.length = sizeof source.address;
    auto* address = reinterpret_cast<sockaddr*>(&source.address);
    const ssize_t got = recvfrom(fd.get(), out, most, MSG_DONTWAIT, address, &source.length);
    if (from != nullptr) *from = source;
    return got > 0 ? static_cast<size_t>(got) : 0;
  }
  Path path() const { return path_of(local.address, kIngress); }
  Fd fd;
  Endpoint local;
};

inline EngineOptions options(unsigned workers, unsigned lanes = 0) {
  EngineOptions out;
  out.ingresses.push_back({kIngress, endpoint()});
  out.trunk = endpoint();
  out.workers = workers;
  out.lanes = lanes != 0 ? lanes : workers;
  out.relay_id = kRelayId;
  out.epoch = kRelayEpoch;
  out.cluster = kCluster;
  out.flows = {1000, 1000};
  out.receive_buffer_bytes = 1 << 20;
  return out;
}

// Two known keys, of which one signs.
inline KeySet keys(uint8_t signing = 0) {
  KeySet out;
  for (unsigned id = 0; id < 2; id++) {
    out.entries[id].known = true;
    out.entries[id].token_tag = {1, 2 + 10 * id};
    out.entries[id].trunk_up = {3, 4 + 10 * id};
    out.entries[id].trunk_down = {5, 6 + 10 * id};
  }
  out.signing = signing;
  return out;
}

inline std::vector<uint8_t> binding(uint16_t type) {
  std::vector<uint8_t> out(20);
  write_u16(out.data(), type);
  write_u32(out.data() + 4, 0x2112a442);
  return out;
}

struct DownFrame {
  FrameKind kind;
  Path path;
  std::vector<uint8_t> payload;
};

// A sealed trunk datagram to a worker's port id.
inline std::vector<uint8_t> down(uint32_t sender, uint64_t epoch, uint32_t target, uint64_t sequence,
                                 const std::vector<DownFrame>& frames) {
  std::vector<uint8_t> out(4096);
  write_trunk_header({.direction = Direction::down,
                      .key_id = 0,
                      .cluster = kCluster,
                      .sender_id = sender,
                      .target_id = target,
                      .target_epoch = static_cast<uint32_t>(kRelayEpoch),
                      .sender_epoch = epoch,
                      .sequence = sequence},
                     out.data());
  size_t at = kTrunkHeaderBytes;
  for (const DownFrame& frame : frames) {
    at += write_frame(frame.kind, frame.path, frame.payload.data(), frame.payload.size(), &out[at]);
  }
  seal_trunk(out.data(), at, keys().entries[0].trunk_down);
  out.resize(at + kTrunkTagBytes);
  return out;
}

inline uint64_t total(const Engine& engine, Counter counter) {
  uint64_t sum = 0;
  for (const auto& worker : engine.counters()) sum += worker[static_cast<unsigned>(counter)];
  return sum;
}

// The sum of all counters whose names begin with `prefix`.
inline uint64_t total_of(const Engine& engine, const char* prefix) {
  static constexpr const char* kNames[] = {
#define WORKER(name, help) #name,
#define CONTROL(name, help)
#include "counters.def"
#undef WORKER
#undef CONTROL
  };
  uint64_t sum = 0;
  for (unsigned c = 0; c < kCounters; c++) {
    if (std::strncmp(kNames[c], prefix, std::strlen(prefix)) == 0) sum += total(engine, static_cast<Counter>(c));
  }
  return sum;
}

// The equations of native/core/counters.def, which hold at the end of every batch. What is held is in the queues, or at
// its worker.
inline void check_accounting(const Engine& engine) {
  const auto of = [&](Counter counter) { return total(engine, counter); };
  CHECK_EQUAL(of(Counter::up_received) + of(Counter::up_reoffered) + of(Counter::up_released),
              of(Counter::up_forwarded) + total_of(engine, "up_drop_") + of(Counter::up_missed) + of(Counter::up_held));
  CHECK_EQUAL(of(Counter::down_received), of(Counter::down_accepted) + total_of(engine, "down_drop_"));
  CHECK_EQUAL(of(Counter::frame_received),
              of(Counter::frame_forwarded) + of(Counter::frame_control) + total_of(engine, "frame_drop_"));
}

}  // namespace loopback
