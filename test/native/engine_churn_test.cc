// An engine under real traffic while its control thread does everything that it may do, other numbers of workers among
// it, and stops in the midst of it. For the thread sanitizer; and at the end every datagram must be accounted for.
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "loopback.h"
#include "random.h"
#include "replay_window.h"
#include "stun.h"
#include "token.h"

using namespace loopback;

namespace {

constexpr unsigned kWorkers = 2;  // at first
constexpr unsigned kLanes = 3;
constexpr unsigned kClients = 6;
constexpr uint32_t kTransceivers = 3;
constexpr int kReceiveBuffer = 4 << 20;
constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// A token of ours, whose first two bytes inside say whose: the transceiver, and which of its sessions.
std::vector<uint8_t> ufrag_of(uint8_t transceiver, uint8_t session) {
  uint8_t token[kTokenBytes] = {0, transceiver, session};
  const uint64_t tag = siphash24(keys().entries[0].token_tag, token, 17);
  std::memcpy(token + 17, &tag, 7);
  std::vector<uint8_t> chars;
  for (size_t i = 0; i < kTokenBytes; i += 3) {
    const uint32_t group = static_cast<uint32_t>(token[i] << 16 | token[i + 1] << 8 | token[i + 2]);
    for (int c = 0; c < 4; c++) chars.push_back(static_cast<uint8_t>(kAlphabet[group >> (18 - 6 * c) & 63]));
  }
  return chars;
}

std::vector<uint8_t> request_of(const std::vector<uint8_t>& ufrag) {
  std::vector<uint8_t> out = binding(1);
  out.resize(20 + 4 + 36);
  write_u16(out.data() + 2, 40);
  write_u16(out.data() + 20, 0x0006);
  write_u16(out.data() + 22, 34);
  std::memcpy(out.data() + 24, ufrag.data(), kUfragChars);
  out[24 + kUfragChars] = ':';
  return out;
}

// Shared by the threads of a round: what it knows of transceivers changes with each epoch.
struct Round {
  Endpoint ingress;
  std::vector<Endpoint> trunks;
  std::unique_ptr<Peer> clients[kClients];
  std::unique_ptr<Peer> transceivers[kTransceivers];
  std::atomic<uint64_t> epochs[kTransceivers];
  std::atomic<bool> clients_done{false};
  std::atomic<bool> transceivers_done{false};

  std::atomic<uint64_t> up_sent{0}, down_sent{0};
  std::atomic<uint64_t> frames_arrived{0};
  std::atomic<uint64_t> came_to_clients{0};
  std::atomic<uint64_t> wrong{0};

  Round() {
    for (auto& each : clients) each = std::make_unique<Peer>(kReceiveBuffer);
    for (auto& each : transceivers) each = std::make_unique<Peer>(kReceiveBuffer);
  }
};

// Every client: requests for several sessions of several transceivers, answers, media, and what is none of it.
void run_clients(Round& round) {
  Random random(1);
  uint8_t got[2048];
  const auto drain = [&] {
    for (auto& client : round.clients) {
      while (client->receive(got, sizeof got, 0) != 0) round.came_to_clients++;
    }
  };
  while (!round.clients_done.load()) {
    for (auto& client : round.clients) {
      for (int i = 0; i < 6; i++) {
        std::vector<uint8_t> datagram;
        switch (random.below(8)) {
          case 0:
          case 1:
            datagram = request_of(
                ufrag_of(static_cast<uint8_t>(random.below(kTransceivers)), static_cast<uint8_t>(random.below(3))));
            break;
          case 2:
            datagram = binding(random.chance(50) ? 0x0101 : 0x0011);
            break;
          case 3:
            datagram = {static_cast<uint8_t>(random.below(256)), 0, 0};
            break;
          case 4:
            datagram = request_of(std::vector<uint8_t>(kUfragChars, 'x'));  // of no key of ours
            break;
          default:
            datagram.assign(1 + random.below(1200), 0x80);
        }
        if (client->send(round.ingress, datagram.data(), datagram.size())) round.up_sent++;
      }
    }
    drain();
    usleep(200);  // or the sockets overflow, and nothing but that is tested
  }
}

// Every transceiver: answers requests, sends media back, by any lane, promotes and ends.
class Transceivers {
 public:
  explicit Transceivers(Round& round) : round_(round) {}

