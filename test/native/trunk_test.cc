#include "trunk.h"

#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "loopback.h"
#include "replay_window.h"
#include "token.h"
#include "vectors.h"

using namespace earshot;

namespace {

SipKey key(const std::string& name) { return SipKey::from_bytes(vectors::bytes(name).data()); }

Path path(const std::string& name) {
  const auto bytes = vectors::bytes(name);
  Path out;
  CHECK_EQUAL(read_path(bytes.data(), bytes.size(), out), bytes.size());
  return out;
}

}  // namespace

TEST("a trunk datagram is written as in test/vectors/trunk-v1.json") {
  const auto expected = vectors::bytes("upDatagram");
  std::vector<uint8_t> out(expected.size());
  write_trunk_header({.direction = Direction::up,
                      .key_id = static_cast<uint8_t>(vectors::number("fleetKeyId")),
                      .cluster = static_cast<uint16_t>(vectors::number("cluster")),
                      .sender_id = static_cast<uint32_t>(vectors::number("relayPortId")),
                      .target_id = static_cast<uint32_t>(vectors::number("transceiverId")),
                      .target_epoch = static_cast<uint32_t>(vectors::number("transceiverEpoch")),
                      .sender_epoch = vectors::number("relayEpoch"),
                      .sequence = vectors::number("sequence")},
                     out.data());
  size_t at = kTrunkHeaderBytes;
  for (const char* family : {"V4", "V6"}) {
    const auto payload = vectors::bytes(std::string("payload") + family);
    at += write_frame(FrameKind::data, path(std::string("path") + family), payload.data(), payload.size(), &out[at]);
  }
  seal_trunk(out.data(), at, key("trunkUpKey"));
  CHECK_EQUAL(at + kTrunkTagBytes, expected.size());
  CHECK(out == expected);
}

