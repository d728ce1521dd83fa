// SRTP: the RFCs' vectors, and what a session takes, refuses and remembers under each profile.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "bytes.h"
#include "check.h"
#include "dtls/srtp_session.h"
#include "vectors.h"

using namespace earshot;

namespace {

using Packet = std::vector<uint8_t>;
using Direction = SrtpCipher::Direction;

constexpr std::array kProfiles = {SrtpProfile::kAes128CmSha1_80, SrtpProfile::kAeadAes128Gcm};

Packet of_3711(const std::string& name) { return vectors::bytes(name, "rfc3711.json"); }
Packet of_7714(const std::string& name) { return vectors::bytes(name, "rfc7714.json"); }

// Two ends that have each other's keys.
struct Ends {
  SrtpSession one, two;
  explicit Ends(SrtpProfile profile, uint8_t seed = 1) : one(make(profile, seed, 2)), two(make(profile, 2, seed)) {}
  static SrtpSession make(SrtpProfile profile, uint8_t local, uint8_t remote) {
    const Packet lk(16, local), rk(16, remote), ls(srtp_salt_bytes(profile), local),
        rs(srtp_salt_bytes(profile), remote);
    return *SrtpSession::make(profile, {.local_key = lk, .local_salt = ls, .remote_key = rk, .remote_salt = rs});
  }
};

Packet rtp(uint16_t sequence, const std::string& payload = "voice", uint32_t ssrc = 0x11223344) {
  Packet packet(12);
  packet[0] = 0x80;
  packet[1] = 96;
  write_u16(&packet[2], sequence);
  write_u32(&packet[8], ssrc);
  packet.insert(packet.end(), payload.begin(), payload.end());
  return packet;
}

Packet rtcp(uint32_t ssrc = 0x11223344, size_t body = 20) {
  Packet packet(8 + body, 7);
  packet[0] = 0x80;
  packet[1] = 200;
  write_u32(&packet[4], ssrc);
  return packet;
}

// What became of it; empty when it was refused, and then `refusal` says why.
struct Result {
  Packet packet;
  int refusal = 0;
};

Result protect(SrtpSession& session, const Packet& plain) {
  Packet buffer = plain;
  buffer.resize(plain.size() + kSrtpRoom);
  const int length = session.protect_rtp(buffer, plain.size());
  if (length < 0) return {{}, length};
  buffer.resize(static_cast<size_t>(length));
  return {buffer, 0};
}
Result unprotect(SrtpSession& session, Packet packet) {
  const int length = session.unprotect_rtp(packet);
  if (length < 0) return {{}, length};
  packet.resize(static_cast<size_t>(length));
  return {packet, 0};
}
Result protect_control(SrtpSession& session, const Packet& plain) {
  Packet buffer = plain;
  buffer.resize(plain.size() + kSrtpRoom);
  const int length = session.protect_rtcp(buffer, plain.size());
  if (length < 0) return {{}, length};
  buffer.resize(static_cast<size_t>(length));
  return {buffer, 0};
}
Result unprotect_control(SrtpSession& session, Packet packet) {
  const int length = session.unprotect_rtcp(packet);
  if (length < 0) return {{}, length};
  packet.resize(static_cast<size_t>(length));
  return {packet, 0};
}

// With the session keys of RFC 7714, which derives none.
SrtpSession session_of_7714() {
  const auto cipher = [](Direction direction) {
    SrtpCipher made;
    CHECK(made.init_session(SrtpProfile::kAeadAes128Gcm, direction, of_7714("key"), {}, of_7714("salt")));
    return made;
  };
  return {cipher(Direction::kProtect), cipher(Direction::kUnprotect), cipher(Direction::kProtect),
          cipher(Direction::kUnprotect)};
}

}  // namespace

TEST("RFC 3711, B.3: derives the cipher's key and salt, and the authentication key") {
  const Packet master = of_3711("masterKey");
  const auto key = std::span(master).first<16>();
  for (const auto& [label, name] : {std::pair{0, "cipherKey"}, {1, "authenticationKey"}, {2, "cipherSalt"}}) {
    const Packet expected = of_3711(name);
    CHECK(expected.size() >= 14);
    Packet derived(expected.size());
    CHECK(derive_srtp_key(key, of_3711("masterSalt"), static_cast<uint8_t>(label), derived));
    CHECK(derived == expected);
  }
}

