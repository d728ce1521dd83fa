// DTLS 1.2 records and handshake fragments on the wire (RFC 6347, sections 4.1 and 4.2.2). Pure readers and writers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "../core/bytes.h"

namespace earshot {

enum class ContentType : uint8_t { kChangeCipherSpec = 20, kAlert = 21, kHandshake = 22, kApplicationData = 23 };
enum class HandshakeType : uint8_t {
  kClientHello = 1,
  kCertificate = 11,
  kCertificateVerify = 15,
  kClientKeyExchange = 16,
};

inline constexpr size_t kRecordHeaderBytes = 13;
inline constexpr size_t kFragmentHeaderBytes = 12;

struct Record {
  ContentType type;
  uint16_t epoch;
  std::span<const uint8_t> bytes;  // with its header
  std::span<const uint8_t> body;
};

// The first record of a datagram. False if it is cut short, empty, or of a version that is not DTLS.
inline bool read_record(std::span<const uint8_t> datagram, Record& record) {
  if (datagram.size() < kRecordHeaderBytes || datagram[1] != 0xfe) return false;
  const size_t length = read_u16(&datagram[11]);
  if (length == 0 || length > datagram.size() - kRecordHeaderBytes) return false;
  record.type = static_cast<ContentType>(datagram[0]);
  record.epoch = read_u16(&datagram[3]);
  record.bytes = datagram.first(kRecordHeaderBytes + length);
  record.body = record.bytes.subspan(kRecordHeaderBytes);
  return true;
}

// Of an unencrypted record of DTLS 1.2.
inline void write_record_header(uint8_t* to, ContentType type, uint64_t sequence, size_t length) {
  to[0] = static_cast<uint8_t>(type);
  to[1] = 0xfe;
  to[2] = 0xfd;
  write_u64(to + 3, sequence);  // the epoch, 0, is in its upper 16 bits
  write_u16(to + 11, static_cast<uint16_t>(length));
}

struct Fragment {
  HandshakeType type;
  uint16_t sequence;
  uint32_t message_length;
  uint32_t offset;
  std::span<const uint8_t> body;
};

inline uint32_t read_u24(const uint8_t* p) { return uint32_t{p[0]} << 16 | read_u16(p + 1); }
inline void write_u24(uint8_t* p, uint32_t v) {
  p[0] = static_cast<uint8_t>(v >> 16);
  write_u16(p + 1, static_cast<uint16_t>(v));
}

// The first fragment of a handshake record's body; a record may hold several. False if it is cut short, or claims to
// lie outside of its message.
inline bool read_fragment(std::span<const uint8_t> body, Fragment& fragment) {
  if (body.size() < kFragmentHeaderBytes) return false;
  const uint32_t length = read_u24(&body[9]);
  if (length > body.size() - kFragmentHeaderBytes) return false;
  fragment.type = static_cast<HandshakeType>(body[0]);
  fragment.message_length = read_u24(&body[1]);
  fragment.sequence = read_u16(&body[4]);
  fragment.offset = read_u24(&body[6]);
  fragment.body = body.subspan(kFragmentHeaderBytes, length);
  return fragment.offset <= fragment.message_length && length <= fragment.message_length - fragment.offset;
}

// Of a message that is one fragment.
inline void write_message_header(uint8_t* to, HandshakeType type, uint16_t sequence, uint32_t length) {
  to[0] = static_cast<uint8_t>(type);
  write_u24(to + 1, length);
  write_u16(to + 4, sequence);
  write_u24(to + 6, 0);
  write_u24(to + 9, length);
}

}  // namespace earshot
