// Stands between the network and OpenSSL, which believes too much of what nobody has authenticated: one spoofed
// datagram with a short record, data in the clear, a fragment that does not fit, or a high sequence number ends an
// OpenSSL session or makes it deaf. OpenSSL gets from here only
//
//   1. the client's four unencrypted messages, each whole, once and in order, in records that are numbered anew;
//   2. then one ChangeCipherSpec;
//   3. then records of epoch 1 that are long enough to be sealed with GCM, which is all that is ever negotiated.
//
// It knows no keys, so it cannot tell a forged message of the right shape from the client's; OpenSSL can, and the
// handshake fails then. Once the handshake is over nothing unencrypted passes at all. Pure: no clock, no OpenSSL.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "limits.h"
#include "record.h"

namespace earshot {

class RecordSink {
 public:
  virtual void record(std::span<const uint8_t> bytes) = 0;

 protected:
  ~RecordSink() = default;
};

class RecordGate {
 public:
  // Hands on what may be handed on. Returns how many records it refused; what an honest client repeats is not among
  // them until the handshake is over.
  size_t take(std::span<const uint8_t> datagram, RecordSink& sink);

  // The handshake is over: data may pass, and nothing is waited for any more.
  void established();

 private:
  // A message that is not whole yet.
  struct Partial {
    std::vector<uint8_t> bytes;
    std::vector<bool> have;
    size_t missing = 0;
  };
  // The client's messages by their sequence number, which is theirs because we never ask for a cookie.
  static constexpr std::array kMessages = {HandshakeType::kClientHello, HandshakeType::kCertificate,
                                           HandshakeType::kClientKeyExchange, HandshakeType::kCertificateVerify};

  bool take_plain(const Record& record, RecordSink& sink);
  bool take_sealed(const Record& record, RecordSink& sink);
  bool take_fragment(const Fragment& fragment);
  void pass_whole_messages(RecordSink& sink);
  void pass_plain(ContentType type, std::vector<uint8_t>& record, RecordSink& sink);
  bool has_keys() const { return next_ == kMessages.size(); }

  size_t next_ = 0;  // the message that is to be passed next
  uint64_t record_sequence_ = 0;
  bool established_ = false;
  std::array<Partial, kMessages.size()> partial_;
  std::vector<std::vector<uint8_t>> early_;
};

}  // namespace earshot
