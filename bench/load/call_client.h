// One client of a call: ICE, DTLS and SRTP, without a socket and without a clock. It offers audio, sends at its time,
// and knows by an echo's timestamp when that was sent.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dtls_client.h"
#include "path.h"

namespace earshot::load {

// What all clients have in common: they stand in one offer.
struct CallClientOptions {
  std::string ufrag, password;
  dtls_test::Certificate certificate;
  uint8_t payload_type;
  uint32_t ssrc;
  size_t payload_bytes;
};

class CallClient {
 public:
  using Send = std::function<void(const Path&, const uint8_t*, size_t)>;
  enum class State { checking, handshaking, connected, failed };

  CallClient(const CallClientOptions& options, const Path& path, std::string ufrag, std::string password,
             uint64_t offered_ns, const Send& send);

  // When it is its turn: audio, or what set-up needs.
  void turn(uint64_t now_ns);
  // A datagram from the transceiver. The time that its audio took, if it is an echo.
  std::optional<uint64_t> receive(const uint8_t* bytes, size_t length, uint64_t now_ns);

  State state() const { return state_; }
  uint64_t offered_ns() const { return offered_ns_; }
  // 0 until then.
  uint64_t connected_ns() const { return connected_ns_; }
  uint64_t first_echo_ns() const { return first_echo_ns_; }
  uint64_t audio_sent() const { return next_; }

 private:
  static constexpr uint64_t kRemembered = 1024;  // 20 s of audio

  void check();
  void answer(const uint8_t* request);
  void handshake(const uint8_t* bytes, size_t length, uint64_t now_ns);
  void audio(uint64_t now_ns);

  const CallClientOptions& options_;
  const Path path_;
  const std::string username_, password_;
  const uint64_t offered_ns_;
  const Send& send_;
  State state_ = State::checking;
  bool is_answered_ = false;
  bool has_answered_ = false;
  uint64_t next_check_ns_ = 0;
  uint64_t connected_ns_ = 0;
  uint64_t first_echo_ns_ = 0;
  uint64_t next_ = 0;
  std::unique_ptr<dtls_test::Client> dtls_;
  std::optional<SrtpSession> srtp_;
  std::array<uint64_t, kRemembered> sent_ns_{};
};

}  // namespace earshot::load
