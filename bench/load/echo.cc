// A transceiver for load tests: one thread, no WebRTC. It answers every Binding request with a bare success response,
// echoes what is not STUN, and answers pings. It must only ever listen on loopback, or in a network that a test has
// made: nobody proves anything to it.
//
//   echo --cluster C --id I --epoch E [--address A] [--port P] [--realtime] [--mischief] [--forgetful]
//
// It remembers whose its paths are, asserts those that a relay asks about, and offers them to other relays when theirs
// is gone, unless it is forgetful. With --mischief it also sends, after each batch, everything that a relay has to drop
// (mischief.h).
//
// stdin: first a line with the key id and the trunk keys, up and down, in hex; then, for each line, what it has counted
// comes back as a line of JSON. It ends with its stdin. Its first line of output is the port.
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <unordered_map>

#include "clock.h"
#include "constants.h"
#include "destination.h"
#include "hex.h"
#include "memory.h"
#include "mischief.h"
#include "options.h"
#include "receiver.h"
#include "socket.h"
#include "stun.h"
#include "trunk.h"

namespace earshot::load {
namespace {

constexpr size_t kStunHeaderBytes = 20;
constexpr int kReceiveBufferBytes = 64 << 20;
constexpr unsigned kDatagrams = 256;
// A transceiver looks after its calls that often.
constexpr int kSeekStepMs = 250;

struct Counts {
  unsigned long long asserted = 0, sought = 0;
  unsigned long long received = 0, refused = 0, frames = 0, requests = 0, echoed = 0, pings = 0, unreadable = 0;
  unsigned long long frames_sent = 0;  // but for pongs
  // Trunk datagrams: to workers, to a relay's control plane, and those that the kernel did not take.
  unsigned long long sent = 0, sent_to_control = 0, send_failed = 0;
};

struct Identity {
  uint16_t cluster;
  uint32_t id;
  uint64_t epoch;
  uint8_t key_id;
  SipKey up;
  SipKey down;
};

// Packs frames for relay ports, and sends what it has packed together.
class Outbox {
 public:
  Outbox(int fd, const Identity& identity, Counts& counts, bool mischief)
      : fd_(fd), identity_(identity), counts_(counts), mischief_(mischief) {
    for (unsigned i = 0; i < kDatagrams; i++) {
      vectors_[i].iov_base = datagrams_[i].bytes;
      messages_[i].msg_hdr.msg_iov = &vectors_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
      messages_[i].msg_hdr.msg_name = &datagrams_[i].to;
    }
  }

  // Answers from now on go to who has sent this.
  void answer(const TrunkHeader& to, const sockaddr_in6& from) {
    port_ = &ports_[to.sender_id];
    port_->id = to.sender_id;
    port_->epoch = to.sender_epoch;
    port_->address = from;
  }

  void data(const Path& path, const uint8_t* payload, size_t length) {
    Datagram& datagram = room(frame_bytes(path, length));
    counts_.frames_sent++;
    datagram.length += write_frame(FrameKind::data, path, payload, length, datagram.bytes + datagram.length);
  }

  void assert_path(const Path& path, const Memory::Entry& entry) {
    Datagram& datagram = room(frame_bytes(path, entry.ufrag.size()));
    counts_.asserted++;
    datagram.length += write_frame(FrameKind::assert_path, path, entry.ufrag.data(), entry.ufrag.size(),
                                   datagram.bytes + datagram.length);
  }

  // To the control planes of all relays that are there, something for this client.
  void seek(const Path& path, const Memory& memory, uint64_t now_ms) {
    static constexpr uint8_t kKeepalive[kStunHeaderBytes] = {0, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42};
    for (auto& [id, port] : ports_) {
      if ((id & 0xff) != 0 || memory.is_gone(id >> 8, now_ms)) continue;
      port_ = &port;
      counts_.sought++;
      data(path, kKeepalive, sizeof kKeepalive);
      counts_.frames_sent--;
    }
  }

  void pong(const uint8_t* nonce) {
    Datagram& datagram = room(kFrameHeaderBytes + 9);
    uint8_t* const out = datagram.bytes + datagram.length;
    const uint8_t header[kFrameHeaderBytes] = {0, 9, static_cast<uint8_t>(FrameKind::pong), 0};
    std::memcpy(out, header, sizeof header);
    std::memcpy(out + sizeof header, nonce, 8);
    out[sizeof header + 8] = 0;  // live
    datagram.length += sizeof header + 9;
  }

