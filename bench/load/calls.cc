// Many clients of one transceiver, and the relay between: they speak to it over the trunk, so that nothing but the
// transceiver is measured. Keys come on the first line of stdin: `<key id> <up> <down>`. It then says its fingerprint,
// and takes lines:
//   call <offered ns> <ufrag> <password>   a client whose offer has been answered
//   reset                                  from here on it counts anew
//   (empty)                                says what it has counted, as a line of JSON
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "call_client.h"
#include "clock.h"
#include "hex.h"
#include "options.h"
#include "quantile.h"
#include "receiver.h"
#include "socket.h"
#include "trunk_packer.h"

namespace earshot::load {
namespace {

constexpr uint32_t kRelayPort = 1 << 8 | 1;
constexpr uint16_t kIngress = 1;
constexpr unsigned kSlot = 1;  // the packer's only target
constexpr unsigned kDatagrams = 256;
constexpr int kReceiveBufferBytes = 32 << 20;
// Every client has its turn once in 20 ms, in one of so many shares of it.
constexpr uint64_t kPeriodNs = 20'000'000;
constexpr unsigned kTurns = 80;
constexpr uint64_t kTurnNs = kPeriodNs / kTurns;

class Calls {
 public:
  explicit Calls(Options& options) {
    pack_ = options.flag("pack");
    target_id_ = static_cast<uint32_t>(options.number("id", 1, 0, 0xffffffff));
    target_epoch_ = options.number("epoch", 1, 1, ~uint64_t{0});
    const auto cluster = static_cast<uint16_t>(options.number("cluster", 0, 0, 0xffff));
    const auto port = static_cast<uint16_t>(options.number("port", 0, 1, 65535));
    client_.ufrag = options.text("ufrag");
    client_.password = options.text("password");
    client_.payload_type = 96;
    client_.ssrc = 1;
    client_.payload_bytes = options.number("payload-bytes", 100, 1, 1200);
    options.done();
    read_keys();
    Endpoint any, local;
    Endpoint::parse("127.0.0.1", port, to_);
    Endpoint::parse("127.0.0.1", 0, any);
    if (open_udp(any, {.reuse_port = false, .receive_buffer_bytes = kReceiveBufferBytes}, fd_, local) != 0) {
      fail("no socket on 127.0.0.1");
    }
    packer_ = std::make_unique<TrunkPacker>(TrunkPacker::Identity{Direction::up, cluster, kRelayPort, steady_ns()},
                                            kDatagrams, kSlot);
    packer_->use(fd_.get());
    packer_->begin(keys_);
    std::printf("{\"fingerprint\":\"");
    const Bytes digest = client_.certificate.digest(EVP_sha256());
    for (size_t i = 0; i < digest.size(); i++) std::printf("%s%02X", i == 0 ? "" : ":", digest[i]);
    std::printf("\"}\n");
    std::fflush(stdout);
  }

