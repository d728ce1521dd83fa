#include "srtp_cipher.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include <algorithm>

#include "../core/bytes.h"

namespace earshot {
namespace {

// Fetched once: fetching by name takes a lock and a search.
const EVP_CIPHER* gcm() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  return cipher;
}
const EVP_CIPHER* counter() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-128-CTR", nullptr);
  return cipher;
}
EVP_MAC* hmac_algorithm() {
  static EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  return mac;
}

constexpr size_t kAuthenticationKeyBytes = 20;

// Key material that is gone when its scope ends.
template <size_t N>
struct Secret {
  std::array<uint8_t, N> bytes{};
  Secret() = default;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

}  // namespace

bool derive_srtp_key(std::span<const uint8_t, kSrtpKeyBytes> master_key, std::span<const uint8_t> master_salt,
                     uint8_t label, std::span<uint8_t> to) {
  std::array<uint8_t, 16> iv{};
  std::copy_n(master_salt.begin(), std::min<size_t>(master_salt.size(), 14), iv.begin());
  iv[7] ^= label;
  std::ranges::fill(to, 0);
  const CipherPtr cipher(EVP_CIPHER_CTX_new());
  int written = 0;
  return cipher && EVP_EncryptInit_ex2(cipher.get(), counter(), master_key.data(), iv.data(), nullptr) == 1 &&
         EVP_EncryptUpdate(cipher.get(), to.data(), &written, to.data(), static_cast<int>(to.size())) == 1;
}

bool SrtpCipher::init(SrtpProfile profile, Kind kind, Direction direction, std::span<const uint8_t> master_key,
                      std::span<const uint8_t> master_salt) {
  if (master_key.size() != kSrtpKeyBytes || master_salt.size() != srtp_salt_bytes(profile)) return false;
  const auto master = master_key.first<kSrtpKeyBytes>();
  const uint8_t label = kind == Kind::kRtp ? 0 : 3;  // RFC 3711, section 4.3.2
  Secret<kSrtpKeyBytes> key;
  Secret<kAuthenticationKeyBytes> authentication;
  Secret<14> salt;
  return derive_srtp_key(master, master_salt, label, key.bytes) &&
         derive_srtp_key(master, master_salt, label + 1, authentication.bytes) &&
         derive_srtp_key(master, master_salt, label + 2, salt.bytes) &&
         init_session(profile, direction, key.bytes, authentication.bytes,
                      std::span(salt.bytes).first(srtp_salt_bytes(profile)));
}

bool SrtpCipher::init_session(SrtpProfile profile, Direction direction, std::span<const uint8_t> key,
                              std::span<const uint8_t> authentication_key, std::span<const uint8_t> salt) {
  if (key.size() != kSrtpKeyBytes || salt.size() != srtp_salt_bytes(profile)) return false;
  profile_ = profile;
  std::ranges::copy(salt, salt_.begin());
  cipher_.reset(EVP_CIPHER_CTX_new());
  // Counter mode is the same in both directions.
  const int encrypts = !is_gcm() || direction == Direction::kProtect ? 1 : 0;
  const EVP_CIPHER* algorithm = is_gcm() ? gcm() : counter();
  if (!cipher_ || EVP_CipherInit_ex2(cipher_.get(), algorithm, key.data(), nullptr, encrypts, nullptr) != 1) {
    return false;
  }
  if (is_gcm()) return true;
  mac_.reset(EVP_MAC_CTX_new(hmac_algorithm()));
  char sha1[] = "SHA1";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha1, 0),
                                   OSSL_PARAM_construct_end()};
  return mac_ && authentication_key.size() == kAuthenticationKeyBytes &&
         EVP_MAC_init(mac_.get(), authentication_key.data(), authentication_key.size(), parameters) == 1;
}

bool SrtpCipher::seal(uint32_t ssrc, uint64_t index, std::span<const uint8_t> head, std::span<uint8_t> body,
                      std::span<const uint8_t> tail, uint8_t* tag) {
  if (!is_gcm()) return counter_mode(iv(ssrc, index), body) && hmac(head, body, tail, tag);
  int written = 0;
  return gcm_begin(iv(ssrc, index), head, tail) && gcm_body(body) &&
         EVP_CipherFinal_ex(cipher_.get(), tag, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_AEAD_GET_TAG, kMaxTagBytes, tag) == 1;
}

