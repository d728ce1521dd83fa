#include "fingerprint.h"

#include <array>

namespace earshot {
namespace {

const EVP_MD* hash_of_length(size_t bytes) {
  switch (bytes) {
    case 32:
      return EVP_sha256();
    case 48:
      return EVP_sha384();
    case 64:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

}  // namespace

bool Fingerprints::add(std::span<const uint8_t> digest) {
  if (hash_of_length(digest.size()) == nullptr) return false;
  digests_.emplace_back(digest.begin(), digest.end());
  return true;
}

bool Fingerprints::match(const X509* certificate) const {
  bool matches = false;
  for (const auto& expected : digests_) {
    std::array<uint8_t, EVP_MAX_MD_SIZE> actual;
    unsigned length = 0;
    if (X509_digest(certificate, hash_of_length(expected.size()), actual.data(), &length) != 1) continue;
    if (length == expected.size() && CRYPTO_memcmp(actual.data(), expected.data(), length) == 0) matches = true;
  }
  return matches;
}

}  // namespace earshot
