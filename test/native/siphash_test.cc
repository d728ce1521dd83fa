#include "siphash.h"

#include "check.h"

using namespace earshot;

TEST("SipHash-2-4 gives the reference implementation's values") {
  uint8_t key[16], data[64];
  for (uint8_t i = 0; i < 16; i++) key[i] = i;
  for (uint8_t i = 0; i < 64; i++) data[i] = i;
  const SipKey sip = SipKey::from_bytes(key);
  // From the paper's appendix (15 bytes) and the first rows of the reference vectors.
  CHECK_EQUAL(siphash24(sip, data, 15), 0xa129ca6149be45e5ULL);
  CHECK_EQUAL(siphash24(sip, data, 0), 0x726fdb47dd0e0e31ULL);
  CHECK_EQUAL(siphash24(sip, data, 1), 0x74f839c593dc67fdULL);
  CHECK_EQUAL(siphash24(sip, data, 8), 0x93f5f5799a932462ULL);
  CHECK_EQUAL(siphash24(sip, data, 63), 0x958a324ceb064572ULL);
}

TEST("two hashes at a time are what each is alone, whatever their lengths") {
  const SipKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  uint8_t bytes[2][64];
  for (uint8_t i = 0; i < 64; i++) bytes[0][i] = i, bytes[1][i] = static_cast<uint8_t>(200 - i);
  const uint8_t* const data[2] = {bytes[0], bytes[1]};
  for (size_t first = 0; first <= 64; first++) {
    for (size_t second = 0; second <= 64; second++) {
      const size_t lengths[2] = {first, second};
      uint64_t both[2];
      siphash24_two(key, data, lengths, both);
      CHECK_EQUAL(both[0], siphash24(key, data[0], first));
      CHECK_EQUAL(both[1], siphash24(key, data[1], second));
    }
  }
}
