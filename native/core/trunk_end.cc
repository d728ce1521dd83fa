#include "trunk_end.h"

#include <cstring>

#include "classify.h"
#include "shared.h"

namespace earshot {
namespace {

constexpr uint8_t kLive = 0;
constexpr uint8_t kDraining = 1;
constexpr size_t kNonceBytes = 8;

int64_t ms_between(const timespec& earlier, const timespec& later) {
  return (later.tv_sec - earlier.tv_sec) * 1000 + (later.tv_nsec - earlier.tv_nsec) / 1'000'000;
}

}  // namespace

TrunkEnd::TrunkEnd(const Options& options, double* counts)
    : options_(options),
      counts_(counts),
      receiver_({.batch = kTrunkEndBatch, .buffer_bytes = kDatagramBytes, .timestamps = true}),
      packer_({Direction::down, options.cluster, options.id, options.epoch}, kTrunkEndDatagrams, kMaxRelayPorts) {
  packer_.begin(keys_);
}

int TrunkEnd::open() {
  const SocketOptions wanted{.reuse_port = false, .receive_buffer_bytes = options_.receive_buffer_bytes};
  if (const int error = open_udp(options_.local, wanted, fd_, local_)) return error;
  const int on = 1;
  if (setsockopt(fd_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0) return errno;
  packer_.use(fd_.get());
  return 0;
}

void TrunkEnd::close() { fd_ = Fd(); }

// ---- in -------------------------------------------------------------------------------------------------------------

unsigned TrunkEnd::receive(uint8_t* bytes, uint32_t base, Place* places) {
  const unsigned got = receiver_.receive(fd_.get());
  if (got == 0) return 0;
  count(EndCounter::trunk_received, got);
  now_ms_ = Shared::coarse_ms();
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  Delivery to{bytes, base, 0, places, 0};
  for (unsigned i = 0; i < got; i++) {
    const Datagram datagram{receiver_.bytes(i), receiver_.length(i), receiver_.source(i), receiver_.source_length(i),
                            is_stale(i, now)};
    take(datagram, receiver_.truncated(i), to);
  }
  flush();  // the pongs
  return to.count;
}

// A clock that has been set back makes nothing stale, one that has been set forward only what waits at that moment.
bool TrunkEnd::is_stale(unsigned i, const timespec& now) const {
  timespec arrived;
  return receiver_.arrived(i, arrived) && ms_between(arrived, now) > options_.max_media_age_ms;
}

void TrunkEnd::take(const Datagram& datagram, bool truncated, Delivery& to) {
  if (truncated) return count(EndCounter::trunk_drop_truncated);
  const unsigned slot = accept(datagram);
  if (slot == 0) return;
  count(EndCounter::trunk_accepted);
  FrameReader reader(datagram.bytes + kTrunkHeaderBytes, datagram.bytes + datagram.length - kTrunkTagBytes,
                     Direction::up);
  for (Frame frame; reader.next(frame);) {
    count(EndCounter::frame_received);
    switch (frame.kind) {
      case FrameKind::data:
        count(EndCounter::frame_data);
        // The newest voice is what matters; STUN, DTLS and data channels still want theirs.
        if (datagram.stale && classify(frame.payload[0]) == PacketClass::rtp) {
          count(EndCounter::client_drop_stale);
        } else {
          deliver(frame, slot, to);
        }
        break;
      case FrameKind::ping:
        count(EndCounter::frame_ping);
        pong(frame.payload, slot, datagram);
        break;
      default:  // upwards there is but one more kind
        count(EndCounter::frame_unknown_path);
        deliver(frame, slot, to);
    }
  }
  if (reader.malformed()) count(EndCounter::frame_malformed);
}

// In the order of docs/trunk-protocol.md.
unsigned TrunkEnd::accept(const Datagram& datagram) {
  const auto drop = [&](EndCounter why) {
    count(why);
    return 0u;
  };
  TrunkHeader header;
  // Nobody can be answered at port 0, from which the kernel lets datagrams come.
  if (datagram.from.sin6_port == 0 || !read_trunk_header(datagram.bytes, datagram.length, header) ||
      header.direction != Direction::up) {
    return drop(EndCounter::trunk_drop_malformed);
  }
  const KeySet::Entry* key = keys_.find(header.key_id);
  if (key == nullptr) return drop(EndCounter::trunk_drop_key);
  if (!trunk_tag_matches(datagram.bytes, datagram.length, key->trunk_up)) return drop(EndCounter::trunk_drop_tag);
  if (header.cluster != options_.cluster || header.target_id != options_.id) {
    return drop(EndCounter::trunk_drop_target);
  }
  const bool is_discovery = header.target_epoch == 0 && only_pings(datagram);
  if (header.target_epoch != static_cast<uint32_t>(options_.epoch) && !is_discovery) {
    return drop(EndCounter::trunk_drop_target);
  }
  return sender(header, datagram);
}

unsigned TrunkEnd::sender(const TrunkHeader& header, const Datagram& datagram) {
  const unsigned known = ports_.find(header.sender_id);
  const bool is_news = known == 0 || ports_[known].epoch != header.sender_epoch;
  if (known != 0 && header.sender_epoch < ports_[known].epoch) {
    count(EndCounter::trunk_drop_sender);
    return 0;
  }
  const bool is_fresh = is_news ? header.sequence != 0 : ports_[known].window.accept(header.sequence);
  if (!is_fresh) {
    count(EndCounter::trunk_drop_replay);
    return 0;
  }
  const unsigned slot = known != 0 ? known : ports_.learn(header.sender_id);
  RelayPort& port = ports_[slot];
  port.heard_ms = now_ms_;
  if (is_news) {
    port.epoch = header.sender_epoch;
    port.window.reset();
    port.window.accept(header.sequence);
  }
  // A ping that does not name our epoch may be one to an earlier process of ours, replayed from elsewhere.
  if (is_news || header.target_epoch != 0) {
    port.address = datagram.from;
    port.address_length = datagram.from_length;
  }
  return slot;
}

bool TrunkEnd::only_pings(const Datagram& datagram) const {
  FrameReader reader(datagram.bytes + kTrunkHeaderBytes, datagram.bytes + datagram.length - kTrunkTagBytes,
                     Direction::up);
  for (Frame frame; reader.next(frame);) {
    if (frame.kind != FrameKind::ping) return false;
  }
  return !reader.malformed();
}

void TrunkEnd::deliver(const Frame& frame, unsigned slot, Delivery& to) {
  uint8_t* const out = to.bytes + to.used;
  const size_t path = write_path(frame.path, out);
  if (frame.length != 0) std::memcpy(out + path, frame.payload, frame.length);
  const uint32_t start = to.base + to.used;
  const auto payload = static_cast<uint32_t>(start + path);
  const auto end = static_cast<uint32_t>(payload + frame.length);
  to.places[to.count++] = {ports_[slot].id, start, payload, end};
  to.used = end - to.base;
}

// To where this ping came from and nowhere else: if it was replayed, later pongs still go where theirs come from.
void TrunkEnd::pong(const uint8_t* nonce, unsigned slot, const Datagram& ping) {
  constexpr size_t kBytes = kFrameHeaderBytes + kNonceBytes + 1;
  packer_.close(slot);
  uint8_t* const out = room(slot, {ports_[slot].id, ports_[slot].epoch, ping.from, ping.from_length}, kBytes);
  write_u16(out, kNonceBytes + 1);
  out[2] = static_cast<uint8_t>(FrameKind::pong);
  out[3] = 0;
  std::memcpy(out + kFrameHeaderBytes, nonce, kNonceBytes);
  out[kFrameHeaderBytes + kNonceBytes] = draining_ ? kDraining : kLive;
  packer_.close(slot);
}

uint64_t TrunkEnd::silent_ms(unsigned slot) const { return Shared::coarse_ms() - ports_[slot].heard_ms; }

// ---- out ------------------------------------------------------------------------------------------------------------

bool TrunkEnd::send(const uint8_t* outbox, size_t length) {
  const bool whole = pack(outbox, outbox + length);
  flush();
  return whole;
}

bool TrunkEnd::pack(const uint8_t* at, const uint8_t* const end) {
  for (uint32_t id; at != end;) {
    if (static_cast<size_t>(end - at) < sizeof id) return false;
    std::memcpy(&id, at, sizeof id);
    at += sizeof id;
    FrameReader reader(at, end, Direction::down);
    Frame frame;
    if (!reader.next(frame)) return false;
    const auto bytes = static_cast<size_t>(frame.payload + frame.length - at);
    const unsigned slot = ports_.find(id);
    if (slot == 0 || bytes > kFrameBytesMost) {
      count(EndCounter::frame_unsendable);
    } else {
      const RelayPort& port = ports_[slot];
      std::memcpy(room(slot, {port.id, port.epoch, port.address, port.address_length}, bytes), at, bytes);
    }
    at += bytes;
  }
  return true;
}

void TrunkEnd::drain() {
  if (draining_) return;
  draining_ = true;
  for (unsigned slot = 1; slot <= ports_.count(); slot++) {
    const RelayPort& port = ports_[slot];
    uint8_t* const out = room(slot, {port.id, port.epoch, port.address, port.address_length}, kFrameHeaderBytes);
    const uint8_t frame[kFrameHeaderBytes] = {0, 0, static_cast<uint8_t>(FrameKind::drain), 0};
    std::memcpy(out, frame, sizeof frame);
  }
  flush();
}

uint8_t* TrunkEnd::room(unsigned slot, const TrunkPacker::Target& to, size_t bytes) {
  if (!packer_.has_room(slot, bytes)) flush();
  count(EndCounter::frame_sent);
  return packer_.add(slot, to, bytes, false);
}

void TrunkEnd::flush() {
  const TrunkPacker::Flushed flushed = packer_.flush();
  count(EndCounter::trunk_sent, flushed.datagrams);
  count(EndCounter::trunk_send_failed, flushed.datagrams_dropped);
}

}  // namespace earshot
