// A client's first request with any one bit or any two bits changed: what a worker still hands to the control plane
// holds the token as it was. The rest of the request is the control plane's to judge:
// test/unit/changed-request.test.ts.
#include <cstring>
#include <string>
#include <vector>

#include "bytes.h"
#include "check.h"
#include "stun.h"
#include "token.h"
#include "vectors.h"

using namespace earshot;

namespace {

void add(std::vector<uint8_t>& to, uint16_t type, const std::string& value) {
  const size_t at = to.size();
  to.resize(at + 4 + ((value.size() + 3) & ~size_t{3}));
  write_u16(to.data() + at, type);
  write_u16(to.data() + at + 2, static_cast<uint16_t>(value.size()));
  std::memcpy(to.data() + at + 4, value.data(), value.size());
  write_u16(to.data() + 2, static_cast<uint16_t>(to.size() - 20));
}

std::vector<uint8_t> first_request(const std::string& ufrag) {
  std::vector<uint8_t> out(20);
  write_u16(out.data(), 1);
  write_u32(out.data() + 4, 0x2112a442);
  add(out, 0x0006, ufrag + ":peer");
  add(out, 0x802a, "tiebreak");
  add(out, 0x0025, "");
  add(out, 0x0024, "prio");
  add(out, 0x0008, std::string(20, 'h'));
  add(out, 0x8028, "crc!");
  return out;
}

// Every key is known, so that no change of the key id saves us.
KeySet keys() {
  KeySet out;
  const auto tag_key = vectors::bytes("tokenTagKey");
  for (unsigned id = 0; id < kKeyIds; id++) {
    out.entries[id].known = true;
    out.entries[id].token_tag = SipKey::from_bytes(tag_key.data());
    if (id != vectors::number("fleetKeyId")) out.entries[id].token_tag.k0 ^= id + 1;
  }
  return out;
}

// As Worker::uplink_request does. The ufrag that is handed over, or null.
const uint8_t* handed_over(const std::vector<uint8_t>& request, const KeySet& keys) {
  const StunView stun = read_stun(request.data(), request.size());
  uint8_t token[kTokenBytes];
  if (stun.kind != StunKind::request || stun.ufrag_length != kUfragChars) return nullptr;
  return decode_ice_chars(stun.ufrag, token) && token_is_ours(token, keys) ? stun.ufrag : nullptr;
}

}  // namespace

TEST("no change of one or two bits of a first request puts another token past the worker") {
  const std::string ufrag = vectors::text("ufrag");
  const KeySet known = keys();
  std::vector<uint8_t> request = first_request(ufrag);
  CHECK(handed_over(request, known) != nullptr);
  const size_t bits = request.size() * 8;
  const auto turn = [&](size_t bit) { request[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8); };
  int forged = 0, dropped = 0, passed = 0;
  const auto judge = [&] {
    const uint8_t* const seen = handed_over(request, known);
    if (seen == nullptr) {
      dropped++;
    } else if (std::memcmp(seen, ufrag.data(), kUfragChars) == 0) {
      passed++;
    } else {
      forged++;
    }
  };
  for (size_t first = 0; first < bits; first++) {
    turn(first);
    judge();
    for (size_t second = first + 1; second < bits; second++) {
      turn(second);
      judge();
      turn(second);
    }
    turn(first);
  }
  CHECK_EQUAL(forged, 0);
  CHECK(dropped > 0);
  CHECK(passed > 0);  // changes elsewhere are not the worker's to see
}