TEST("RFC 3711, B.2: makes the key stream of AES-CM, at its beginning and where the counter carries") {
  SrtpCipher cipher;
  const Packet authentication(20);
  CHECK(cipher.init_session(SrtpProfile::kAes128CmSha1_80, Direction::kProtect, of_3711("sessionKey"), authentication,
                            of_3711("sessionSalt")));
  Packet stream(0xff02 * 16);
  std::array<uint8_t, kMaxTagBytes> tag;
  CHECK(cipher.seal(0, 0, {}, stream, {}, tag.data()));
  const Packet first = of_3711("keyStream0000");
  const Packet later = of_3711("keyStreamFeff");
  CHECK_EQUAL(first.size(), size_t{48});
  CHECK(std::equal(first.begin(), first.end(), stream.begin()));
  CHECK(std::equal(later.begin(), later.end(), stream.begin() + 0xfeff * 16));
}

TEST("RFC 7714, 16.1: encrypts and tags RTP; decrypts and verifies it") {
  SrtpSession session = session_of_7714();
  CHECK(protect(session, of_7714("rtp")).packet == of_7714("srtp"));
  CHECK(unprotect(session, of_7714("srtp")).packet == of_7714("rtp"));
}

TEST("RFC 7714, 17.1 and 17.2: encrypts and tags RTCP; decrypts and verifies it") {
  SrtpSession session = session_of_7714();
  const auto index = std::stoul(vectors::text("srtcpIndex", "rfc7714.json"), nullptr, 16);
  for (unsigned long i = 0; i < index; i++) protect_control(session, of_7714("rtcp"));
  CHECK(protect_control(session, of_7714("rtcp")).packet == of_7714("srtcp"));
  CHECK(unprotect_control(session, of_7714("srtcp")).packet == of_7714("rtcp"));
}

TEST("RFC 7714, 17.3 and 17.4: verifies RTCP that is tagged alone") {
  SrtpSession session = session_of_7714();
  CHECK(unprotect_control(session, of_7714("srtcpTagged")).packet == of_7714("rtcp"));
  Packet forged = of_7714("srtcpTagged");
  forged[20] ^= 1;
  CHECK_EQUAL(unprotect_control(session, forged).refusal, +kSrtpReplayed);
  SrtpSession fresh = session_of_7714();
  CHECK_EQUAL(unprotect_control(fresh, forged).refusal, +kSrtpForged);
}

TEST("what one end protects the other reads: extensions, sources, padding and empty payloads too") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    Packet extended = rtp(2);
    extended[0] = 0x92;  // two contributing sources, and an extension of two words
    const Packet more = {1, 1, 1, 1, 2, 2, 2, 2, 0xbe, 0xde, 0, 2, 0x10, 'a', 0, 0, 0, 0, 0, 0};
    extended.insert(extended.begin() + 12, more.begin(), more.end());
    for (const Packet& plain : {rtp(1), extended, rtp(3, ""), rtp(4, std::string(1'200, 'x'))}) {
      const Packet sealed = protect(ends.one, plain).packet;
      CHECK_EQUAL(sealed.size(), plain.size() + srtp_tag_bytes(profile));
      CHECK(unprotect(ends.two, sealed).packet == plain);
    }
    CHECK(std::equal(more.begin(), more.end(),
                     protect(ends.one,
                             [&] {
                               Packet next = extended;
                               next[3] = 9;
                               return next;
                             }())
                             .packet.begin() +
                         12));
  }
}

TEST("a forged packet is refused, whichever byte it is, and the genuine one is still taken") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    const Packet plain = rtp(100);
    const Packet sealed = protect(ends.one, plain).packet;
    for (size_t at = 0; at < sealed.size(); at++) {
      for (const uint8_t bit : {uint8_t{1}, uint8_t{0x80}}) {
        Packet forged = sealed;
        forged[at] ^= bit;
        const int refusal = unprotect(ends.two, forged).refusal;
        CHECK(refusal == kSrtpForged || (at == 0 && refusal == kSrtpMalformed));
      }
    }
    for (size_t length = 0; length < sealed.size(); length++) {
      CHECK(unprotect(ends.two, Packet(sealed.begin(), sealed.begin() + static_cast<long>(length))).refusal < 0);
    }
    CHECK(unprotect(ends.two, sealed).packet == plain);

    const Packet control = protect_control(ends.one, rtcp()).packet;
    for (size_t at = 0; at < control.size(); at++) {
      Packet forged = control;
      forged[at] ^= 0x80;
      CHECK(unprotect_control(ends.two, forged).refusal < 0);
    }
    for (size_t length = 0; length < control.size(); length++) {
      CHECK(unprotect_control(ends.two, Packet(control.begin(), control.begin() + static_cast<long>(length))).refusal <
            0);
    }
    CHECK(unprotect_control(ends.two, control).packet == rtcp());
  }
}