  void run() {
    uint8_t got[4096];
    while (!round_.transceivers_done.load()) {
      bool idle = true;
      for (uint32_t t = 0; t < kTransceivers; t++) {
        Endpoint from;
        while (const size_t length = round_.transceivers[t]->receive(got, sizeof got, 0, &from)) {
          read(t, got, length, from);
          idle = false;
        }
      }
      if (idle) usleep(200);
    }
  }

 private:
  void read(uint32_t t, const uint8_t* bytes, size_t length, const Endpoint& from) {
    TrunkHeader header;
    const KeySet known = keys();
    if (!read_trunk_header(bytes, length, header) || header.direction != Direction::up || header.key_id > 1 ||
        !trunk_tag_matches(bytes, length, known.entries[header.key_id].trunk_up) || header.target_id != t ||
        from.port() != round_.trunks[lane_of(header)].port() || !windows_[t][lane_of(header)].accept(header.sequence)) {
      round_.wrong++;
      return;
    }
    FrameReader reader(bytes + kTrunkHeaderBytes, bytes + length - kTrunkTagBytes, Direction::up);
    for (Frame frame; reader.next(frame);) {
      round_.frames_arrived++;
      answer(t, frame, lane_of(header));
    }
    if (reader.malformed()) round_.wrong++;
  }

  static unsigned lane_of(const TrunkHeader& header) { return (header.sender_id & 0xff) - 1; }

  void answer(uint32_t t, const Frame& frame, unsigned lane) {
    std::vector<DownFrame> frames;
    const StunView stun = read_stun(frame.payload, frame.length);
    if (stun.kind == StunKind::request) {
      const std::vector<uint8_t> ufrag(stun.ufrag, stun.ufrag + stun.ufrag_length);
      frames.push_back({FrameKind::data, frame.path, binding(0x0101)});
      if (random_.chance(30)) frames.push_back({FrameKind::promote, frame.path, ufrag});
      if (random_.chance(10)) frames.push_back({FrameKind::flow_end, frame.path, ufrag});
      if (random_.chance(5)) frames.push_back({FrameKind::assert_path, frame.path, ufrag});
    } else {
      frames.push_back({FrameKind::data, frame.path, {frame.payload, frame.payload + frame.length}});
    }
    if (random_.chance(20)) lane = random_.below(kLanes);  // any worker forwards any flow
    const uint32_t target = kRelayId << 8 | (lane + 1);
    const auto datagram = down(t, round_.epochs[t].load(), target, ++sequences_[t][lane], frames);
    if (round_.transceivers[t]->send(round_.trunks[lane], datagram.data(), datagram.size())) round_.down_sent++;
  }

  Round& round_;
  Random random_{2};
  ReplayWindow windows_[kTransceivers][kLanes];
  uint64_t sequences_[kTransceivers][kLanes] = {};
};

// The control thread, as the relay's control plane would be, only hastier.
class Control {
 public:
  Control(Engine& engine, Round& round) : engine_(engine), round_(round) {
    for (uint32_t t = 0; t < kTransceivers; t++) enter(t);
  }

