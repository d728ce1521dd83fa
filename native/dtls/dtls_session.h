// All cryptography of one call: the record gate, the DTLS server behind it, and SRTP once the handshake is over. The
// SRTP keys are made here and go nowhere else.
#pragma once

#include <optional>
#include <span>

#include "record_gate.h"
#include "srtp_session.h"
#include "ssl_server.h"

namespace earshot {

class DtlsSession {
 public:
  DtlsSession(const Identity& identity, Fingerprints allowed, bool needs_srtp)
      : server_(identity, std::move(allowed), needs_srtp) {}

  // One datagram of the client's. Returns how many of its records were refused, by the gate or as not authentic.
  size_t feed(std::span<const uint8_t> datagram);
  bool send(std::span<const uint8_t> message) { return server_.send(message); }
  void on_timeout() { server_.on_timeout(); }
  int64_t timeout_ms() const { return server_.timeout_ms(); }
  // Says goodbye and wipes the keys.
  void close();

  // What is to be sent, and what has come. The caller takes it and leaves them empty.
  std::vector<Bytes>& datagrams() { return server_.datagrams; }
  std::vector<Bytes>& messages() { return server_.messages; }

  DtlsState state() const { return server_.state(); }
  DtlsFailure failure() const { return server_.failure(); }
  uint16_t srtp_profile() const { return server_.srtp_profile(); }
  const char* cipher() const { return server_.cipher(); }
  Bytes peer_certificate() const { return server_.peer_certificate(); }
  // Nothing before the handshake is over, without a profile, and after the end.
  SrtpSession* srtp() { return srtp_ ? &*srtp_ : nullptr; }

 private:
  void connected();

  RecordGate gate_;
  SslServer server_;
  std::optional<SrtpSession> srtp_;
  bool is_connected_ = false;
};

}  // namespace earshot
