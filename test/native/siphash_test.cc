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