  void turn(bool change) {
    engine_.answer_doorbell();
    unsigned worker = 0;
    while (const QueueRecord* record = engine_.front(worker)) {
      take(*record, worker);
      engine_.pop(worker);
    }
    while (const Path* path = engine_.front_ask(worker)) {
      settle(*path, worker);
      engine_.pop_ask(worker);
    }
    engine_.expire();
    if (!change) return;
    turns_++;
    if (turns_ % 5 == 0) engine_.set_keys(keys(turns_ % 10 == 0));
    if (turns_ % 40 == 0) {
      const uint32_t t = random_.below(kTransceivers);
      engine_.retire_transceiver(slots_[t]);
      enter(t);
      replaced++;
    }
    if (turns_ % 25 == 0) {
      const unsigned workers = 1 + random_.below(kLanes);
      CHECK_EQUAL(engine_.set_workers(workers, {}).error, 0);
      CHECK_EQUAL(engine_.workers(), workers);
    }
    if (turns_ % 30 == 0) engine_.hold(turns_ % 60 == 0 ? 0 : 60'000);
    if (turns_ % 7 == 0) {
      const Path path = round_.clients[random_.below(kClients)]->path();
      const uint32_t t = random_.below(kTransceivers);
      const auto ufrag = ufrag_of(static_cast<uint8_t>(t), static_cast<uint8_t>(random_.below(3)));
      engine_.end(path, slots_[t], ufrag.data());
      if (const Flow* flow = engine_.flow(path)) assured += flow->assured();
    }
  }

  uint64_t misses = 0, offered = 0, control_frames = 0, promoted = 0, ended = 0, replaced = 0;
  uint64_t settled = 0, restored = 0;
  uint64_t assured = 0;  // of the flows that were looked at

 private:
  void enter(uint32_t t) {
    round_.epochs[t].store(++epoch_);
    slots_[t] = engine_.add_transceiver(t, epoch_, round_.transceivers[t]->local);
    CHECK(slots_[t] != kNoSlot);
  }

  void take(const QueueRecord& record, unsigned worker) {
    const auto kind = static_cast<FrameKind>(record.kind);
    if (kind == FrameKind::unknown_path) return;  // counted as the frame that was dropped
    if (record.kind != 0) control_frames++;
    switch (kind) {
      case FrameKind::promote:
        promoted += engine_.promote(record.path, record.slot, record.payload);
        return;
      case FrameKind::flow_end:
        ended += engine_.end(record.path, record.slot, record.payload);
        return;
      case FrameKind::assert_path:
        return;
      default:
        misses++;
        const StunView stun = read_stun(record.payload, record.length);
        uint8_t token[kTokenBytes];
        if (stun.ufrag_length != kUfragChars || !decode_ice_chars(stun.ufrag, token)) {
          round_.wrong++;
          return;
        }
        engine_.admit(record.path, slots_[token[1]], stun.ufrag);
        offered += engine_.offer(worker, record.path, record.payload, record.length);
    }
  }

  void settle(const Path& path, unsigned worker) {
    settled++;
    if (random_.chance(50)) {
      const uint32_t t = random_.below(kTransceivers);
      const auto ufrag = ufrag_of(static_cast<uint8_t>(t), static_cast<uint8_t>(random_.below(3)));
      uint8_t ufrags[1][32];
      std::memcpy(ufrags[0], ufrag.data(), sizeof ufrags[0]);
      restored += engine_.restore(path, slots_[t], ufrags, 1) == RestoreResult::installed;
    }
    CHECK(engine_.settle(worker, path, random_.chance(50) ? HoldVerdict::unknown : HoldVerdict::failed));
  }

  Engine& engine_;
  Round& round_;
  Random random_{3};
  Slot slots_[kTransceivers] = {};
  uint64_t epoch_ = 1000;
  uint64_t turns_ = 0;
};

void serve(Engine& engine, Round& round) {
  engine.set_keys(keys());
  CHECK_EQUAL(engine.start().error, 0);
  round.ingress = engine.ingresses()[0].endpoint;
  for (const uint16_t port : engine.trunk_ports()) round.trunks.push_back(endpoint(port));
}

// Enough of everything has happened; a bound on the turns only, because sanitizers are slow.
bool busy_enough(const Engine& engine, const Control& control) {
  return total(engine, Counter::up_forwarded) > 1500 && total(engine, Counter::frame_forwarded) > 1000 &&
         control.settled > 20 && control.restored > 5 && control.misses > 100 && control.promoted > 10 &&
         control.ended > 10 && control.replaced > 10;
}

void churn(Engine& engine, Control& control) {
  int turns = 0;
  do {
    control.turn(true);
    usleep(100);
  } while (++turns < 60'000 && !(turns % 50 == 0 && busy_enough(engine, control)));
  CHECK(busy_enough(engine, control));
}

// Until nothing is counted any more.
void come_to_rest(Engine& engine, Control& control) {
  auto before = engine.counters();
  for (int still = 0; still < 50;) {
    control.turn(false);
    usleep(1000);
    auto after = engine.counters();
    still = after == before ? still + 1 : 0;
    before = std::move(after);
  }
}

uint64_t drops(const std::unique_ptr<Peer>* peers, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += kernel_drops(peers[i]->fd.get());
  return sum;
}

}  // namespace

TEST("an engine that stops in the midst of traffic has counted everything that it took") {
  for (int n = 0; n < 3; n++) {
    Round round;
    Engine engine(
        options(kWorkers, kLanes), [](void*) {}, nullptr);
    serve(engine, round);
    Control control(engine, round);
    Transceivers transceivers(round);
    std::thread client_thread([&] { run_clients(round); });
    std::thread transceiver_thread([&] { transceivers.run(); });
    churn(engine, control);
    engine.stop();
    round.clients_done = round.transceivers_done = true;
    client_thread.join();
    transceiver_thread.join();

    check_accounting(engine);
    CHECK_EQUAL(round.wrong.load(), 0u);
    // What is missing had not been taken from the queues when it stopped.
    CHECK_EQUAL(total(engine, Counter::up_held), total(engine, Counter::up_released));
    CHECK(control.misses <= total(engine, Counter::up_missed));
    CHECK(control.control_frames <= total(engine, Counter::frame_control));
    CHECK(control.offered >= total(engine, Counter::up_reoffered));
  }
}

TEST("at rest every datagram that anybody sent has arrived or is counted") {
  Round round;
  Engine engine(
      options(kWorkers, kLanes), [](void*) {}, nullptr);
  serve(engine, round);
  Control control(engine, round);
  Transceivers transceivers(round);
  std::thread client_thread([&] { run_clients(round); });
  std::thread transceiver_thread([&] { transceivers.run(); });
  churn(engine, control);
  round.clients_done = true;
  client_thread.join();
  come_to_rest(engine, control);
  round.transceivers_done = true;
  transceiver_thread.join();
  come_to_rest(engine, control);
  const uint64_t public_drops = engine.public_kernel_drops(), trunk_drops = engine.trunk_kernel_drops();
  engine.stop();

  check_accounting(engine);
  CHECK_EQUAL(round.wrong.load(), 0u);
  CHECK_EQUAL(total(engine, Counter::up_held), total(engine, Counter::up_released));
  CHECK_EQUAL(control.misses, total(engine, Counter::up_missed));
  CHECK_EQUAL(control.offered, total(engine, Counter::up_reoffered));
  CHECK_EQUAL(control.control_frames, total(engine, Counter::frame_control));
  CHECK_EQUAL(round.up_sent.load(), total(engine, Counter::up_received) + public_drops);
  CHECK_EQUAL(round.down_sent.load(), total(engine, Counter::down_received) + trunk_drops);
  CHECK_EQUAL(total_of(engine, "up_drop_send") + total_of(engine, "frame_drop_send"), 0u);

  // Where the kernel dropped none of ours, every frame and every datagram has come.
  if (drops(round.transceivers, kTransceivers) == 0) {
    const uint64_t copies = total(engine, Counter::up_copied);
    CHECK_EQUAL(round.frames_arrived.load(), total(engine, Counter::up_forwarded) + copies);
  }
  uint8_t got[2048];
  for (auto& client : round.clients) {
    while (client->receive(got, sizeof got, 0) != 0) round.came_to_clients++;
  }
  if (drops(round.clients, kClients) == 0) {
    CHECK_EQUAL(round.came_to_clients.load(), total(engine, Counter::frame_forwarded));
  }
  CHECK(total(engine, Counter::up_copied) > 0);
  CHECK(total(engine, Counter::down_drop_sender) > 0 || control.replaced < 20);
  CHECK(total(engine, Counter::frame_drop_not_owner) + total(engine, Counter::frame_drop_unknown_path) > 0);
}