  void flush() {
    const bool misbehaves = mischief_ && used_ > 0 && !datagrams_[0].is_to_control;
    for (unsigned i = 0; i < used_; i++) {
      seal_trunk(datagrams_[i].bytes, datagrams_[i].length, identity_.down);
      vectors_[i].iov_len = datagrams_[i].length + kTrunkTagBytes;
      messages_[i].msg_hdr.msg_namelen = sizeof(sockaddr_in);
    }
    for (unsigned i = 0; i < used_; i++) (datagrams_[i].is_to_control ? counts_.sent_to_control : counts_.sent)++;
    send_all(fd_, messages_.data(), used_, [&](unsigned i, int) {
      (datagrams_[i].is_to_control ? counts_.sent_to_control : counts_.sent)--;
      counts_.send_failed++;
    });
    if (misbehaves) misbehave(datagrams_[0]);
    used_ = 0;
    for (auto& [id, port] : ports_) port.open = nullptr;
  }

 private:
  struct Datagram {
    sockaddr_in6 to;
    bool is_to_control;
    size_t length;  // without the tag
    uint8_t bytes[kTrunkHeaderBytes + 3 + kMaxPathBytes + kBufferBytes + kTrunkTagBytes];
  };
  struct Port {
    uint32_t id = 0;
    uint64_t epoch = 0;
    uint64_t sequence = 0;
    sockaddr_in6 address{};
    Datagram* open = nullptr;
  };

  // Each variation of a datagram that has just been sent. Counted as sent, because the relay receives them.
  void misbehave(const Datagram& sent) {
    TrunkHeader header;
    read_trunk_header(sent.bytes, sent.length + kTrunkTagBytes, header);
    header.sequence = ++ports_[header.target_id].sequence;
    for_each_mischief(header, identity_.down, sent.bytes, sent.length + kTrunkTagBytes,
                      [&](const uint8_t* bytes, size_t length) {
                        const auto* to = reinterpret_cast<const sockaddr*>(&sent.to);
                        const ssize_t taken = sendto(fd_, bytes, length, MSG_DONTWAIT, to, sizeof(sockaddr_in));
                        (taken < 0 ? counts_.send_failed : counts_.sent)++;
                      });
  }

  Datagram& room(size_t bytes) {
    if (port_->open != nullptr && port_->open->length + bytes + kTrunkTagBytes <= kTrunkMaxBytes) return *port_->open;
    if (used_ == kDatagrams) flush();
    Datagram& datagram = datagrams_[used_++];
    datagram.to = port_->address;
    datagram.is_to_control = (port_->id & 0xff) == 0;
    datagram.length = kTrunkHeaderBytes;
    write_trunk_header({.direction = Direction::down,
                        .key_id = identity_.key_id,
                        .cluster = identity_.cluster,
                        .sender_id = identity_.id,
                        .target_id = port_->id,
                        .target_epoch = static_cast<uint32_t>(port_->epoch),
                        .sender_epoch = identity_.epoch,
                        .sequence = ++port_->sequence},
                       datagram.bytes);
    port_->open = &datagram;
    return datagram;
  }

