#include "srtp_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../core/bytes.h"
#include "limits.h"

namespace earshot {
namespace {

constexpr size_t kRtpHeaderBytes = 12;
constexpr size_t kRtcpHeaderBytes = 8;  // up to and with the sender's SSRC; what follows is encrypted
constexpr size_t kRtcpIndexBytes = 4;
constexpr uint32_t kEncrypted = 0x80000000;
constexpr uint32_t kMaxRtcpIndex = 0x7fffffff;

const SrtpWindow kUnseen;

bool is_version_2(std::span<const uint8_t> packet) { return packet[0] >> 6 == 2; }

// 0 unless the packet begins with a whole RTP header (RFC 3550, section 5.1).
size_t rtp_header_bytes(std::span<const uint8_t> packet) {
  if (packet.size() < kRtpHeaderBytes || !is_version_2(packet)) return 0;
  size_t length = kRtpHeaderBytes + 4 * (packet[0] & size_t{0x0f});
  const bool has_extension = (packet[0] & 0x10) != 0;
  if (has_extension) {
    if (packet.size() < length + 4) return 0;
    length += 4 + 4 * size_t{read_u16(&packet[length + 2])};
  }
  return length <= packet.size() ? length : 0;
}

// What of an RTP packet's index its tag covers beside the packet: under GCM it is in the nonce.
std::span<const uint8_t> rollover(const SrtpCipher& cipher, uint64_t index, std::array<uint8_t, 4>& buffer) {
  if (cipher.is_gcm()) return {};
  write_u32(buffer.data(), static_cast<uint32_t>(index >> 16));
  return buffer;
}

template <class Map>
bool has_room(const Map& map) {
  return map.size() < kMaxSsrcs;
}

}  // namespace

std::optional<SrtpSession> SrtpSession::make(SrtpProfile profile, const SrtpMasterKeys& keys) {
  using Kind = SrtpCipher::Kind;
  using Direction = SrtpCipher::Direction;
  const CleanErrorQueue clean;
  SrtpCipher rtp_out, rtp_in, rtcp_out, rtcp_in;
  if (!rtp_out.init(profile, Kind::kRtp, Direction::kProtect, keys.local_key, keys.local_salt) ||
      !rtp_in.init(profile, Kind::kRtp, Direction::kUnprotect, keys.remote_key, keys.remote_salt) ||
      !rtcp_out.init(profile, Kind::kRtcp, Direction::kProtect, keys.local_key, keys.local_salt) ||
      !rtcp_in.init(profile, Kind::kRtcp, Direction::kUnprotect, keys.remote_key, keys.remote_salt)) {
    return std::nullopt;
  }
  return SrtpSession(std::move(rtp_out), std::move(rtp_in), std::move(rtcp_out), std::move(rtcp_in));
}

SrtpSession::SrtpSession(SrtpCipher rtp_out, SrtpCipher rtp_in, SrtpCipher rtcp_out, SrtpCipher rtcp_in)
    : rtp_out_(std::move(rtp_out)),
      rtp_in_(std::move(rtp_in)),
      rtcp_out_(std::move(rtcp_out)),
      rtcp_in_(std::move(rtcp_in)) {}

int SrtpSession::protect_rtp(std::span<uint8_t> buffer, size_t length) {
  const size_t header = rtp_header_bytes(buffer.first(length));
  if (header == 0 || buffer.size() < length + rtp_out_.tag_bytes()) return kSrtpMalformed;
  const uint32_t ssrc = read_u32(&buffer[8]);
  auto known = senders_.find(ssrc);
  if (known == senders_.end()) {
    if (!has_room(senders_)) return kSrtpTooManySsrcs;
    known = senders_.try_emplace(ssrc).first;
  }
  Sender& sender = known->second;
  const auto index = sender.window.index_of(read_u16(&buffer[2]));
  if (!index) return kSrtpUnable;
  if (!sender.window.is_fresh(*index)) return protect_again(sender, ssrc, *index, buffer, header, length);
  // Before anything can fail: an index counts as used.
  sender.window.mark(*index);
  if (!seal_rtp(ssrc, *index, buffer, header, length)) return kSrtpUnable;
  Sender::Sent& sent = sender.sent[*index % kResendPackets];
  sent.index = *index;
  std::copy_n(&buffer[length], rtp_out_.tag_bytes(), sent.tag.begin());
  return static_cast<int>(length + rtp_out_.tag_bytes());
}

int SrtpSession::protect_again(Sender& sender, uint32_t ssrc, uint64_t index, std::span<uint8_t> buffer, size_t header,
                               size_t length) {
  const Sender::Sent& sent = sender.sent[index % kResendPackets];
  const size_t end = length + rtp_out_.tag_bytes();
  if (sent.index == index && seal_rtp(ssrc, index, buffer, header, length) &&
      CRYPTO_memcmp(&buffer[length], sent.tag.data(), rtp_out_.tag_bytes()) == 0) {
    return static_cast<int>(end);
  }
  OPENSSL_cleanse(buffer.data(), end);
  return kSrtpReused;
}

bool SrtpSession::seal_rtp(uint32_t ssrc, uint64_t index, std::span<uint8_t> buffer, size_t header, size_t length) {
  const CleanErrorQueue clean;
  std::array<uint8_t, 4> roc;
  return rtp_out_.seal(ssrc, index, buffer.first(header), buffer.subspan(header, length - header),
                       rollover(rtp_out_, index, roc), &buffer[length]);
}

int SrtpSession::unprotect_rtp(std::span<uint8_t> packet) {
  const size_t tag = rtp_in_.tag_bytes();
  if (packet.size() < tag) return kSrtpMalformed;
  const size_t length = packet.size() - tag;
  const size_t header = rtp_header_bytes(packet.first(length));
  if (header == 0) return kSrtpMalformed;
  const uint32_t ssrc = read_u32(&packet[8]);
  const auto known = received_.find(ssrc);
  const bool is_new = known == received_.end();
  const SrtpWindow& window = is_new ? kUnseen : known->second;
  const auto index = window.index_of(read_u16(&packet[2]));
  if (!index || !window.is_fresh(*index)) return kSrtpReplayed;
  std::array<uint8_t, 4> roc;
  const CleanErrorQueue clean;
  if (!rtp_in_.open(ssrc, *index, packet.first(header), packet.subspan(header, length - header),
                    rollover(rtp_in_, *index, roc), &packet[length])) {
    return kSrtpForged;
  }
  if (is_new && !has_room(received_)) return kSrtpTooManySsrcs;
  (is_new ? received_[ssrc] : known->second).mark(*index);
  return static_cast<int>(length);
}

int SrtpSession::protect_rtcp(std::span<uint8_t> buffer, size_t length) {
  const size_t tag = rtcp_out_.tag_bytes();
  const size_t end = length + tag + kRtcpIndexBytes;
  if (length < kRtcpHeaderBytes || !is_version_2(buffer) || buffer.size() < end) return kSrtpMalformed;
  const uint32_t ssrc = read_u32(&buffer[4]);
  auto next = next_rtcp_.find(ssrc);
  if (next == next_rtcp_.end()) {
    if (!has_room(next_rtcp_)) return kSrtpTooManySsrcs;
    next = next_rtcp_.emplace(ssrc, 0).first;
  }
  if (next->second > kMaxRtcpIndex) return kSrtpUnable;
  const uint32_t index = next->second++;
  std::array<uint8_t, kRtcpIndexBytes> word;
  write_u32(word.data(), index | kEncrypted);
  // RFC 3711, section 3.4, has the tag last; RFC 7714, section 9.2, the index.
  uint8_t* const tag_at = &buffer[rtcp_out_.is_gcm() ? length : length + kRtcpIndexBytes];
  uint8_t* const word_at = &buffer[rtcp_out_.is_gcm() ? length + tag : length];
  std::ranges::copy(word, word_at);
  const CleanErrorQueue clean;
  const auto body = buffer.subspan(kRtcpHeaderBytes, length - kRtcpHeaderBytes);
  if (!rtcp_out_.seal(ssrc, index, buffer.first(kRtcpHeaderBytes), body, word, tag_at)) return kSrtpUnable;
  return static_cast<int>(end);
}

int SrtpSession::unprotect_rtcp(std::span<uint8_t> packet) {
  const size_t tag = rtcp_in_.tag_bytes();
  if (packet.size() < kRtcpHeaderBytes + tag + kRtcpIndexBytes || !is_version_2(packet)) return kSrtpMalformed;
  const size_t length = packet.size() - tag - kRtcpIndexBytes;
  const auto word = packet.subspan(rtcp_in_.is_gcm() ? length + tag : length, kRtcpIndexBytes);
  const uint8_t* const tag_at = &packet[rtcp_in_.is_gcm() ? length : length + kRtcpIndexBytes];
  const uint32_t ssrc = read_u32(&packet[4]);
  const uint32_t index = read_u32(word.data()) & kMaxRtcpIndex;
  const auto known = received_rtcp_.find(ssrc);
  const bool is_new = known == received_rtcp_.end();
  if (!is_new && !known->second.is_fresh(index)) return kSrtpReplayed;
  const bool is_encrypted = (read_u32(word.data()) & kEncrypted) != 0;
  const auto head = packet.first(kRtcpHeaderBytes);
  const auto body = packet.subspan(kRtcpHeaderBytes, length - kRtcpHeaderBytes);
  const CleanErrorQueue clean;
  const bool authentic = is_encrypted ? rtcp_in_.open(ssrc, index, head, body, word, tag_at)
                                      : rtcp_in_.verify_clear(ssrc, index, head, body, word, tag_at);
  if (!authentic) return kSrtpForged;
  if (is_new && !has_room(received_rtcp_)) return kSrtpTooManySsrcs;
  (is_new ? received_rtcp_[ssrc] : known->second).mark(index);
  return static_cast<int>(length);
}

}  // namespace earshot