bool SrtpCipher::open(uint32_t ssrc, uint64_t index, std::span<const uint8_t> head, std::span<uint8_t> body,
                      std::span<const uint8_t> tail, const uint8_t* tag) {
  if (is_gcm()) return gcm_begin(iv(ssrc, index), head, tail) && gcm_body(body) && gcm_check(tag);
  return verify_clear(ssrc, index, head, body, tail, tag) && counter_mode(iv(ssrc, index), body);
}

bool SrtpCipher::verify_clear(uint32_t ssrc, uint64_t index, std::span<const uint8_t> head,
                              std::span<const uint8_t> body, std::span<const uint8_t> tail, const uint8_t* tag) {
  if (is_gcm()) {
    // All of it is associated data (RFC 7714, section 9.3).
    int written = 0;
    return gcm_begin(iv(ssrc, index), head, {}) &&
           EVP_CipherUpdate(cipher_.get(), nullptr, &written, body.data(), static_cast<int>(body.size())) == 1 &&
           EVP_CipherUpdate(cipher_.get(), nullptr, &written, tail.data(), static_cast<int>(tail.size())) == 1 &&
           gcm_check(tag);
  }
  std::array<uint8_t, kMaxTagBytes> expected;
  return hmac(head, body, tail, expected.data()) && CRYPTO_memcmp(expected.data(), tag, tag_bytes()) == 0;
}

// RFC 7714, sections 8.1 and 9.1, and RFC 3711, section 4.1.1: the same fields, two bytes further on. An SRTCP index
// has 31 bits, so that it stands where SRTP's has its lower ones.
SrtpCipher::Iv SrtpCipher::iv(uint32_t ssrc, uint64_t index) const {
  Iv iv{};
  const size_t at = is_gcm() ? 2 : 4;
  write_u32(&iv[at], ssrc);
  write_u16(&iv[at + 4], static_cast<uint16_t>(index >> 32));
  write_u32(&iv[at + 6], static_cast<uint32_t>(index));
  for (size_t i = 0; i < srtp_salt_bytes(profile_); i++) iv[i] ^= salt_[i];
  return iv;
}

bool SrtpCipher::gcm_begin(const Iv& iv, std::span<const uint8_t> head, std::span<const uint8_t> tail) {
  EVP_CIPHER_CTX* c = cipher_.get();
  int written = 0;
  return EVP_CipherInit_ex2(c, nullptr, nullptr, iv.data(), -1, nullptr) == 1 &&
         EVP_CipherUpdate(c, nullptr, &written, head.data(), static_cast<int>(head.size())) == 1 &&
         (tail.empty() || EVP_CipherUpdate(c, nullptr, &written, tail.data(), static_cast<int>(tail.size())) == 1);
}

bool SrtpCipher::gcm_body(std::span<uint8_t> body) {
  int written = 0;
  return body.empty() ||
         EVP_CipherUpdate(cipher_.get(), body.data(), &written, body.data(), static_cast<int>(body.size())) == 1;
}

bool SrtpCipher::gcm_check(const uint8_t* tag) {
  std::array<uint8_t, kMaxTagBytes> expected;  // OpenSSL's interface does not promise to leave it as it is
  std::copy_n(tag, expected.size(), expected.begin());
  uint8_t none = 0;
  int written = 0;
  return EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_AEAD_SET_TAG, kMaxTagBytes, expected.data()) == 1 &&
         EVP_CipherFinal_ex(cipher_.get(), &none, &written) == 1;
}

bool SrtpCipher::counter_mode(const Iv& iv, std::span<uint8_t> body) {
  int written = 0;
  return EVP_EncryptInit_ex2(cipher_.get(), nullptr, nullptr, iv.data(), nullptr) == 1 &&
         EVP_EncryptUpdate(cipher_.get(), body.data(), &written, body.data(), static_cast<int>(body.size())) == 1;
}

bool SrtpCipher::hmac(std::span<const uint8_t> head, std::span<const uint8_t> body, std::span<const uint8_t> tail,
                      uint8_t* tag) {
  std::array<uint8_t, 20> full;
  size_t length = 0;
  EVP_MAC_CTX* m = mac_.get();
  const bool ok = EVP_MAC_init(m, nullptr, 0, nullptr) == 1 && EVP_MAC_update(m, head.data(), head.size()) == 1 &&
                  EVP_MAC_update(m, body.data(), body.size()) == 1 &&
                  EVP_MAC_update(m, tail.data(), tail.size()) == 1 &&
                  EVP_MAC_final(m, full.data(), &length, full.size()) == 1;
  if (ok) std::copy_n(full.begin(), tag_bytes(), tag);
  return ok;
}

}  // namespace earshot
