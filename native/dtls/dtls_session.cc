#include "dtls_session.h"

#include <array>

namespace earshot {

size_t DtlsSession::feed(std::span<const uint8_t> datagram) {
  if (state() == DtlsState::kClosed || state() == DtlsState::kFailed) return 0;
  const uint64_t before = server_.unauthentic;
  const size_t refused = gate_.take(datagram, server_);
  if (!is_connected_ && state() == DtlsState::kConnected) connected();
  if (state() == DtlsState::kClosed || state() == DtlsState::kFailed) srtp_.reset();
  return refused + static_cast<size_t>(server_.unauthentic - before);
}

void DtlsSession::connected() {
  is_connected_ = true;
  gate_.established();
  const auto profile = static_cast<SrtpProfile>(srtp_profile());
  if (srtp_profile() == 0) return;
  // RFC 5764, section 4.2: client's key, server's key, client's salt, server's salt.
  std::array<uint8_t, 2 * (kSrtpKeyBytes + 14)> material;
  const size_t salt = srtp_salt_bytes(profile);
  const auto all = std::span(material).first(2 * (kSrtpKeyBytes + salt));
  if (server_.export_srtp_keys(all)) {
    srtp_ = SrtpSession::make(profile, {.local_key = all.subspan(kSrtpKeyBytes, kSrtpKeyBytes),
                                        .local_salt = all.subspan(2 * kSrtpKeyBytes + salt, salt),
                                        .remote_key = all.first(kSrtpKeyBytes),
                                        .remote_salt = all.subspan(2 * kSrtpKeyBytes, salt)});
  }
  OPENSSL_cleanse(material.data(), material.size());
  if (!srtp_) close();  // OpenSSL fails: a call without its media is none
}

void DtlsSession::close() {
  srtp_.reset();
  server_.close();
}

}  // namespace earshot