TEST("a trunk datagram is read as in test/vectors/trunk-v1.json") {
  auto bytes = vectors::bytes("downDatagram");
  TrunkHeader header;
  CHECK(read_trunk_header(bytes.data(), bytes.size(), header));
  CHECK(header.direction == Direction::down);
  CHECK_EQUAL(header.sender_epoch, vectors::number("transceiverEpoch"));
  CHECK_EQUAL(header.target_epoch, static_cast<uint32_t>(vectors::number("relayEpoch")));
  CHECK(trunk_tag_matches(bytes.data(), bytes.size(), key("trunkDownKey")));
  CHECK(!trunk_tag_matches(bytes.data(), bytes.size(), key("trunkUpKey")));

  FrameReader reader(bytes.data() + kTrunkHeaderBytes, bytes.data() + bytes.size() - kTrunkTagBytes, Direction::down);
  Frame frame;
  CHECK(reader.next(frame));
  CHECK(frame.kind == FrameKind::promote);
  CHECK(frame.path == path("pathV4"));
  CHECK(std::string(reinterpret_cast<const char*>(frame.payload), frame.length) == vectors::text("ufrag"));
  CHECK(!reader.next(frame));
  CHECK(!reader.malformed());

  for (size_t bit = 0; bit < bytes.size() * 8; bit++) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    CHECK(!trunk_tag_matches(bytes.data(), bytes.size(), key("trunkDownKey")));
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST("unreadable frames end the reading and are noticed") {
  const Path v4 = path("pathV4");
  const uint8_t payload[40] = {};
  const auto malformed = [](const std::vector<uint8_t>& bytes, Direction direction) {
    const std::vector<uint8_t> exact(bytes);
    FrameReader reader(exact.data(), exact.data() + exact.size(), direction);
    for (Frame frame; reader.next(frame);) {
    }
    return reader.malformed();
  };
  const auto frame = [&](FrameKind kind, size_t length) {
    std::vector<uint8_t> out(64);
    out.resize(write_frame(kind, v4, payload, length, out.data()));
    return out;
  };
  CHECK(!malformed(frame(FrameKind::data, 10), Direction::up));
  CHECK(malformed(frame(FrameKind::data, 0), Direction::up));
  CHECK(malformed(frame(FrameKind::promote, 32), Direction::up));  // down only
  CHECK(!malformed(frame(FrameKind::promote, 32), Direction::down));
  CHECK(malformed(frame(FrameKind::promote, 31), Direction::down));
  CHECK(malformed(frame(FrameKind::ping, 8), Direction::up));  // has no path
  auto bytes = frame(FrameKind::data, 10);
  for (size_t n = 1; n < bytes.size(); n++)
    CHECK(malformed({bytes.begin(), bytes.begin() + static_cast<long>(n)}, Direction::up));
  bytes[3] = 5;
  CHECK(malformed(bytes, Direction::up));
  bytes[3] = 4, bytes[2] = 9;
  CHECK(malformed(bytes, Direction::up));
}

TEST("padding is passed over wherever it stands, in both directions") {
  const Path path = loopback::Peer().path();
  const uint8_t payload[] = {0x80, 7};
  for (const Direction direction : {Direction::up, Direction::down}) {
    for (const size_t bytes : {4, 5, 100}) {
      std::vector<uint8_t> frames(3 * bytes + 2 * frame_bytes(path, sizeof payload), 0xaa);
      size_t at = 0;
      for (int i = 0; i < 2; i++) {
        write_padding(&frames[at], bytes);
        at += bytes;
        at += write_frame(FrameKind::data, path, payload, sizeof payload, &frames[at]);
      }
      write_padding(&frames[at], bytes);
      FrameReader reader(frames.data(), frames.data() + frames.size(), direction);
      unsigned read = 0;
      for (Frame frame; reader.next(frame); read++) CHECK_EQUAL(frame.length, sizeof payload);
      CHECK_EQUAL(read, 2u);
      CHECK(!reader.malformed());
      FrameReader cut(frames.data(), frames.data() + frames.size() - 1, direction);
      for (Frame frame; cut.next(frame);) read--;
      CHECK_EQUAL(read, 0u);
      CHECK(cut.malformed());
    }
  }
}

TEST("a sequence is accepted once, and only within the window") {
  ReplayWindow window;
  CHECK(!window.accept(0));
  CHECK(window.accept(5));
  CHECK(!window.accept(5));
  CHECK(window.accept(1));
  CHECK(window.accept(1000));
  CHECK(window.accept(6));
  CHECK(!window.accept(6));
  CHECK(window.accept(1029));
  CHECK(!window.accept(5));  // 1,024 behind
  CHECK(window.accept(7));
  CHECK(window.accept(1'000'000));
  CHECK(!window.accept(1029));
  CHECK(window.accept(1'000'000 - 1023));
  CHECK(!window.accept(1'000'000 - 1024));
  CHECK(window.accept(UINT64_MAX));
  CHECK(!window.accept(UINT64_MAX));
  CHECK(window.accept(UINT64_MAX - 1));
}

TEST("a token is ours only with a known key and an unchanged tag") {
  const std::string ufrag = vectors::text("ufrag");
  KeySet keys;
  keys.entries[3].known = true;
  keys.entries[3].token_tag = key("tokenTagKey");
  uint8_t token[kTokenBytes];
  CHECK(decode_ice_chars(reinterpret_cast<const uint8_t*>(ufrag.data()), token));
  CHECK(std::memcmp(token, vectors::bytes("token").data(), kTokenBytes) == 0);
  CHECK(token_is_ours(token, keys));
  for (size_t bit = 0; bit < kTokenBytes * 8; bit++) {
    token[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    CHECK(!token_is_ours(token, keys));
    token[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  keys.entries[3].known = false;
  CHECK(!token_is_ours(token, keys));
}

TEST("only the 64 ice-chars make a token") {
  std::string chars(32, 'A');
  uint8_t token[kTokenBytes];
  int accepted = 0;
  for (int c = 0; c < 256; c++) {
    for (size_t at : {0u, 13u, 31u}) {
      std::string changed = chars;
      changed[at] = static_cast<char>(c);
      if (decode_ice_chars(reinterpret_cast<const uint8_t*>(changed.data()), token)) accepted++;
    }
  }
  CHECK_EQUAL(accepted, 3 * 64);
}
