// The gate alone: what it hands on, byte by byte.
#include "dtls/record_gate.h"

#include <algorithm>

#include "check.h"

using namespace earshot;

namespace {

using Datagram = std::vector<uint8_t>;

struct Collector final : RecordSink {
  std::vector<Datagram> records;
  void record(std::span<const uint8_t> bytes) override { records.emplace_back(bytes.begin(), bytes.end()); }
};

Datagram record(uint8_t type, uint16_t epoch, const Datagram& body, uint64_t sequence = 0) {
  Datagram out(kRecordHeaderBytes);
  write_record_header(out.data(), static_cast<ContentType>(type), sequence, body.size());
  write_u16(&out[3], epoch);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Datagram fragment(uint8_t type, uint16_t sequence, uint32_t length, uint32_t offset, const Datagram& bytes) {
  Datagram out(kFragmentHeaderBytes);
  out[0] = type;
  write_u24(&out[1], length);
  write_u16(&out[4], sequence);
  write_u24(&out[6], offset);
  write_u24(&out[9], static_cast<uint32_t>(bytes.size()));
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

Datagram message(uint8_t type, uint16_t sequence, const Datagram& bytes) {
  return fragment(type, sequence, static_cast<uint32_t>(bytes.size()), 0, bytes);
}

Datagram operator+(Datagram a, const Datagram& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Datagram kHello = message(1, 0, Datagram(50, 1));
const Datagram kCertificate = message(11, 1, Datagram(300, 2));
const Datagram kKey = message(16, 2, Datagram(33, 3));
const Datagram kVerify = message(15, 3, Datagram(70, 4));
const Datagram kSealed(40, 9);

// As OpenSSL gets them, from the record numbered `from` on.
std::vector<Datagram> plain(std::initializer_list<Datagram> bodies, uint64_t from = 0) {
  std::vector<Datagram> out;
  for (const Datagram& body : bodies) out.push_back(record(22, 0, body, from++));
  return out;
}

}  // namespace

TEST("whole messages pass in their order, numbered anew, and a change of ciphers follows the last") {
  RecordGate gate;
  Collector out;
  CHECK_EQUAL(gate.take(record(22, 0, kHello, 7'000), out), size_t{0});
  CHECK(out.records == plain({kHello}));
  out.records.clear();
  const Datagram finished = record(22, 1, kSealed, 5);
  const Datagram flight = record(22, 0, kCertificate, 9) + record(22, 0, kKey, 9) + record(22, 0, kVerify, 0) +
                          record(20, 0, {1}) + finished;
  CHECK_EQUAL(gate.take(flight, out), size_t{0});
  auto expected = plain({kCertificate, kKey, kVerify}, 1);
  expected.push_back(record(20, 0, {1}, 4));
  expected.push_back(finished);
  CHECK(out.records == expected);
}

TEST("several messages in one record, and one message over several, pass as the same whole ones") {
  RecordGate gate;
  Collector out;
  gate.take(record(22, 0, kHello), out);
  CHECK_EQUAL(gate.take(record(22, 0, kCertificate + kKey), out), size_t{0});
  for (uint32_t at = 63; at > 0; at -= 7) {
    CHECK_EQUAL(gate.take(record(22, 0, fragment(15, 3, 70, at, Datagram(7, 4))), out), size_t{0});
  }
  CHECK(out.records == plain({kHello, kCertificate, kKey}));
  // The first seven bytes, and with them some that are there already.
  gate.take(record(22, 0, fragment(15, 3, 70, 0, Datagram(20, 4))), out);
  CHECK_EQUAL(out.records.size(), size_t{5});
  CHECK(out.records[3] == record(22, 0, kVerify, 3));
}

TEST("messages that come too early wait for those before them; encrypted records wait for their keys") {
  RecordGate gate;
  Collector out;
  const Datagram finished = record(22, 1, kSealed);
  CHECK_EQUAL(gate.take(finished, out), size_t{0});
  CHECK_EQUAL(gate.take(record(22, 0, kVerify) + record(22, 0, kKey) + record(22, 0, kCertificate), out), size_t{0});
  CHECK(out.records.empty());
  gate.take(record(22, 0, kHello), out);
  auto expected = plain({kHello, kCertificate, kKey, kVerify});
  expected.push_back(record(20, 0, {1}, 4));
  expected.push_back(finished);
  CHECK(out.records == expected);
}

TEST("of encrypted records that come too early only a few short ones are kept, the newest") {
  RecordGate gate;
  Collector out;
  for (uint8_t i = 0; i < 100; i++) CHECK_EQUAL(gate.take(record(22, 1, Datagram(40, i)), out), size_t{0});
  CHECK_EQUAL(gate.take(record(22, 1, Datagram(kMaxEarlyRecordBytes, 1)), out), size_t{1});
  gate.take(record(22, 0, kHello) + record(22, 0, kCertificate) + record(22, 0, kKey) + record(22, 0, kVerify), out);
  CHECK_EQUAL(out.records.size(), 5 + kMaxEarlyRecords);
  for (size_t i = 0; i < kMaxEarlyRecords; i++) {
    CHECK(out.records[5 + i] == record(22, 1, Datagram(40, static_cast<uint8_t>(100 - kMaxEarlyRecords + i))));
  }
}

TEST("what is repeated passes once") {
  RecordGate gate;
  Collector out;
  for (int i = 0; i < 3; i++) CHECK_EQUAL(gate.take(record(22, 0, kHello), out), size_t{0});
  CHECK(out.records == plain({kHello}));
}

TEST("a message of another length begins anew, so that a forgery does not stay") {
  RecordGate gate;
  Collector out;
  CHECK_EQUAL(gate.take(record(22, 0, fragment(1, 0, 8'000, 10, Datagram(10, 6))), out), size_t{0});
  CHECK_EQUAL(gate.take(record(22, 0, kHello), out), size_t{0});
  CHECK(out.records == plain({kHello}));
}

TEST("refuses everything that is no part of a handshake, or too long") {
  const struct {
    const char* name;
    Datagram bytes;
  } cases[] = {
      {"half a header", Datagram(12, 22)},
      {"another protocol", record(22, 0, kHello) + Datagram{22, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}},
      {"an empty record", record(22, 0, {})},
      {"a plaintext alert", record(21, 0, {1, 0})},
      {"plaintext data", record(23, 0, Datagram(40))},
      {"a record of unknown type", record(24, 0, Datagram(40))},
      {"a change of ciphers that is none", record(20, 0, {2})},
      {"a longer change of ciphers", record(20, 0, {1, 1})},
      {"a sealed change of ciphers", record(20, 1, kSealed)},
      {"a record of a later epoch", record(22, 2, kSealed)},
      {"a sealed record that is too short", record(22, 1, Datagram(23))},
      {"data before the end of the handshake", record(23, 1, kSealed)},
      {"a hello of the server", record(22, 0, message(2, 0, Datagram(50)))},
      {"a key of the server", record(22, 0, message(12, 2, Datagram(50)))},
      {"a hello out of its place", record(22, 0, message(1, 1, Datagram(50)))},
      {"a plaintext Finished", record(22, 0, message(20, 4, Datagram(12)))},
      {"an empty message", record(22, 0, message(1, 0, {}))},
      {"a message too long", record(22, 0, fragment(1, 0, kMaxHandshakeMessageBytes + 1, 0, Datagram(10)))},
      {"a fragment past its message", record(22, 0, fragment(1, 0, 50, 45, Datagram(10)))},
      {"a fragment cut short", record(22, 0, Datagram(11, 1))},
  };
  for (const auto& [name, bytes] : cases) {
    RecordGate gate;
    Collector out;
    const size_t refused = gate.take(bytes, out);
    if (refused != 1) std::printf("  %s\n", name);
    CHECK_EQUAL(refused, size_t{1});
    CHECK(std::ranges::none_of(out.records, [](const Datagram& passed) { return passed[0] != 22; }));
  }
}

TEST("once established, sealed records pass as they are, and nothing else") {
  RecordGate gate;
  Collector out;
  gate.take(record(22, 0, kHello) + record(22, 0, kCertificate) + record(22, 0, kKey) + record(22, 0, kVerify), out);
  gate.established();
  out.records.clear();
  for (const uint8_t type : Datagram{21, 22, 23}) CHECK_EQUAL(gate.take(record(type, 1, kSealed, 77), out), size_t{0});
  const std::vector<Datagram> expected = {record(21, 1, kSealed, 77), record(22, 1, kSealed, 77),
                                          record(23, 1, kSealed, 77)};
  CHECK(out.records == expected);
  out.records.clear();
  for (const uint8_t type : Datagram{19, 20, 21, 22, 23, 24}) {
    CHECK_EQUAL(gate.take(record(type, 0, kHello), out), size_t{1});
    CHECK_EQUAL(gate.take(record(type, 1, Datagram(23)), out), size_t{1});
    CHECK_EQUAL(gate.take(record(type, 2, kSealed), out), size_t{1});
  }
  CHECK(out.records.empty());
  // The good ones of a datagram pass without the bad ones.
  CHECK_EQUAL(gate.take(record(20, 0, {1}) + record(23, 1, kSealed) + record(21, 0, {1, 0}), out), size_t{2});
  CHECK(out.records == std::vector<Datagram>{record(23, 1, kSealed)});
}
