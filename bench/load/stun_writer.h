// The two STUN messages that a client of the load needs (RFC 8489): a check with its integrity and fingerprint, and the
// answer to one. What the product writes is TypeScript, and what the core reads it never writes.
#pragma once

#include <openssl/hmac.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "bytes.h"

namespace earshot::load {

class StunWriter {
 public:
  StunWriter(uint16_t type, const uint8_t transaction[12]) : bytes_(20) {
    write_u16(bytes_.data(), type);
    write_u32(bytes_.data() + 4, 0x2112a442);
    std::memcpy(bytes_.data() + 8, transaction, 12);
  }
  void attribute(uint16_t type, const void* value, size_t length) {
    const size_t at = bytes_.size();
    bytes_.resize(at + 4 + (length + 3) / 4 * 4);
    write_u16(&bytes_[at], type);
    write_u16(&bytes_[at + 2], static_cast<uint16_t>(length));
    if (length != 0) std::memcpy(&bytes_[at + 4], value, length);
    write_u16(&bytes_[2], static_cast<uint16_t>(bytes_.size() - 20));
  }
  // Each covers what is before it, and the length as it will be after it.
  void integrity(const std::string& password) {
    write_u16(&bytes_[2], static_cast<uint16_t>(bytes_.size() + 24 - 20));
    std::array<uint8_t, 20> tag;
    unsigned length = 0;
    HMAC(EVP_sha1(), password.data(), static_cast<int>(password.size()), bytes_.data(), bytes_.size(), tag.data(),
         &length);
    attribute(0x0008, tag.data(), tag.size());
  }
  void fingerprint() {
    write_u16(&bytes_[2], static_cast<uint16_t>(bytes_.size() + 8 - 20));
    uint32_t crc = 0xffffffff;
    for (const uint8_t byte : bytes_) {
      crc ^= byte;
      for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
    }
    uint8_t value[4];
    write_u32(value, ~crc ^ 0x5354554e);
    attribute(0x8028, value, sizeof value);
  }
  std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace earshot::load
