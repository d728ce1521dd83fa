#include "ssl_server.h"

#include <openssl/srtp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "../core/bytes.h"
#include "limits.h"

namespace earshot {
namespace {

constexpr std::string_view kExporterLabel = "EXTRACTOR-dtls_srtp";
constexpr std::array<uint16_t, 2> kProfiles = {SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80};

unsigned next_timeout_us(SSL*, unsigned last_us) {
  return last_us == 0 ? kFirstRetransmitUs : std::min(last_us * 2, kLongestRetransmitUs);
}

// What OpenSSL's first error says of a handshake.
DtlsFailure handshake_failure() {
  switch (ERR_GET_REASON(ERR_peek_error())) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return DtlsFailure::kCertificate;
    case SSL_R_BAD_SIGNATURE:
      return DtlsFailure::kSignature;
    case SSL_R_READ_TIMEOUT_EXPIRED:
      return DtlsFailure::kTimeout;
    default:
      return DtlsFailure::kHandshake;
  }
}

}  // namespace

void SslServer::set_callbacks(SSL_CTX* context) {
  SSL_CTX_set_client_hello_cb(context, hello, nullptr);
  SSL_CTX_set_info_callback(context, happened);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context, verify, nullptr);
}

SslServer::SslServer(const Identity& identity, Fingerprints allowed, bool needs_srtp)
    : allowed_(std::move(allowed)), needs_srtp_(needs_srtp) {
  const CleanErrorQueue clean;
  ssl_.reset(SSL_new(identity.context()));
  BIO* bio = ssl_ ? BIO_new(datagram_bio()) : nullptr;
  if (bio == nullptr) {
    ssl_.reset();
    fail(DtlsFailure::kHandshake);
    return;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_mtu(ssl_.get(), kMtuBytes);
  DTLS_set_timer_cb(ssl_.get(), next_timeout_us);
  SSL_set_accept_state(ssl_.get());
}

void SslServer::record(std::span<const uint8_t> bytes) {
  const CleanErrorQueue clean;
  in_ = bytes;
  if (state_ == DtlsState::kHandshaking) handshake();
  if (state_ == DtlsState::kConnected) {
    const size_t before = messages.size();
    read();
    const bool is_data = bytes[0] == static_cast<uint8_t>(ContentType::kApplicationData);
    if (is_data && messages.size() == before) unauthentic++;
  }
  in_ = {};
}

void SslServer::handshake() {
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    state_ = DtlsState::kConnected;
  } else if (is_fatal(result)) {
    fail(found_ != DtlsFailure::kNone ? found_ : handshake_failure());
  }
}

void SslServer::read() {
  std::array<uint8_t, SSL3_RT_MAX_PLAIN_LENGTH> message;
  while (state_ == DtlsState::kConnected) {
    const int result = SSL_read(ssl_.get(), message.data(), static_cast<int>(message.size()));
    if (result > 0) {
      messages.emplace_back(message.begin(), message.begin() + result);
      continue;
    }
    if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_ZERO_RETURN) {
      close();
    } else if (is_fatal(result)) {
      fail(DtlsFailure::kRecord);
    }
    return;
  }
}

bool SslServer::is_fatal(int result) const {
  return has_sent_fatal_alert_ || SSL_get_error(ssl_.get(), result) == SSL_ERROR_SSL;
}

bool SslServer::send(std::span<const uint8_t> message) {
  if (state_ != DtlsState::kConnected || message.empty() || message.size() > SSL3_RT_MAX_PLAIN_LENGTH) return false;
  const CleanErrorQueue clean;
  return SSL_write(ssl_.get(), message.data(), static_cast<int>(message.size())) > 0;
}

void SslServer::on_timeout() {
  if (state_ != DtlsState::kHandshaking) return;
  const CleanErrorQueue clean;
  if (DTLSv1_handle_timeout(ssl_.get()) < 0) fail(handshake_failure());
}

int64_t SslServer::timeout_ms() const {
  timeval left{};
  if (state_ != DtlsState::kHandshaking || DTLSv1_get_timeout(ssl_.get(), &left) != 1) return -1;
  return int64_t{left.tv_sec} * 1'000 + (left.tv_usec + 999) / 1'000;
}

void SslServer::close() {
  const CleanErrorQueue clean;
  if (state_ == DtlsState::kConnected) SSL_shutdown(ssl_.get());
  if (state_ != DtlsState::kFailed) state_ = DtlsState::kClosed;
  ssl_.reset();  // with its keys, which OpenSSL wipes
}

