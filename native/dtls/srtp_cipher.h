// The cryptography of one direction of SRTP or of SRTCP, under one of the two profiles (RFC 3711, RFC 7714). It knows
// keys and indexes; of packets it knows nothing, nor whether an index has been used.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "openssl.h"

namespace earshot {

// DTLS-SRTP's numbers.
enum class SrtpProfile : uint16_t { kAes128CmSha1_80 = 0x0001, kAeadAes128Gcm = 0x0007 };

inline constexpr size_t kSrtpKeyBytes = 16;
inline constexpr size_t srtp_salt_bytes(SrtpProfile profile) {
  return profile == SrtpProfile::kAeadAes128Gcm ? 12 : 14;
}
inline constexpr size_t srtp_tag_bytes(SrtpProfile profile) { return profile == SrtpProfile::kAeadAes128Gcm ? 16 : 10; }
inline constexpr size_t kMaxTagBytes = 16;

// RFC 3711, section 4.3: AES-CM as the pseudo-random function, derivation rate 0. A salt shorter than 14 bytes is
// padded.
bool derive_srtp_key(std::span<const uint8_t, kSrtpKeyBytes> master_key, std::span<const uint8_t> master_salt,
                     uint8_t label, std::span<uint8_t> to);

class SrtpCipher {
 public:
  enum class Kind { kRtp, kRtcp };
  enum class Direction { kProtect, kUnprotect };

  // Derives the session's keys from the master's. False if a length is wrong, or OpenSSL fails.
  bool init(SrtpProfile profile, Kind kind, Direction direction, std::span<const uint8_t> master_key,
            std::span<const uint8_t> master_salt);
  // The same with the session's keys themselves, which is what RFC 7714's vectors begin with.
  bool init_session(SrtpProfile profile, Direction direction, std::span<const uint8_t> key,
                    std::span<const uint8_t> authentication_key, std::span<const uint8_t> salt);

  // Encrypts `body` in place, and writes the tag over `head`, body and `tail`. False if OpenSSL fails.
  bool seal(uint32_t ssrc, uint64_t index, std::span<const uint8_t> head, std::span<uint8_t> body,
            std::span<const uint8_t> tail, uint8_t* tag);
  // The reverse. False if the tag is wrong; then GCM has left rubbish in `body`.
  bool open(uint32_t ssrc, uint64_t index, std::span<const uint8_t> head, std::span<uint8_t> body,
            std::span<const uint8_t> tail, const uint8_t* tag);
  // Of `body` as it stands: for SRTCP whose sender has not encrypted it.
  bool verify_clear(uint32_t ssrc, uint64_t index, std::span<const uint8_t> head, std::span<const uint8_t> body,
                    std::span<const uint8_t> tail, const uint8_t* tag);

  bool is_gcm() const { return profile_ == SrtpProfile::kAeadAes128Gcm; }
  size_t tag_bytes() const { return srtp_tag_bytes(profile_); }

 private:
  using Iv = std::array<uint8_t, 16>;
  Iv iv(uint32_t ssrc, uint64_t index) const;
  bool gcm_begin(const Iv& iv, std::span<const uint8_t> head, std::span<const uint8_t> tail);
  bool gcm_body(std::span<uint8_t> body);
  bool gcm_check(const uint8_t* tag);
  bool counter_mode(const Iv& iv, std::span<uint8_t> body);
  bool hmac(std::span<const uint8_t> head, std::span<const uint8_t> body, std::span<const uint8_t> tail, uint8_t* tag);

  SrtpProfile profile_{};
  std::array<uint8_t, 14> salt_{};
  CipherPtr cipher_;
  MacPtr mac_;
};

}  // namespace earshot