  const int fd_;
  const Identity& identity_;
  Counts& counts_;
  const bool mischief_;
  std::unordered_map<uint32_t, Port> ports_;
  Port* port_ = nullptr;
  unsigned used_ = 0;
  std::unique_ptr<Datagram[]> datagrams_{new Datagram[kDatagrams]()};
  std::array<mmsghdr, kDatagrams> messages_{};
  std::array<iovec, kDatagrams> vectors_{};
};

void take_frame(const Frame& frame, uint32_t relay, Outbox& outbox, Memory* memory, Counts& counts) {
  counts.frames++;
  if (frame.kind == FrameKind::unknown_path && memory != nullptr) {
    if (const Memory::Entry* entry = memory->find(frame.path)) outbox.assert_path(frame.path, *entry);
    return;
  }
  if (frame.kind == FrameKind::ping) {
    counts.pings++;
    return outbox.pong(frame.payload);
  }
  if (frame.kind != FrameKind::data) return;
  if (frame.payload[0] > 3) {
    counts.echoed++;
    if (memory != nullptr) memory->note(frame.path, nullptr, relay);
    return outbox.data(frame.path, frame.payload, frame.length);
  }
  const StunView stun = read_stun(frame.payload, frame.length);
  if (stun.kind != StunKind::request) return;
  if (memory != nullptr) memory->note(frame.path, &stun, relay);
  counts.requests++;
  uint8_t success[kStunHeaderBytes] = {0x01, 0x01};  // a Binding success response without attributes
  std::memcpy(success + 4, frame.payload + 4, kStunHeaderBytes - 4);
  outbox.data(frame.path, success, sizeof success);
}

void take_datagram(const uint8_t* bytes, size_t length, const sockaddr_in6& from, const Identity& identity,
                   Outbox& outbox, Memory* memory, Counts& counts) {
  counts.received++;
  TrunkHeader header;
  if (!read_trunk_header(bytes, length, header) || header.direction != Direction::up ||
      !trunk_tag_matches(bytes, length, identity.up) || header.target_id != identity.id ||
      (header.target_epoch != 0 && header.target_epoch != static_cast<uint32_t>(identity.epoch))) {
    counts.refused++;
    return;
  }
  outbox.answer(header, from);
  const uint32_t relay = header.sender_id >> 8;
  if (memory != nullptr) memory->heard(relay, steady_ns() / 1'000'000);
  FrameReader reader(bytes + kTrunkHeaderBytes, bytes + length - kTrunkTagBytes, Direction::up);
  for (Frame frame; reader.next(frame);) take_frame(frame, relay, outbox, memory, counts);
  counts.unreadable += reader.malformed();
}

void print(const Counts& counts, int fd) {
  std::printf(
      "{\"received\":%llu,\"refused\":%llu,\"frames\":%llu,\"unreadable\":%llu,\"requests\":%llu,\"echoed\":%llu,"
      "\"pings\":%llu,\"framesSent\":%llu,\"sent\":%llu,\"sentToControl\":%llu,\"sendFailed\":%llu,"
      "\"asserted\":%llu,\"sought\":%llu,\"kernelDrops\":%u}\n",
      counts.received, counts.refused, counts.frames, counts.unreadable, counts.requests, counts.echoed, counts.pings,
      counts.frames_sent, counts.sent, counts.sent_to_control, counts.send_failed, counts.asserted, counts.sought,
      kernel_drops(fd));
  std::fflush(stdout);
}

// Not a byte more: what comes behind is for poll().
std::string read_line() {
  std::string line;
  for (char c = 0; line.size() < 256 && read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
  return line;
}

Identity read_identity(Options& options) {
  Identity identity{};
  identity.cluster = static_cast<uint16_t>(options.number("cluster", 0, 0, 0xffff));
  identity.id = static_cast<uint32_t>(options.number("id", 1, 0, 0xffffffff));
  identity.epoch = options.number("epoch", 1, 1, ~uint64_t{0});
  unsigned key_id = 0;
  std::string up, down;
  std::istringstream line(read_line());
  if (!(line >> key_id >> up >> down)) fail("expected a key id and two keys on stdin");
  const std::vector<uint8_t> up_key = from_hex(up), down_key = from_hex(down);
  if (key_id >= kKeyIds || up_key.size() != 16 || down_key.size() != 16) fail("expected a key id and two 16-byte keys");
  identity.key_id = static_cast<uint8_t>(key_id);
  identity.up = SipKey::from_bytes(up_key.data());
  identity.down = SipKey::from_bytes(down_key.data());
  return identity;
}

int run(Options& options) {
  const std::string address = options.text_or("address", "127.0.0.1");
  const uint64_t port = options.number("port", 0, 0, 65535);
  const bool realtime = options.flag("realtime");
  const bool mischief = options.flag("mischief");
  const bool forgetful = options.flag("forgetful");
  const Identity identity = read_identity(options);
  options.done();
  const sched_param priority{.sched_priority = 10};
  if (realtime && sched_setscheduler(0, SCHED_FIFO, &priority) != 0) fail("no realtime priority, which needs root");

  Endpoint wanted, local;
  Fd fd;
  if (address != "127.0.0.1" && !is_in_made_network()) fail(address + " is not loopback, and this is a real network");
  if (!Endpoint::parse(address, static_cast<uint16_t>(port), wanted) ||
      open_udp(wanted, {.reuse_port = false, .receive_buffer_bytes = kReceiveBufferBytes}, fd, local) != 0) {
    fail("no socket on " + address);
  }
  std::printf("{\"port\":%u}\n", local.port());
  std::fflush(stdout);

  Counts counts;
  Receiver receiver;
  Outbox outbox(fd.get(), identity, counts, mischief);
  Memory remembered;
  Memory* const memory = forgetful ? nullptr : &remembered;
  for (;;) {
    pollfd watched[2] = {{fd.get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (poll(watched, 2, kSeekStepMs) < 0) continue;
    if (memory != nullptr) {
      const uint64_t now_ms = steady_ns() / 1'000'000;
      memory->seek(now_ms, [&](const Path& path) { outbox.seek(path, *memory, now_ms); });
      outbox.flush();
    }
    if (watched[1].revents != 0) {
      char asked[64];
      const ssize_t got = read(STDIN_FILENO, asked, sizeof asked);
      if (got <= 0) return 0;
      for (ssize_t i = 0; i < got; i++) {
        if (asked[i] == '\n') print(counts, fd.get());
      }
    }
    if (watched[0].revents == 0) continue;
    const unsigned got = receiver.receive(fd.get());
    for (unsigned i = 0; i < got; i++) {
      take_datagram(receiver.bytes(i), receiver.length(i), receiver.source(i), identity, outbox, memory, counts);
    }
    outbox.flush();
  }
}

}  // namespace
}  // namespace earshot::load

int main(int argc, char** argv) {
  earshot::load::Options options(argc, argv, 1);
  return earshot::load::run(options);
}