  void run() {
    const Fd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    const timespec turn{0, static_cast<long>(kTurnNs)};
    const itimerspec each{turn, turn};
    if (timerfd_settime(timer.get(), 0, &each, nullptr) != 0) fail("no timer");
    for (;;) {
      pollfd watched[3] = {{timer.get(), POLLIN, 0}, {fd_.get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
      if (poll(watched, 3, -1) < 0) continue;
      if (watched[1].revents != 0) receive();
      uint64_t passed = 0;
      if (watched[0].revents != 0 && read(timer.get(), &passed, sizeof passed) == sizeof passed) {
        for (; passed > 0; passed--) take_turn();
      }
      flush();
      if (watched[2].revents != 0 && !read_input()) return;
    }
  }

 private:
  void read_keys() {
    std::string line;
    for (char c = 0; line.size() < 256 && read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
    std::istringstream in(line);
    unsigned id = 0;
    std::string up, down;
    if (!(in >> id >> up >> down) || id >= kKeyIds) fail("expected a key id and two keys on stdin");
    const auto up_key = from_hex(up);
    if (up_key.size() != 16) fail("expected keys of 16 bytes");
    keys_.entries[id].known = true;
    keys_.entries[id].trunk_up = SipKey::from_bytes(up_key.data());
    keys_.signing = static_cast<uint8_t>(id);
  }

  bool read_input() {
    char bytes[65'536];
    const ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got <= 0) return false;
    input_.append(bytes, static_cast<size_t>(got));
    for (size_t end; (end = input_.find('\n')) != std::string::npos; input_.erase(0, end + 1)) {
      take_line(input_.substr(0, end));
    }
    return true;
  }

  void take_line(const std::string& line) {
    std::istringstream in(line);
    std::string what, ufrag, password;
    uint64_t offered_ns = 0;
    if (line.empty()) {
      print();
    } else if (line == "reset") {
      reset();
    } else if (in >> what >> offered_ns >> ufrag >> password && what == "call") {
      Path path;
      path.family = 4;
      path.ingress = kIngress;
      path.port = 40'000;
      write_u32(path.address, 0x0a000000 + static_cast<uint32_t>(clients_.size()));
      clients_.push_back(std::make_unique<CallClient>(client_, path, ufrag, password, offered_ns, send_));
    } else {
      fail("expected a call, reset or an empty line, got " + line);
    }
  }

  void take_turn() {
    const uint64_t now = steady_ns();
    for (size_t i = turn_; i < clients_.size(); i += kTurns) clients_[i]->turn(now);
    turn_ = (turn_ + 1) % kTurns;
  }

  void send(const Path& path, const uint8_t* bytes, size_t length) {
    const size_t frame = frame_bytes(path, length);
    if (!packer_->has_room(kSlot, frame)) flush();
    uint8_t* const out = packer_->add(kSlot, {target_id_, target_epoch_, to_.address, to_.length}, frame, true);
    write_frame(FrameKind::data, path, bytes, length, out);
    if (!pack_) packer_->close(kSlot);
    frames_sent_++;
  }
  void flush() {
    const auto flushed = packer_->flush();
    datagrams_sent_ += flushed.datagrams;
    not_sent_ += flushed.frames_dropped;
  }

  void receive() {
    const unsigned got = receiver_.receive(fd_.get());
    const uint64_t now = steady_ns();
    for (unsigned i = 0; i < got; i++) {
      const uint8_t* const bytes = receiver_.bytes(i);
      const size_t length = receiver_.length(i);
      if (length < kMinTrunkBytes) continue;
      datagrams_received_++;
      FrameReader reader(bytes + kTrunkHeaderBytes, bytes + length - kTrunkTagBytes, Direction::down);
      for (Frame frame; reader.next(frame);) {
        frames_received_++;
        if (frame.kind != FrameKind::data) continue;
        const size_t client = read_u32(frame.path.address) - 0x0a000000;
        if (client >= clients_.size()) continue;
        if (const auto took = clients_[client]->receive(frame.payload, frame.length, now)) {
          echo_us10_.push_back(us10_of(*took));
        }
      }
    }
  }

  void reset() {
    echo_us10_.clear();
    frames_sent_ = datagrams_sent_ = not_sent_ = frames_received_ = datagrams_received_ = 0;
    audio_before_ = audio_sent();
    first_of_window_ = clients_.size();
  }
  uint64_t audio_sent() const {
    uint64_t sent = 0;
    for (const auto& client : clients_) sent += client->audio_sent();
    return sent;
  }

  void print() {
    size_t connected = 0, failed = 0, heard = 0;
    std::vector<uint32_t> connect, audio;
    for (size_t i = 0; i < clients_.size(); i++) {
      const CallClient& client = *clients_[i];
      connected += client.state() == CallClient::State::connected;
      failed += client.state() == CallClient::State::failed;
      heard += client.first_echo_ns() != 0;
      if (i < first_of_window_) continue;
      if (client.connected_ns() != 0) connect.push_back(us10_of(client.connected_ns() - client.offered_ns()));
      if (client.first_echo_ns() != 0) audio.push_back(us10_of(client.first_echo_ns() - client.offered_ns()));
    }
    std::printf(
        "{\"calls\":%zu,\"connected\":%zu,\"failed\":%zu,\"heard\":%zu,\"audioSent\":%llu,\"echoes\":%zu,"
        "\"framesSent\":%llu,\"datagramsSent\":%llu,\"notSent\":%llu,\"framesReceived\":%llu,"
        "\"datagramsReceived\":%llu,\"kernelDrops\":%u,"
        "\"echoUs\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f},\"connectUs\":{\"p50\":%.1f,\"p99\":%.1f},"
        "\"firstAudioUs\":{\"p50\":%.1f,\"p99\":%.1f}}\n",
        clients_.size(), connected, failed, heard, static_cast<unsigned long long>(audio_sent() - audio_before_),
        echo_us10_.size(), static_cast<unsigned long long>(frames_sent_),
        static_cast<unsigned long long>(datagrams_sent_), static_cast<unsigned long long>(not_sent_),
        static_cast<unsigned long long>(frames_received_), static_cast<unsigned long long>(datagrams_received_),
        kernel_drops(fd_.get()), quantile_us(echo_us10_, 0.5), quantile_us(echo_us10_, 0.99),
        quantile_us(echo_us10_, 0.999), quantile_us(connect, 0.5), quantile_us(connect, 0.99), quantile_us(audio, 0.5),
        quantile_us(audio, 0.99));
    std::fflush(stdout);
  }

  CallClientOptions client_;
  bool pack_ = false;
  uint32_t target_id_ = 0;
  uint64_t target_epoch_ = 0;
  KeySet keys_;
  Fd fd_;
  Endpoint to_;
  Receiver receiver_;
  std::unique_ptr<TrunkPacker> packer_;
  const CallClient::Send send_ = [this](const Path& path, const uint8_t* bytes, size_t length) {
    send(path, bytes, length);
  };
  std::vector<std::unique_ptr<CallClient>> clients_;
  size_t turn_ = 0;
  std::string input_;

  uint64_t frames_sent_ = 0, datagrams_sent_ = 0, not_sent_ = 0, frames_received_ = 0, datagrams_received_ = 0;
  uint64_t audio_before_ = 0;
  size_t first_of_window_ = 0;
  std::vector<uint32_t> echo_us10_;
};

}  // namespace
}  // namespace earshot::load

int main(int argc, char** argv) {
  earshot::load::Options options(argc, argv, 1);
  earshot::load::Calls(options).run();
  return 0;
}
