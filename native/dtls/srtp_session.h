// SRTP and SRTCP of one call, both ways: which index a packet has, whether it may be believed, and whether one may be
// sent. Packets are changed in place. What fails leaves the session as it was, however often it does.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>

#include "srtp_cipher.h"
#include "srtp_window.h"

namespace earshot {

// What a packet came to, if not to a length. The order is that of SRTP_REFUSALS in
// src/transceiver/werift/dtls-transport.ts.
enum SrtpRefusal : int {
  kSrtpMalformed = -1,     // no RTP or RTCP, or no room for what has to be added
  kSrtpForged = -2,        // the tag is wrong
  kSrtpReplayed = -3,      // received before, or too old to know
  kSrtpTooManySsrcs = -4,  // of one SSRC more than a session has room for
  kSrtpReused = -5,        // another packet has been sent with this index
  kSrtpUnable = -6,        // no index is left, or OpenSSL fails
};

// Bytes that protecting adds at most: tag and, for SRTCP, the index.
inline constexpr size_t kSrtpRoom = kMaxTagBytes + 4;

// As one side has them: what it sends with, and what it receives with.
struct SrtpMasterKeys {
  std::span<const uint8_t> local_key, local_salt, remote_key, remote_salt;
};

class SrtpSession {
 public:
  static std::optional<SrtpSession> make(SrtpProfile profile, const SrtpMasterKeys& keys);
  // Of ciphers that are made already, for RFC 7714's vectors.
  SrtpSession(SrtpCipher rtp_out, SrtpCipher rtp_in, SrtpCipher rtcp_out, SrtpCipher rtcp_in);

  // The first `length` bytes of `buffer` are the packet. Each returns its new length, or an SrtpRefusal.
  int protect_rtp(std::span<uint8_t> buffer, size_t length);
  int unprotect_rtp(std::span<uint8_t> packet);
  int protect_rtcp(std::span<uint8_t> buffer, size_t length);
  int unprotect_rtcp(std::span<uint8_t> packet);

 private:
  // One SSRC of ours. The same packet may be sent again, as after a NACK without RTX; it comes out the same, so its tag
  // tells. Another packet with the same index would give the key stream away, and under GCM the authentication key.
  struct Sender {
    struct Sent {
      uint64_t index = UINT64_MAX;
      std::array<uint8_t, kMaxTagBytes> tag{};
    };
    SrtpWindow window;
    std::array<Sent, kResendPackets> sent;
  };
  int protect_again(Sender& sender, uint32_t ssrc, uint64_t index, std::span<uint8_t> buffer, size_t header,
                    size_t length);
  bool seal_rtp(uint32_t ssrc, uint64_t index, std::span<uint8_t> buffer, size_t header, size_t length);

  SrtpCipher rtp_out_, rtp_in_, rtcp_out_, rtcp_in_;
  std::unordered_map<uint32_t, Sender> senders_;
  std::unordered_map<uint32_t, SrtpWindow> received_;
  std::unordered_map<uint32_t, uint32_t> next_rtcp_;
  std::unordered_map<uint32_t, SrtpWindow> received_rtcp_;
};

}  // namespace earshot
