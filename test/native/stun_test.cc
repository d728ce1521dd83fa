#include "stun.h"

#include <cstring>
#include <string>
#include <vector>

#include "bytes.h"
#include "check.h"

using namespace earshot;

namespace {

std::vector<uint8_t> message(uint16_t type) {
  std::vector<uint8_t> out(20);
  write_u16(out.data(), type);
  write_u32(out.data() + 4, 0x2112a442);
  return out;
}

void add(std::vector<uint8_t>& to, uint16_t type, const std::string& value) {
  const size_t at = to.size();
  to.resize(at + 4 + ((value.size() + 3) & ~size_t{3}));
  write_u16(to.data() + at, type);
  write_u16(to.data() + at + 2, static_cast<uint16_t>(value.size()));
  std::memcpy(to.data() + at + 4, value.data(), value.size());
  write_u16(to.data() + 2, static_cast<uint16_t>(to.size() - 20));
}

StunView read(const std::vector<uint8_t>& bytes) {
  // A copy of exactly this size, so that the address sanitizer sees a read past the end.
  const std::vector<uint8_t> exact(bytes);
  StunView view = read_stun(exact.data(), exact.size());
  if (view.ufrag != nullptr) view.ufrag = bytes.data() + (view.ufrag - exact.data());
  return view;
}

std::string ufrag(const std::vector<uint8_t>& bytes) {
  const StunView view = read(bytes);
  return view.ufrag == nullptr ? "(none)" : std::string(reinterpret_cast<const char*>(view.ufrag), view.ufrag_length);
}

}  // namespace

TEST("the class of a Binding message is read from between the method's bits") {
  CHECK_EQUAL(int(read(message(0x0001)).kind), int(StunKind::request));
  CHECK_EQUAL(int(read(message(0x0011)).kind), int(StunKind::indication));
  CHECK_EQUAL(int(read(message(0x0101)).kind), int(StunKind::success));
  CHECK_EQUAL(int(read(message(0x0111)).kind), int(StunKind::error));
  CHECK_EQUAL(int(read(message(0x0003)).kind), int(StunKind::other_method));  // Allocate
  CHECK_EQUAL(int(read(message(0x0200)).kind), int(StunKind::other_method));  // GOOG-PING
  CHECK_EQUAL(int(read(message(0x2001)).kind), int(StunKind::other_method));
}

TEST("the local ufrag is what stands before the colon of the first USERNAME that integrity covers") {
  auto bytes = message(1);
  add(bytes, 0x8022, "software");
  add(bytes, 0x0006, "local:remote");
  add(bytes, 0x0006, "other:remote");
  CHECK(ufrag(bytes) == "local");

  auto late = message(1);
  add(late, 0x0008, std::string(20, 'x'));
  add(late, 0x0006, "local:remote");
  CHECK(ufrag(late) == "(none)");

  auto no_colon = message(1);
  add(no_colon, 0x0006, "local");
  add(no_colon, 0x0006, "second:remote");
  CHECK(ufrag(no_colon) == "(none)");

  auto empty = message(1);
  add(empty, 0x0006, ":remote");
  CHECK(ufrag(empty) == "");
}

TEST("malformed messages are refused") {
  auto good = message(1);
  add(good, 0x0006, "a:b");
  CHECK_EQUAL(int(read(good).kind), int(StunKind::request));
  const auto refused = [](std::vector<uint8_t> bytes) { return read(bytes).kind == StunKind::malformed; };
  for (size_t n = 0; n < good.size(); n++) CHECK(refused({good.begin(), good.begin() + static_cast<long>(n)}));
  auto bytes = good;
  bytes.push_back(0);
  CHECK(refused(bytes));
  bytes = good, bytes[0] |= 0x40;
  CHECK(refused(bytes));
  bytes = good, bytes[5] ^= 1;
  CHECK(refused(bytes));
  bytes = good, bytes[23] = 5;  // the value would run past the end
  CHECK(refused(bytes));
  bytes = good, bytes[22] = 0xff;
  CHECK(refused(bytes));
}

TEST("random changes never read out of bounds") {
  auto good = message(1);
  add(good, 0x0006, std::string(32, 'u') + ":peer");
  add(good, 0x0024, "prio");
  add(good, 0x0008, std::string(20, 'h'));
  add(good, 0x8028, "crc!");
  uint32_t random = 1;
  const auto next = [&] { return random = random * 1664525 + 1013904223, random >> 8; };
  int readable = 0;
  for (int i = 0; i < 200'000; i++) {
    auto bytes = good;
    for (uint32_t n = next() % 4 + 1; n > 0; n--) bytes[next() % bytes.size()] = static_cast<uint8_t>(next());
    bytes.resize(next() % 8 == 0 ? next() % bytes.size() : bytes.size());
    if (read(bytes).kind != StunKind::malformed) readable++;
  }
  CHECK(readable > 0);
}
