#include "call_client.h"

#include <algorithm>
#include <utility>

#include "classify.h"
#include "stun_writer.h"

namespace earshot::load {
namespace {

constexpr uint16_t kRequest = 0x0001, kSuccess = 0x0101;
constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kCheckAgainNs = 100 * kMs;
constexpr uint64_t kConsentNs = 2'500 * kMs;  // as libwebrtc
constexpr uint32_t kTimestampStep = 960;      // 20 ms at 48 kHz
constexpr size_t kRtpHeaderBytes = 12;

}  // namespace

CallClient::CallClient(const CallClientOptions& options, const Path& path, std::string ufrag, std::string password,
                       uint64_t offered_ns, const Send& send)
    : options_(options),
      path_(path),
      username_(std::move(ufrag) + ":" + options.ufrag),
      password_(std::move(password)),
      offered_ns_(offered_ns),
      send_(send) {}

void CallClient::turn(uint64_t now_ns) {
  if (now_ns >= next_check_ns_) {
    next_check_ns_ = now_ns + (state_ == State::checking ? kCheckAgainNs : kConsentNs);
    check();
  }
  if (state_ == State::connected) audio(now_ns);
}

void CallClient::check() {
  uint8_t transaction[12] = {1};
  std::memcpy(transaction + 1, path_.address, 4);
  StunWriter stun(kRequest, transaction);
  stun.attribute(0x0006, username_.data(), username_.size());
  const uint8_t priority[4] = {0x7e, 0, 0, 0xff};
  stun.attribute(0x0024, priority, sizeof priority);
  const uint8_t tie_breaker[8] = {1};
  stun.attribute(0x802a, tie_breaker, sizeof tie_breaker);  // controlling
  stun.attribute(0x0025, nullptr, 0);                       // use this path
  stun.integrity(password_);
  stun.fingerprint();
  const auto bytes = stun.take();
  send_(path_, bytes.data(), bytes.size());
}

void CallClient::answer(const uint8_t* request) {
  StunWriter stun(kSuccess, request + 8);
  stun.integrity(options_.password);
  stun.fingerprint();
  const auto bytes = stun.take();
  send_(path_, bytes.data(), bytes.size());
}

std::optional<uint64_t> CallClient::receive(const uint8_t* bytes, size_t length, uint64_t now_ns) {
  switch (classify(bytes[0])) {
    case PacketClass::stun:
      if (length < 20) return {};
      if (read_u16(bytes) == kRequest) {
        answer(bytes);
        has_answered_ = true;
      } else if (read_u16(bytes) == kSuccess) {
        is_answered_ = true;
      }
      if (state_ == State::checking && is_answered_ && has_answered_) {
        state_ = State::handshaking;
        dtls_ = std::make_unique<dtls_test::Client>(
            dtls_test::ClientOptions{.certificate = &options_.certificate, .srtp_profiles = "SRTP_AEAD_AES_128_GCM"});
        handshake(nullptr, 0, now_ns);
      }
      return {};
    case PacketClass::dtls:
      if (state_ == State::handshaking) handshake(bytes, length, now_ns);
      return {};
    case PacketClass::rtp: {
      const uint8_t type = bytes[1] & 0x7f;
      if (length < kRtpHeaderBytes || (type >= 64 && type < 96)) return {};  // RTCP
      if (first_echo_ns_ == 0) first_echo_ns_ = now_ns;
      return now_ns - sent_ns_[read_u32(bytes + 4) / kTimestampStep % kRemembered];
    }
    default:
      return {};
  }
}

void CallClient::handshake(const uint8_t* bytes, size_t length, uint64_t now_ns) {
  if (length == 0) {
    dtls_->handshake();
  } else {
    dtls_->receive({bytes, length});
  }
  for (const Bytes& datagram : std::exchange(dtls_->sent, {})) send_(path_, datagram.data(), datagram.size());
  if (dtls_->failed) state_ = State::failed;
  if (!dtls_->connected) return;
  srtp_.emplace(dtls_->srtp());
  dtls_.reset();
  state_ = State::connected;
  connected_ns_ = now_ns;
}

void CallClient::audio(uint64_t now_ns) {
  std::array<uint8_t, 1'500> packet{};
  packet[0] = 0x80;
  packet[1] = options_.payload_type;
  write_u16(&packet[2], static_cast<uint16_t>(next_));
  write_u32(&packet[4], static_cast<uint32_t>(next_) * kTimestampStep);
  write_u32(&packet[8], options_.ssrc);
  sent_ns_[next_++ % kRemembered] = now_ns;
  const int length = srtp_->protect_rtp(packet, kRtpHeaderBytes + options_.payload_bytes);
  if (length > 0) send_(path_, packet.data(), static_cast<size_t>(length));
}

}  // namespace earshot::load
