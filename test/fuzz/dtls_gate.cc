// Any datagrams at the gate before OpenSSL. Whatever comes, what is handed on is what OpenSSL can be given.
#include <array>
#include <vector>

#include "chunks.h"
#include "dtls/record_gate.h"
#include "fuzz.h"

using namespace earshot;

namespace {

struct Checker final : RecordSink {
  static constexpr std::array<uint8_t, 4> kMessages = {1, 11, 16, 15};
  size_t plain = 0;
  bool established = false;

  void record(std::span<const uint8_t> bytes) override {
    Record record;
    PROMISE(read_record(bytes, record));
    PROMISE(record.bytes.size() == bytes.size());
    if (record.epoch == 0) {
      PROMISE(!established);
      take_plain(record);
      return;
    }
    PROMISE(record.epoch == 1);
    PROMISE(plain == 5);
    PROMISE(record.body.size() >= kMinSealedBytes);
    PROMISE(record.type == ContentType::kAlert || record.type == ContentType::kHandshake ||
            (established && record.type == ContentType::kApplicationData));
  }

  void take_plain(const Record& record) {
    PROMISE(read_u64(&record.bytes[3]) == plain);
    if (plain < kMessages.size()) {
      Fragment fragment;
      PROMISE(record.type == ContentType::kHandshake);
      PROMISE(read_fragment(record.body, fragment));
      PROMISE(static_cast<uint8_t>(fragment.type) == kMessages[plain]);
      PROMISE(fragment.sequence == plain);
      PROMISE(fragment.offset == 0 && fragment.body.size() == fragment.message_length);
      PROMISE(fragment.body.size() == record.body.size() - kFragmentHeaderBytes);
      PROMISE(fragment.message_length > 0 && fragment.message_length <= kMaxHandshakeMessageBytes);
    } else {
      PROMISE(plain == kMessages.size());
      PROMISE(record.type == ContentType::kChangeCipherSpec);
      PROMISE(record.body.size() == 1 && record.body[0] == 1);
    }
    plain++;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  RecordGate gate;
  Checker out;
  each_chunk({data, size}, [&](std::span<const uint8_t> datagram) {
    // In a buffer of its own, so that the sanitizer sees a read past its end.
    const std::vector<uint8_t> own(datagram.begin(), datagram.end());
    gate.take(own, out);
  });
  gate.established();
  out.established = true;
  gate.take({data, size}, out);
  return 0;
}
