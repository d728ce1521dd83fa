// The DTLS server against a client of OpenSSL's over a link in memory that loses, repeats, reorders and forges.
#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "check.h"
#include "dtls_client.h"

using namespace earshot;
using namespace dtls_test;

namespace {

// Whole records of one datagram, one entry each.
std::vector<Bytes> records_of(const Bytes& datagram) {
  std::vector<Bytes> all;
  std::span<const uint8_t> rest(datagram);
  for (Record record; read_record(rest, record); rest = rest.subspan(record.bytes.size())) {
    all.emplace_back(record.bytes.begin(), record.bytes.end());
  }
  return all;
}

Bytes record_with(ContentType type, uint16_t epoch, uint64_t sequence, const Bytes& body) {
  Bytes record(kRecordHeaderBytes + body.size());
  write_record_header(record.data(), type, sequence, body.size());
  write_u16(&record[3], epoch);
  std::ranges::copy(body, record.begin() + kRecordHeaderBytes);
  return record;
}

Bytes fragment_with(uint8_t type, uint32_t length, uint16_t sequence, uint32_t offset, uint32_t claimed, size_t bytes) {
  Bytes body(kFragmentHeaderBytes + bytes, 0x5a);
  body[0] = type;
  write_u24(&body[1], length);
  write_u16(&body[4], sequence);
  write_u24(&body[6], offset);
  write_u24(&body[9], claimed);
  return body;
}

std::vector<Bytes> hostile() {
  std::vector<Bytes> all;
  constexpr uint64_t kFar = 0xffffffffffff;
  for (const uint64_t sequence : {uint64_t{0}, uint64_t{7}, kFar}) {
    for (const uint8_t type : Bytes{19, 20, 21, 22, 23, 24, 63}) {
      for (const uint16_t epoch : std::array<uint16_t, 4>{0, 1, 2, 0xffff}) {
        for (const size_t length : {0, 1, 2, 8, 23, 24, 26, 40, 1'400}) {
          all.push_back(record_with(static_cast<ContentType>(type), epoch, sequence, Bytes(length, 1)));
        }
      }
    }
    for (const uint8_t level : Bytes{1, 2}) {
      for (const uint8_t description : Bytes{0, 10, 40, 50, 80, 100}) {
        all.push_back(record_with(ContentType::kAlert, 0, sequence, {level, description}));
      }
    }
    for (const uint8_t type : Bytes{0, 1, 2, 3, 11, 12, 14, 15, 16, 20, 21, 255}) {
      for (const uint16_t message : std::array<uint16_t, 8>{0, 1, 2, 3, 4, 10, 11, 0xffff}) {
        for (const auto& [length, offset, claimed, bytes] : {std::array<uint32_t, 4>{40, 0, 40, 40},
                                                             {40, 0, 10, 10},
                                                             {40, 30, 20, 20},
                                                             {0xffffff, 0, 40, 40},
                                                             {0xffffff, 0xfffff0, 15, 15},
                                                             {40, 0xffffff, 10, 10},
                                                             {40, 0, 0xffffff, 10},
                                                             {0, 0, 0, 0},
                                                             {40, 40, 0, 0}}) {
          all.push_back(record_with(ContentType::kHandshake, 0, sequence,
                                    fragment_with(type, length, message, offset, claimed, bytes)));
        }
      }
    }
  }
  for (size_t length = 1; length < 40; length++) all.push_back(Bytes(length, 0x16));
  return all;
}

// Forged messages of a handshake that OpenSSL would believe to be the client's: everything but those.
bool is_well_formed_message(const Bytes& datagram) {
  Record record;
  Fragment fragment;
  if (!read_record(datagram, record) || record.epoch != 0 || record.type != ContentType::kHandshake) return false;
  if (!read_fragment(record.body, fragment) || fragment.sequence > 3) return false;
  const std::array<uint8_t, 4> types = {1, 11, 16, 15};
  return static_cast<uint8_t>(fragment.type) == types[fragment.sequence] && fragment.message_length == 40;
}

}  // namespace

TEST("each profile that a client offers alone is taken, and of both the AEAD") {
  for (const auto& [offered, chosen] : {std::pair{"SRTP_AES128_CM_SHA1_80", "SRTP_AES128_CM_SHA1_80"},
                                        {"SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_128_GCM"},
                                        {"SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80", "SRTP_AES128_CM_SHA1_80"},
                                        {"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_128_GCM"}}) {
    Pair pair({.srtp_profiles = offered});
    pair.run();
    CHECK(pair.client.connected);
    CHECK(pair.server.state() == DtlsState::kConnected);
    CHECK_EQUAL(pair.client.profile() == chosen, true);
    CHECK(pair.talks());
  }
}

TEST("the keys of both sides fit, for SRTP and SRTCP, both ways and under both profiles") {
  for (const char* profile : {"SRTP_AES128_CM_SHA1_80", "SRTP_AEAD_AES_128_GCM"}) {
    Pair pair({.srtp_profiles = profile});
    pair.run();
    SrtpSession client = pair.client.srtp();
    SrtpSession* server = pair.server.srtp();
    CHECK(server != nullptr);
    if (server == nullptr) return;
    Bytes rtp = {0x80, 96, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 'v', 'o', 'i', 'c', 'e'};
    Bytes rtcp = {0x80, 200, 0, 1, 1, 2, 3, 4, 'r', 'e', 'p', 'o'};
    const size_t rtp_length = rtp.size(), rtcp_length = rtcp.size();
    const Bytes plain_rtp = rtp, plain_rtcp = rtcp;
    rtp.resize(rtp_length + kSrtpRoom);
    rtcp.resize(rtcp_length + kSrtpRoom);
    for (const auto& [from, to] : {std::pair{&client, server}, {server, &client}}) {
      const int sealed = from->protect_rtp(rtp, rtp_length);
      CHECK(sealed > static_cast<int>(rtp_length));
      CHECK_EQUAL(to->unprotect_rtp(std::span(rtp).first(static_cast<size_t>(sealed))), static_cast<int>(rtp_length));
      CHECK(std::equal(plain_rtp.begin(), plain_rtp.end(), rtp.begin()));
      const int sealed_rtcp = from->protect_rtcp(rtcp, rtcp_length);
      CHECK(sealed_rtcp > static_cast<int>(rtcp_length));
      CHECK_EQUAL(to->unprotect_rtcp(std::span(rtcp).first(static_cast<size_t>(sealed_rtcp))),
                  static_cast<int>(rtcp_length));
      CHECK(std::equal(plain_rtcp.begin(), plain_rtcp.end(), rtcp.begin()));
    }
  }
}

TEST("the client sees the certificate whose fingerprint the answer has") {
  Pair pair;
  pair.run();
  CHECK(std::ranges::equal(pair.client.server_digest(), identity().fingerprint()));
  CHECK(!pair.server.peer_certificate().empty());
}

TEST("a fingerprint may be of SHA-256, SHA-384 or SHA-512, and any of several may match; SHA-1 is none") {
  const Certificate own;
  const Certificate other;
  for (const EVP_MD* hash : {EVP_sha256(), EVP_sha384(), EVP_sha512()}) {
    Fingerprints allowed;
    CHECK(allowed.add(other.digest(EVP_sha256())));
    CHECK(allowed.add(own.digest(hash)));
    CHECK(allowed.add(other.digest(EVP_sha512())));
    Pair pair({.certificate = &own}, std::move(allowed));
    pair.run();
    CHECK(pair.server.state() == DtlsState::kConnected);
  }
  Fingerprints allowed;
  CHECK(!allowed.add(own.digest(EVP_sha1())));
  CHECK(!allowed.add({}));
  CHECK(allowed.empty());
}

TEST("what cannot become a call fails with its reason and an alert") {
  const Certificate own;
  const Certificate other;
  const struct {
    const char* name;
    ClientOptions options;
    Fingerprints allowed;
    DtlsFailure failure;
  } cases[] = {
      {"another certificate", {.certificate = &own}, allow(other), DtlsFailure::kFingerprint},
      {"no certificate", {}, allow(own), DtlsFailure::kCertificate},
      {"no SRTP", {.certificate = &own, .srtp_profiles = nullptr}, allow(own), DtlsFailure::kProfile},
      {"a profile that is not ours",
       {.certificate = &own, .srtp_profiles = "SRTP_AES128_CM_SHA1_32"},
       allow(own),
       DtlsFailure::kProfile},
      {"no AEAD suite",
       {.certificate = &own, .ciphers = "ECDHE-ECDSA-AES128-SHA"},
       allow(own),
       DtlsFailure::kHandshake},
      {"no ephemeral key", {.certificate = &own, .ciphers = "AES128-GCM-SHA256"}, allow(own), DtlsFailure::kHandshake},
  };
  for (const auto& [name, options, allowed, failure] : cases) {
    Pair pair(options, allowed);
    pair.run();
    if (pair.server.failure() != failure) std::printf("  %s\n", name);
    CHECK(pair.server.state() == DtlsState::kFailed);
    CHECK(pair.server.failure() == failure);
    CHECK(pair.server.srtp() == nullptr);
    CHECK(pair.client.failed);
    CHECK(!pair.client.connected);
  }
}

TEST("a client with data channels alone needs no SRTP") {
  const Certificate own;
  Pair pair({.certificate = &own, .srtp_profiles = nullptr}, allow(own), false);
  pair.run();
  CHECK(pair.server.state() == DtlsState::kConnected);
  CHECK(pair.server.srtp() == nullptr);
  CHECK(pair.talks());
}

TEST("a forged CertificateVerify or ClientKeyExchange is refused") {
  for (const uint8_t type : Bytes{15, 16}) {
    Pair pair;
    pair.client.handshake();
    pair.to_server();
    pair.to_client();
    for (Bytes& datagram : pair.client.sent) {
      for (size_t at = 0; at < datagram.size();) {
        const size_t length = kRecordHeaderBytes + read_u16(&datagram[at + 11]);
        if (datagram[at] == 22 && datagram[at + 4] == 0 && datagram[at + 13] == type) datagram[at + length - 1] ^= 1;
        at += length;
      }
    }
    pair.to_server();
    CHECK(pair.server.state() != DtlsState::kConnected);
    CHECK(pair.server.srtp() == nullptr);
    if (type == 15) CHECK(pair.server.failure() == DtlsFailure::kSignature);
  }
}

TEST("a forged Finished is dropped, and the client's own is still taken") {
  Pair pair;
  pair.client.handshake();
  pair.to_server();
  pair.to_client();
  std::vector<Bytes> flight;
  for (const Bytes& datagram : std::exchange(pair.client.sent, {})) {
    for (Bytes& record : records_of(datagram)) flight.push_back(std::move(record));
  }
  const Bytes finished = flight.back();
  CHECK_EQUAL(finished[0], 22);
  CHECK_EQUAL(finished[4], 1);
  flight.pop_back();
  for (size_t at = kRecordHeaderBytes; at < finished.size(); at++) {
    Bytes forged = finished;
    forged[at] ^= 1;
    flight.push_back(forged);
  }
  for (const Bytes& record : flight) pair.server.feed(record);
  CHECK(pair.server.state() == DtlsState::kHandshaking);
  pair.server.feed(finished);
  CHECK(pair.server.state() == DtlsState::kConnected);
}

TEST("flights that are lost are sent again, from either side") {
  Pair pair;
  pair.client.handshake();
  pair.client.sent.clear();
  pair.client.retransmit();
  pair.to_server();
  CHECK(!pair.server.datagrams().empty());
  pair.server.datagrams().clear();
  const int64_t first = pair.server.timeout_ms();
  CHECK(first > 0 && first <= 100);
  std::this_thread::sleep_for(std::chrono::milliseconds(first));
  pair.server.on_timeout();
  const int64_t second = pair.server.timeout_ms();
  CHECK(second > 100 && second <= 200);
  pair.to_client();
  pair.client.sent.clear();
  pair.client.retransmit();
  pair.to_server();
  CHECK(pair.server.state() == DtlsState::kConnected);
  CHECK_EQUAL(pair.server.timeout_ms(), -1);
  // Our last flight, which no timer of ours sends again.
  pair.server.datagrams().clear();
  pair.client.retransmit();
  pair.to_server();
  pair.to_client();
  CHECK(pair.client.connected);
  CHECK(pair.talks());
}

TEST("flights may come in any order, in pieces, and more than once") {
  std::minstd_rand random(7);
  for (const long mtu : {1'200L, 300L, 256L}) {
    for (int round = 0; round < 20; round++) {
      Pair pair({.mtu = mtu});
      pair.client.handshake();
      for (int turn = 0; turn < 40 && !(pair.client.connected && pair.server.state() == DtlsState::kConnected);
           turn++) {
        std::vector<Bytes> pieces;
        for (const Bytes& datagram : std::exchange(pair.client.sent, {})) {
          for (const Bytes& record : records_of(datagram)) {
            pieces.push_back(record);
            pieces.push_back(record);
          }
        }
        std::ranges::shuffle(pieces, random);
        for (const Bytes& piece : pieces) pair.server.feed(piece);
        std::ranges::shuffle(pair.server.datagrams(), random);
        pair.to_client();
        if (pair.client.sent.empty() && !pair.client.connected) pair.client.retransmit();
      }
      CHECK(pair.client.connected);
      CHECK(pair.server.state() == DtlsState::kConnected);
      CHECK(pair.talks());
    }
  }
}

TEST("nothing that is not authentic ends or alters a session that is up") {
  Pair pair;
  pair.client.handshake();
  std::vector<Bytes> old;
  while (!pair.client.sent.empty() || !pair.server.datagrams().empty()) {
    for (const Bytes& datagram : pair.client.sent) old.push_back(datagram);
    pair.to_server();
    pair.to_client();
  }
  for (int round = 0; round < 2; round++) {
    for (const Bytes& datagram : hostile()) pair.server.feed(datagram);
    CHECK(pair.server.state() == DtlsState::kConnected);
    CHECK(pair.server.messages().empty());
    CHECK(pair.server.datagrams().empty());
    CHECK(pair.talks());
  }
  for (const Bytes& datagram : old) pair.server.feed(datagram);
  CHECK(pair.server.datagrams().empty());
  CHECK(pair.talks());
  Pair stranger;
  stranger.client.handshake();
  for (const Bytes& datagram : stranger.client.sent) CHECK_EQUAL(pair.server.feed(datagram), size_t{1});
  CHECK(pair.talks());
}

TEST("nothing malformed ends or alters a handshake, at any of its stages") {
  for (int stage = 0; stage < 3; stage++) {
    Pair pair;
    if (stage > 0) pair.client.handshake();
    if (stage > 1) {
      pair.to_server();
      pair.to_client();
    }
    for (const Bytes& datagram : hostile()) {
      if (!is_well_formed_message(datagram)) pair.server.feed(datagram);
    }
    CHECK(pair.server.state() == DtlsState::kHandshaking);
    if (stage == 0) pair.client.handshake();
    while (!pair.client.sent.empty() || !pair.server.datagrams().empty()) {
      pair.to_server();
      pair.to_client();
    }
    CHECK(pair.client.connected);
    CHECK(pair.server.state() == DtlsState::kConnected);
    CHECK(pair.talks());
  }
}

TEST("control: straight to OpenSSL, one short record ends a session, and clear data a handshake") {
  for (const size_t length : {1, 23}) {
    Pair pair;
    SslServer bare(identity(), allow(pair.certificate), true);
    const auto run = [&] {
      pair.client.handshake();
      while (!pair.client.sent.empty() || !bare.datagrams.empty()) {
        for (const Bytes& datagram : std::exchange(pair.client.sent, {})) bare.record(datagram);
        for (const Bytes& datagram : std::exchange(bare.datagrams, {})) pair.client.receive(datagram);
      }
    };
    run();
    CHECK(bare.state() == DtlsState::kConnected);
    bare.record(record_with(ContentType::kApplicationData, 1, 99, Bytes(length, 1)));
    CHECK(bare.state() == DtlsState::kFailed);
  }
  SslServer handshaking(identity(), {}, true);
  handshaking.record(record_with(ContentType::kApplicationData, 0, 1, Bytes(40, 1)));
  CHECK(handshaking.state() == DtlsState::kFailed);
}

TEST("control: straight to OpenSSL, one record with a high number makes it deaf to the client") {
  Pair pair;
  SslServer bare(identity(), allow(pair.certificate), true);
  bare.record(record_with(ContentType::kChangeCipherSpec, 0, 0xffffffffffff, {1}));
  pair.client.handshake();
  for (int turn = 0; turn < 3; turn++) {
    for (const Bytes& datagram : std::exchange(pair.client.sent, {})) bare.record(datagram);
    pair.client.retransmit();
  }
  CHECK(bare.datagrams.empty());
}

TEST("data that was received once is not received again") {
  Pair pair;
  pair.run();
  pair.client.send("once");
  const Bytes sealed = pair.client.sent.at(0);
  CHECK_EQUAL(pair.server.feed(sealed), size_t{0});
  CHECK_EQUAL(pair.server.messages().size(), size_t{1});
  CHECK_EQUAL(pair.server.feed(sealed), size_t{1});
  CHECK_EQUAL(pair.server.messages().size(), size_t{1});
}

TEST("a goodbye of the client's closes the session, and is answered") {
  Pair pair;
  pair.run();
  pair.client.close();
  pair.to_server();
  CHECK(pair.server.state() == DtlsState::kClosed);
  CHECK(pair.server.srtp() == nullptr);
  CHECK(!pair.server.datagrams().empty());
  CHECK(!pair.server.send(Bytes(4)));
  CHECK_EQUAL(pair.server.feed(Bytes(40, 23)), size_t{0});
}

TEST("closing says goodbye, and nothing works afterwards") {
  Pair pair;
  pair.run();
  pair.server.close();
  pair.to_client();
  CHECK(pair.client.closed);
  CHECK(pair.server.srtp() == nullptr);
  CHECK(!pair.server.send(Bytes(4)));
  CHECK_EQUAL(pair.server.timeout_ms(), -1);
  pair.server.on_timeout();
  pair.server.close();
  CHECK(pair.server.peer_certificate().empty());
  CHECK_EQUAL(pair.server.srtp_profile(), 0);
}

TEST("a session is not taken up again, and not negotiated anew") {
  Pair pair;
  pair.run();
  CHECK_EQUAL(SSL_CTX_get_session_cache_mode(identity().context()), SSL_SESS_CACHE_OFF);
  CHECK((SSL_CTX_get_options(identity().context()) & SSL_OP_NO_TICKET) != 0);
  CHECK((SSL_CTX_get_options(identity().context()) & SSL_OP_NO_RENEGOTIATION) != 0);
}

TEST("OpenSSL's error queue is left empty, whatever comes") {
  const Certificate own;
  const Certificate other;
  Pair pair({.certificate = &own}, allow(other));
  pair.run();
  CHECK(pair.server.state() == DtlsState::kFailed);
  Pair up;
  up.run();
  ERR_clear_error();
  for (const Bytes& datagram : hostile()) up.server.feed(datagram);
  Bytes rtp(60, 0x80);
  up.server.srtp()->unprotect_rtp(rtp);
  CHECK_EQUAL(ERR_peek_error(), 0ul);
}