TEST("a packet is taken once") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    std::vector<Packet> sealed;
    for (uint16_t i = 0; i < 50; i++) sealed.push_back(protect(ends.one, rtp(i)).packet);
    for (const Packet& packet : sealed) CHECK_EQUAL(unprotect(ends.two, packet).refusal, 0);
    for (const Packet& packet : sealed) CHECK_EQUAL(unprotect(ends.two, packet).refusal, +kSrtpReplayed);
    const Packet control = protect_control(ends.one, rtcp()).packet;
    CHECK_EQUAL(unprotect_control(ends.two, control).refusal, 0);
    CHECK_EQUAL(unprotect_control(ends.two, control).refusal, +kSrtpReplayed);
  }
}

TEST("packets may be late by as much as the window, and no more") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    std::vector<Packet> sealed;
    for (uint16_t i = 0; i <= kSrtpWindow; i++) sealed.push_back(protect(ends.one, rtp(i)).packet);
    CHECK_EQUAL(unprotect(ends.two, sealed.back()).refusal, 0);
    CHECK_EQUAL(unprotect(ends.two, sealed[1]).refusal, 0);
    CHECK_EQUAL(unprotect(ends.two, sealed[0]).refusal, +kSrtpReplayed);
    for (size_t i = kSrtpWindow - 1; i > 1; i--) CHECK_EQUAL(unprotect(ends.two, sealed[i]).refusal, 0);
  }
}

TEST("sequence numbers roll over, with loss and disorder around it") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    std::vector<Packet> sealed;
    std::vector<uint16_t> sequences;
    for (int i = 0; i < 3 * 0x10000; i += 7) sequences.push_back(static_cast<uint16_t>(65'000 + i));
    for (size_t i = 0; i + 1 < sequences.size(); i += 2) {
      const Packet first = protect(ends.one, rtp(sequences[i])).packet;
      const Packet second = protect(ends.one, rtp(sequences[i + 1])).packet;
      if (i % 5 != 0) CHECK(unprotect(ends.two, second).packet == rtp(sequences[i + 1]));
      CHECK(unprotect(ends.two, first).packet == rtp(sequences[i]));
    }
  }
}

TEST("a replay of an earlier round of the sequence numbers is refused") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    const Packet old = protect(ends.one, rtp(5)).packet;
    CHECK_EQUAL(unprotect(ends.two, old).refusal, 0);
    for (int i = 1'000; i < 0x10000 + 5; i += 1'000) {
      CHECK_EQUAL(unprotect(ends.two, protect(ends.one, rtp(static_cast<uint16_t>(i))).packet).refusal, 0);
    }
    CHECK(unprotect(ends.two, old).refusal < 0);
  }
}

TEST("the same packet may be sent again and comes out the same; another with its index may not") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    const Packet first = protect(ends.one, rtp(10, "first")).packet;
    for (uint16_t i = 11; i < 11 + kResendPackets - 1; i++) protect(ends.one, rtp(i));
    CHECK(protect(ends.one, rtp(10, "first")).packet == first);
    CHECK_EQUAL(protect(ends.one, rtp(10, "other")).refusal, +kSrtpReused);
    CHECK_EQUAL(protect(ends.one, rtp(10, "firs")).refusal, +kSrtpReused);
    CHECK_EQUAL(protect(ends.one, rtp(10, "first!")).refusal, +kSrtpReused);
    Packet marked = rtp(10, "first");
    marked[1] |= 0x80;
    CHECK_EQUAL(protect(ends.one, marked).refusal, +kSrtpReused);
    CHECK(protect(ends.one, rtp(10, "first")).packet == first);
    // One more, and it is forgotten.
    protect(ends.one, rtp(static_cast<uint16_t>(10 + kResendPackets)));
    CHECK_EQUAL(protect(ends.one, rtp(10, "first")).refusal, +kSrtpReused);
  }
}

TEST("what is refused leaves nothing in the buffer that an index has been used on twice") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    protect(ends.one, rtp(10, "first"));
    Packet buffer = rtp(10, "other");
    const size_t length = buffer.size();
    buffer.resize(length + kSrtpRoom);
    CHECK_EQUAL(ends.one.protect_rtp(buffer, length), +kSrtpReused);
    CHECK(std::ranges::all_of(std::span(buffer).first(length), [](uint8_t byte) { return byte == 0; }));
  }
}

TEST("an index is never used twice by different SSRCs' counters, and RTCP counts up") {
  Ends ends(SrtpProfile::kAeadAes128Gcm);
  const Packet one = protect_control(ends.one, rtcp(1)).packet;
  const Packet two = protect_control(ends.one, rtcp(1)).packet;
  const Packet other = protect_control(ends.one, rtcp(2)).packet;
  CHECK_EQUAL(read_u32(&one[one.size() - 4]), 0x80000000u);
  CHECK_EQUAL(read_u32(&two[two.size() - 4]), 0x80000001u);
  CHECK_EQUAL(read_u32(&other[other.size() - 4]), 0x80000000u);
  for (const Packet& packet : {two, one, other}) CHECK_EQUAL(unprotect_control(ends.two, packet).refusal, 0);
}

