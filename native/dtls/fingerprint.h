// The certificates that an offer announces by a=fingerprint (RFC 8122), and whether one of them has come. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "openssl.h"

namespace earshot {

class Fingerprints {
 public:
  // SHA-256, SHA-384 or SHA-512 of a certificate, told apart by length. False for anything else, and so for SHA-1.
  bool add(std::span<const uint8_t> digest);
  bool empty() const { return digests_.empty(); }
  // Compares with every one in full, in a time that does not depend on them.
  bool match(const X509* certificate) const;

 private:
  std::vector<std::vector<uint8_t>> digests_;
};

}  // namespace earshot
