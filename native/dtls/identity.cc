#include "identity.h"

#include <openssl/ec.h>
#include <openssl/rand.h>

#include "limits.h"
#include "ssl_server.h"

namespace earshot {
namespace {

// A client's clock may be behind ours. The end is far: clients compare the fingerprint and do not look, and the key
// lives no longer than the process.
constexpr long kValidFromSeconds = -86'400;
constexpr long kValidToSeconds = 10L * 365 * 86'400;

X509Ptr self_signed(EVP_PKEY* key) {
  X509Ptr certificate(X509_new());
  uint64_t serial = 0;
  if (!certificate || RAND_bytes(reinterpret_cast<uint8_t*>(&serial), sizeof serial) != 1) return nullptr;
  X509* x = certificate.get();
  X509_NAME* name = X509_get_subject_name(x);
  const auto* common_name = reinterpret_cast<const unsigned char*>("WebRTC");
  const bool ok =
      X509_set_version(x, X509_VERSION_3) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
      X509_gmtime_adj(X509_getm_notBefore(x), kValidFromSeconds) != nullptr &&
      X509_gmtime_adj(X509_getm_notAfter(x), kValidToSeconds) != nullptr &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0) == 1 &&
      X509_set_issuer_name(x, name) == 1 && X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) > 0;
  return ok ? std::move(certificate) : nullptr;
}

bool set_rules(SSL_CTX* context) {
  // Only ECDHE, so that the key opens no past call, and only GCM, which the record gate counts on. Set here in full,
  // because a system's openssl.cnf has defaults of its own. Note that use_srtp returns 0 on success.
  const bool ok =
      SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION) == 1 &&
      SSL_CTX_set_max_proto_version(context, DTLS1_2_VERSION) == 1 &&
      SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384") == 1 &&
      SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") == 1 &&
      SSL_CTX_set1_sigalgs_list(context,
                                "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:RSA-PSS+SHA256:RSA-PSS+SHA384:"
                                "RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512") == 1 &&
      SSL_CTX_set_tlsext_use_srtp(context, "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80") == 0;
  if (!ok) return false;
  SSL_CTX_set_security_level(context, 2);  // 112 bits: no RSA key of a client below 2,048
  // No session is taken up again: that would skip the certificate, which alone ties the handshake to the offer.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_NO_QUERY_MTU | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_max_cert_list(context, static_cast<long>(kMaxHandshakeMessageBytes));
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SslServer::set_callbacks(context);
  return true;
}

}  // namespace

std::optional<Identity> Identity::make() {
  const CleanErrorQueue clean;
  Identity identity;
  const KeyPtr key(EVP_EC_gen("P-256"));
  const X509Ptr certificate = key ? self_signed(key.get()) : nullptr;
  identity.context_.reset(SSL_CTX_new(DTLS_server_method()));
  SSL_CTX* context = identity.context_.get();
  if (!certificate || context == nullptr || !set_rules(context)) return std::nullopt;
  if (SSL_CTX_use_certificate(context, certificate.get()) != 1 || SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return std::nullopt;
  }
  const int length = i2d_X509(certificate.get(), nullptr);
  if (length <= 0) return std::nullopt;
  identity.certificate_.resize(static_cast<size_t>(length));
  unsigned char* to = identity.certificate_.data();
  unsigned digest = 0;
  if (i2d_X509(certificate.get(), &to) != length ||
      X509_digest(certificate.get(), EVP_sha256(), identity.fingerprint_.data(), &digest) != 1) {
    return std::nullopt;
  }
  return identity;
}

}  // namespace earshot
