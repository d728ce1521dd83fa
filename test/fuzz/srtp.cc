// Any bytes as SRTP and SRTCP, under both profiles: nobody without the keys gets anything through, whatever is
// protected comes back as it was, and nothing that came before changes that.
#include <algorithm>
#include <vector>

#include "bytes.h"
#include "dtls/srtp_session.h"
#include "fuzz.h"

using namespace earshot;

namespace {

using Packet = std::vector<uint8_t>;

SrtpSession make(SrtpProfile profile, uint8_t local, uint8_t remote) {
  const Packet lk(16, local), rk(16, remote), ls(srtp_salt_bytes(profile), local), rs(srtp_salt_bytes(profile), remote);
  return *SrtpSession::make(profile, {.local_key = lk, .local_salt = ls, .remote_key = rk, .remote_salt = rs});
}

void fuzz(SrtpProfile profile, const uint8_t* data, size_t size) {
  SrtpSession one = make(profile, 1, 2);
  SrtpSession two = make(profile, 2, 1);
  for (int i = 0; i < 2; i++) {
    Packet forged(data, data + size);
    PROMISE(two.unprotect_rtp(forged) < 0);
    forged.assign(data, data + size);
    PROMISE(two.unprotect_rtcp(forged) < 0);
  }

  Packet sealed(data, data + size);
  sealed.resize(size + kSrtpRoom);
  const int length = one.protect_rtp(sealed, size);
  if (length > 0) {
    PROMISE(static_cast<size_t>(length) == size + srtp_tag_bytes(profile));
    sealed.resize(static_cast<size_t>(length));
    Packet opened = sealed;
    PROMISE(two.unprotect_rtp(opened) == static_cast<int>(size));
    PROMISE(std::equal(data, data + size, opened.begin()));
    opened = sealed;
    PROMISE(two.unprotect_rtp(opened) == kSrtpReplayed);
  }

  Packet control(data, data + size);
  control.resize(size + kSrtpRoom);
  const int control_length = one.protect_rtcp(control, size);
  if (control_length > 0) {
    control.resize(static_cast<size_t>(control_length));
    PROMISE(two.unprotect_rtcp(control) == static_cast<int>(size));
    PROMISE(std::equal(data, data + size, control.begin()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz(SrtpProfile::kAes128CmSha1_80, data, size);
  fuzz(SrtpProfile::kAeadAes128Gcm, data, size);
  return 0;
}
