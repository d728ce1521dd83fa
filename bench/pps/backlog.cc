#include "backlog.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "options.h"
#include "scene.h"
#include "trunk.h"

namespace earshot::pps {
namespace {

constexpr unsigned kMessages = load::RawSender::kMessages;
constexpr uint8_t kRtp = 0x80;

sockaddr_in loopback(uint16_t port) {
  return {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
}

Path path_of_flow(uint32_t flow, uint16_t port) {
  Path path;
  path.family = 4;
  path.ingress = kIngress;
  path.port = port;
  write_u32(path.address, address_of(flow));
  return path;
}

}  // namespace

Backlog::Backlog(const Load& load)
    : load_(load),
      sender_(loopback(load.public_port)),
      order_(load.flows),
      sequences_(load.transceivers * std::max<size_t>(1, load.behind_ports.size())) {
  std::iota(order_.begin(), order_.end(), 0u);
  std::shuffle(order_.begin(), order_.end(), std::mt19937(1));
}

uint32_t Backlog::next_flow() {
  const uint32_t flow = order_[at_];
  at_ = at_ + 1 < order_.size() ? at_ + 1 : 0;
  return flow;
}

void Backlog::set_up(unsigned i, uint32_t flow) {
  uint8_t* const payload = sender_.payload(i);
  payload[0] = kRtp;
  write_u32(payload + 4, flow);
  sender_.set(i, htonl(address_of(flow)), htons(load_.client_port), load_.bytes);
}

void Backlog::prime(uint32_t first, uint32_t count) {
  for (uint32_t flow = first; flow < first + count;) {
    unsigned i = 0;
    for (; i < kMessages && flow < first + count; i++) set_up(i, flow++);
    sender_.send(i);
  }
}

uint64_t Backlog::up(uint64_t packets) {
  uint64_t taken = 0;
  for (uint64_t left = packets; left > 0;) {
    const auto count = static_cast<unsigned>(std::min<uint64_t>(kMessages, left));
    for (unsigned i = 0; i < count; i++) set_up(i, next_flow());
    taken += sender_.send(count);
    left -= count;
  }
  return taken;
}

void Backlog::up_one() {
  set_up(0, next_flow());
  sender_.send(1);
}

uint64_t Backlog::down(uint64_t packets) {
  uint64_t made = 0;
  while (made < packets) {
    unsigned i = 0;
    for (; i < kMessages && made < packets; i++) made += set_down(i);
    if (sender_.send(i) != i) load::fail("the kernel refused what was to come from behind");
  }
  return made;
}

// Returns how many client datagrams are in it.
unsigned Backlog::set_down(unsigned i) {
  if (load_.behind == Behind::trunk) return set_trunk(i, turn_ % load_.transceivers);
  const size_t which = turn_++ % load_.behind_ports.size();
  const uint16_t from = htons(static_cast<uint16_t>(load_.upstream_port + load_.behind_of[which]));
  uint8_t* payload = sender_.payload(i);
  size_t length = load_.bytes;
  if (load_.behind == Behind::numbered) {
    const uint32_t number = next_flow();
    std::memcpy(payload, &number, sizeof number);
    payload += sizeof number;
    length += sizeof number;
  }
  payload[0] = kRtp;
  sender_.set(i, htonl(INADDR_LOOPBACK), from, htons(load_.behind_ports[which]), length);
  return 1;
}

unsigned Backlog::set_trunk(unsigned i, uint32_t transceiver) {
  const size_t lane = turn_ / load_.transceivers % load_.behind_ports.size();
  turn_++;
  uint8_t* const datagram = sender_.payload(i);
  write_trunk_header({.direction = Direction::down,
                      .key_id = kKeyId,
                      .cluster = kCluster,
                      .sender_id = transceiver + 1,
                      .target_id = kRelayId << 8 | static_cast<uint32_t>(lane + 1),
                      .target_epoch = static_cast<uint32_t>(kRelayEpoch),
                      .sender_epoch = kTransceiverEpoch,
                      .sequence = ++sequences_[transceiver * load_.behind_ports.size() + lane]},
                     datagram);
  uint8_t payload[load::RawSender::kMaxPayload] = {kRtp};
  size_t at = kTrunkHeaderBytes;
  for (unsigned f = 0; f < load_.frames; f++) {
    // The nearest flow that is this transceiver's.
    const uint32_t any = next_flow();
    const uint32_t own = any - any % load_.transceivers + transceiver;
    const Path path = path_of_flow(own < load_.flows ? own : transceiver, load_.client_port);
    at += write_frame(FrameKind::data, path, payload, load_.bytes, datagram + at);
  }
  seal_trunk(datagram, at, load_.trunk_down);
  const uint16_t from = htons(static_cast<uint16_t>(load_.upstream_port + transceiver));
  sender_.set(i, htonl(INADDR_LOOPBACK), from, htons(load_.behind_ports[lane]), at + kTrunkTagBytes);
  return load_.frames;
}

}  // namespace earshot::pps