void SslServer::fail(DtlsFailure failure) {
  state_ = DtlsState::kFailed;
  failure_ = failure;
}

uint16_t SslServer::srtp_profile() const {
  const SRTP_PROTECTION_PROFILE* profile = ssl_ ? SSL_get_selected_srtp_profile(ssl_.get()) : nullptr;
  return profile == nullptr ? 0 : static_cast<uint16_t>(profile->id);
}

bool SslServer::export_srtp_keys(std::span<uint8_t> to) const {
  const CleanErrorQueue clean;
  return state_ == DtlsState::kConnected &&
         SSL_export_keying_material(ssl_.get(), to.data(), to.size(), kExporterLabel.data(), kExporterLabel.size(),
                                    nullptr, 0, 0) == 1;
}

const char* SslServer::cipher() const { return ssl_ ? SSL_get_cipher_name(ssl_.get()) : ""; }

Bytes SslServer::peer_certificate() const {
  const CleanErrorQueue clean;
  X509* certificate = ssl_ ? SSL_get0_peer_certificate(ssl_.get()) : nullptr;
  const int length = certificate == nullptr ? 0 : i2d_X509(certificate, nullptr);
  if (length <= 0) return {};
  Bytes der(static_cast<size_t>(length));
  unsigned char* to = der.data();
  i2d_X509(certificate, &to);
  return der;
}

// Without a profile in common OpenSSL would leave SRTP out and go on, and the call would be one that nobody hears.
int SslServer::hello(SSL* ssl, int* alert, void*) {
  SslServer* self = of(ssl);
  if (!self->needs_srtp_ || self->offers_profile()) return SSL_CLIENT_HELLO_SUCCESS;
  self->found_ = DtlsFailure::kProfile;
  *alert = SSL_AD_HANDSHAKE_FAILURE;
  return SSL_CLIENT_HELLO_ERROR;
}

bool SslServer::offers_profile() const {
  const unsigned char* use_srtp = nullptr;
  size_t length = 0;
  if (SSL_client_hello_get0_ext(ssl_.get(), TLSEXT_TYPE_use_srtp, &use_srtp, &length) != 1 || length < 2) return false;
  const size_t profiles = std::min<size_t>(read_u16(use_srtp), length - 2);
  for (size_t at = 0; at + 2 <= profiles; at += 2) {
    if (std::ranges::find(kProfiles, read_u16(use_srtp + 2 + at)) != kProfiles.end()) return true;
  }
  return false;
}

// There are errors after which OpenSSL is of no more use, and asks for more to read as if nothing were; but it says
// them to the client.
void SslServer::happened(const SSL* ssl, int where, int alert) {
  if (where == SSL_CB_WRITE_ALERT && alert >> 8 == SSL3_AL_FATAL) of(ssl)->has_sent_fatal_alert_ = true;
}

// Comes before the CertificateVerify, which shows that the client has the key, and which OpenSSL checks by itself.
int SslServer::verify(X509_STORE_CTX* store, void*) {
  const auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  SslServer* self = of(ssl);
  const X509* certificate = X509_STORE_CTX_get0_cert(store);
  if (certificate != nullptr && self->allowed_.match(certificate)) return 1;
  self->found_ = DtlsFailure::kFingerprint;
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);  // alert: bad_certificate
  return 0;
}

// A BIO of datagrams: each write is one to send, and a read takes a record whole. Of a memory BIO's run of bytes
// OpenSSL could not tell where its own datagrams end.
BIO_METHOD* SslServer::datagram_bio() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "earshot datagrams");
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

int SslServer::bio_read(BIO* bio, char* to, int length) {
  auto* self = static_cast<SslServer*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (self->in_.empty() || length <= 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t taken = std::min(static_cast<size_t>(length), self->in_.size());
  std::memcpy(to, self->in_.data(), taken);
  self->in_ = {};
  return static_cast<int>(taken);
}

int SslServer::bio_write(BIO* bio, const char* from, int length) {
  BIO_clear_retry_flags(bio);
  const auto* bytes = reinterpret_cast<const uint8_t*>(from);
  static_cast<SslServer*>(BIO_get_data(bio))->datagrams.emplace_back(bytes, bytes + length);
  return length;
}

long SslServer::bio_control(BIO*, int command, long, void*) {
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
      return kMtuBytes;
    default:
      return 0;
  }
}

}  // namespace earshot
