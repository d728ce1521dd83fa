// Our side of every handshake: an ECDSA P-256 key that never leaves this object, a certificate that it has signed
// itself, and the rules that all sessions share. Made once per process; a session keeps what it needs of it alive.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "openssl.h"

namespace earshot {

class Identity {
 public:
  // Nothing if OpenSSL cannot: no entropy, or a build without these ciphers.
  static std::optional<Identity> make();

  SSL_CTX* context() const { return context_.get(); }
  const std::vector<uint8_t>& certificate() const { return certificate_; }     // DER
  const std::array<uint8_t, 32>& fingerprint() const { return fingerprint_; }  // SHA-256 of it

 private:
  SslContextPtr context_;
  std::vector<uint8_t> certificate_;
  std::array<uint8_t, 32> fingerprint_{};
};

}  // namespace earshot