TEST("a session has room for so many SSRCs, each way, and goes on with those") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    Ends more(profile);
    for (uint32_t ssrc = 0; ssrc < kMaxSsrcs; ssrc++) {
      CHECK_EQUAL(unprotect(ends.two, protect(ends.one, rtp(1, "a", ssrc)).packet).refusal, 0);
      CHECK_EQUAL(unprotect_control(ends.two, protect_control(ends.one, rtcp(ssrc)).packet).refusal, 0);
    }
    CHECK_EQUAL(protect(ends.one, rtp(1, "a", 999)).refusal, +kSrtpTooManySsrcs);
    CHECK_EQUAL(protect_control(ends.one, rtcp(999)).refusal, +kSrtpTooManySsrcs);
    CHECK_EQUAL(unprotect(ends.two, protect(more.one, rtp(1, "a", 999)).packet).refusal, +kSrtpTooManySsrcs);
    CHECK_EQUAL(unprotect_control(ends.two, protect_control(more.one, rtcp(999)).packet).refusal, +kSrtpTooManySsrcs);
    CHECK_EQUAL(unprotect(ends.two, protect(ends.one, rtp(2, "a", 0)).packet).refusal, 0);
  }
}

TEST("forged packets make no room be used") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    for (uint32_t ssrc = 0; ssrc < 1'000; ssrc++) {
      Packet forged = rtp(1, std::string(40, 'x'), ssrc);
      CHECK_EQUAL(unprotect(ends.two, forged).refusal, +kSrtpForged);
    }
    CHECK_EQUAL(unprotect(ends.two, protect(ends.one, rtp(1)).packet).refusal, 0);
  }
}

TEST("keys of another session do not fit, nor those of the other direction, nor RTP's for RTCP") {
  for (const SrtpProfile profile : kProfiles) {
    Ends ends(profile);
    Ends others(profile, 9);
    const Packet sealed = protect(ends.one, rtp(1)).packet;
    CHECK_EQUAL(unprotect(others.two, sealed).refusal, +kSrtpForged);
    CHECK_EQUAL(unprotect(ends.one, sealed).refusal, +kSrtpForged);
    CHECK(unprotect_control(ends.two, sealed).refusal < 0);
  }
}

TEST("what is no RTP or RTCP, or has no room for its tag, is not protected") {
  Ends ends(SrtpProfile::kAeadAes128Gcm);
  Packet wrong_version = rtp(1);
  wrong_version[0] = 0x40;
  Packet no_sources = rtp(1, "");
  no_sources[0] = 0x8f;
  Packet no_extension = rtp(1, "abc");
  no_extension[0] = 0x90;
  Packet long_extension = rtp(1, "abcd");
  long_extension[0] = 0x90;
  for (const Packet& bad : {Packet{}, Packet(11, 0x80), wrong_version, no_sources, no_extension, long_extension}) {
    CHECK_EQUAL(protect(ends.one, bad).refusal, +kSrtpMalformed);
    CHECK_EQUAL(unprotect(ends.two, bad).refusal, +kSrtpMalformed);
  }
  for (const Packet& bad : {Packet{}, Packet(7, 0x80), Packet(8, 0x40)}) {
    CHECK_EQUAL(protect_control(ends.one, bad).refusal, +kSrtpMalformed);
    CHECK_EQUAL(unprotect_control(ends.two, bad).refusal, +kSrtpMalformed);
  }
  Packet tight = rtp(1);
  CHECK_EQUAL(ends.one.protect_rtp(tight, tight.size()), +kSrtpMalformed);
  Packet tight_control = rtcp();
  CHECK_EQUAL(ends.one.protect_rtcp(tight_control, tight_control.size()), +kSrtpMalformed);
}

TEST("keys and salts of a wrong length make no session") {
  const Packet key(16), salt(12), short_key(15), long_salt(14);
  const auto profile = SrtpProfile::kAeadAes128Gcm;
  CHECK(SrtpSession::make(profile, {.local_key = key, .local_salt = salt, .remote_key = key, .remote_salt = salt}));
  CHECK(!SrtpSession::make(profile,
                           {.local_key = short_key, .local_salt = salt, .remote_key = key, .remote_salt = salt}));
  CHECK(
      !SrtpSession::make(profile, {.local_key = key, .local_salt = salt, .remote_key = key, .remote_salt = long_salt}));
}
