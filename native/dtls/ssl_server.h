// One DTLS 1.2 server session of OpenSSL over datagrams in memory: takes records, and collects the datagrams to send
// and the messages that came. No socket; the clock is OpenSSL's own. It must be fed by a RecordGate: on records
// straight from the network it can be ended by anybody.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fingerprint.h"
#include "identity.h"
#include "openssl.h"
#include "record_gate.h"

namespace earshot {

enum class DtlsState { kHandshaking, kConnected, kClosed, kFailed };

// Why a session failed. The order is that of FAILURES in src/transceiver/werift/dtls-transport.ts.
enum class DtlsFailure {
  kNone,
  kProfile,      // the client offers no SRTP profile that is ours
  kCertificate,  // it sent none
  kFingerprint,  // it sent another than the offer announces
  kSignature,    // it does not have the key of its certificate
  kTimeout,      // it fell silent in the handshake
  kHandshake,    // any other fatal error in the handshake, on either side
  kRecord,       // after the handshake: an authenticated record that breaks the protocol, or a fatal alert
};

using Bytes = std::vector<uint8_t>;

class SslServer final : public RecordSink {
 public:
  // `needs_srtp`: whether a handshake without a profile for SRTP is of use.
  SslServer(const Identity& identity, Fingerprints allowed, bool needs_srtp);
  SslServer(const SslServer&) = delete;
  SslServer& operator=(const SslServer&) = delete;

  void record(std::span<const uint8_t> bytes) override;
  // False unless connected.
  bool send(std::span<const uint8_t> message);
  // To be called when `timeout_ms` has passed; -1 when nothing is waited for.
  void on_timeout();
  int64_t timeout_ms() const;
  // Says goodbye, if there is anybody to say it to. Nothing works afterwards.
  void close();

  DtlsState state() const { return state_; }
  DtlsFailure failure() const { return failure_; }
  // DTLS-SRTP's number of the profile (RFC 5764, section 4.1.2); 0 without one.
  uint16_t srtp_profile() const;
  // RFC 5764, section 4.2.
  bool export_srtp_keys(std::span<uint8_t> to) const;
  const char* cipher() const;
  // DER; empty before the client has sent it.
  Bytes peer_certificate() const;

  std::vector<Bytes> datagrams;  // to be sent, in this order
  std::vector<Bytes> messages;   // received
  // Data records that gave no message: forged, replayed, or of an older handshake.
  uint64_t unauthentic = 0;

  static void set_callbacks(SSL_CTX* context);

 private:
  void handshake();
  void read();
  void fail(DtlsFailure failure);
  bool is_fatal(int result) const;
  bool offers_profile() const;

  static SslServer* of(const SSL* ssl) { return static_cast<SslServer*>(SSL_get_app_data(ssl)); }
  static int hello(SSL* ssl, int* alert, void*);
  static void happened(const SSL* ssl, int where, int alert);
  static int verify(X509_STORE_CTX* store, void*);
  static BIO_METHOD* datagram_bio();
  static int bio_read(BIO* bio, char* to, int length);
  static int bio_write(BIO* bio, const char* from, int length);
  static long bio_control(BIO* bio, int command, long, void*);

  const Fingerprints allowed_;
  const bool needs_srtp_;
  DtlsState state_ = DtlsState::kHandshaking;
  DtlsFailure failure_ = DtlsFailure::kNone;
  DtlsFailure found_ = DtlsFailure::kNone;  // by a callback, before OpenSSL has turned it into an error of its own
  bool has_sent_fatal_alert_ = false;
  std::span<const uint8_t> in_;  // borrowed for the length of record()
  SslPtr ssl_;                   // destroyed first, while what its BIO points to is there
};

}  // namespace earshot
