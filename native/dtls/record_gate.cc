#include "record_gate.h"

#include <algorithm>
#include <utility>

namespace earshot {

size_t RecordGate::take(std::span<const uint8_t> datagram, RecordSink& sink) {
  size_t refused = 0;
  while (!datagram.empty()) {
    Record record;
    if (!read_record(datagram, record)) return refused + 1;  // where the next one would begin is not known either
    datagram = datagram.subspan(record.bytes.size());
    const bool fine = record.epoch == 0 ? take_plain(record, sink) : take_sealed(record, sink);
    if (!fine) refused++;
  }
  return refused;
}

void RecordGate::established() {
  established_ = true;
  early_ = {};
  partial_ = {};
}

bool RecordGate::take_plain(const Record& record, RecordSink& sink) {
  if (established_) return false;
  // Its place is known without it: after the CertificateVerify.
  if (record.type == ContentType::kChangeCipherSpec) return record.body.size() == 1 && record.body[0] == 1;
  // No alert can be believed here, not even an honest one.
  if (record.type != ContentType::kHandshake) return false;
  bool fine = true;
  for (auto body = record.body; !body.empty();) {
    Fragment fragment;
    if (!read_fragment(body, fragment)) return false;
    if (!take_fragment(fragment)) fine = false;
    body = body.subspan(kFragmentHeaderBytes + fragment.body.size());
  }
  pass_whole_messages(sink);
  return fine;
}

bool RecordGate::take_fragment(const Fragment& fragment) {
  const size_t length = fragment.message_length;
  if (fragment.sequence >= kMessages.size() || fragment.type != kMessages[fragment.sequence]) return false;
  if (length == 0 || length > kMaxHandshakeMessageBytes) return false;
  if (fragment.sequence < next_) return true;  // a retransmission
  Partial& partial = partial_[fragment.sequence];
  // Another length is another message. The newest counts, so that after a forgery the client's next attempt gets
  // through.
  if (partial.bytes.size() != length) {
    partial.bytes.assign(length, 0);
    partial.have.assign(length, false);
    partial.missing = length;
  }
  for (size_t i = 0; i < fragment.body.size(); i++) {
    const size_t at = fragment.offset + i;
    partial.bytes[at] = fragment.body[i];
    if (!partial.have[at]) partial.missing--;
    partial.have[at] = true;
  }
  return true;
}

void RecordGate::pass_whole_messages(RecordSink& sink) {
  while (!has_keys() && !partial_[next_].bytes.empty() && partial_[next_].missing == 0) {
    const Partial whole = std::move(partial_[next_]);
    partial_[next_] = {};
    std::vector<uint8_t> record(kRecordHeaderBytes + kFragmentHeaderBytes + whole.bytes.size());
    write_message_header(&record[kRecordHeaderBytes], kMessages[next_], static_cast<uint16_t>(next_),
                         static_cast<uint32_t>(whole.bytes.size()));
    std::copy(whole.bytes.begin(), whole.bytes.end(), record.begin() + kRecordHeaderBytes + kFragmentHeaderBytes);
    next_++;
    pass_plain(ContentType::kHandshake, record, sink);
    if (!has_keys()) continue;
    std::vector<uint8_t> change(kRecordHeaderBytes + 1, 1);
    pass_plain(ContentType::kChangeCipherSpec, change, sink);
    for (const auto& early : std::exchange(early_, {})) sink.record(early);
  }
}

void RecordGate::pass_plain(ContentType type, std::vector<uint8_t>& record, RecordSink& sink) {
  // With the client's own numbers one forged record with a high number would make all of its records look old.
  write_record_header(record.data(), type, record_sequence_++, record.size() - kRecordHeaderBytes);
  sink.record(record);
}

bool RecordGate::take_sealed(const Record& record, RecordSink& sink) {
  if (record.epoch != 1 || record.body.size() < kMinSealedBytes) return false;
  const bool is_data = record.type == ContentType::kApplicationData;
  if (!is_data && record.type != ContentType::kHandshake && record.type != ContentType::kAlert) return false;
  // The client sends data only when it has our Finished, which answers its own.
  if (is_data && !established_) return false;
  if (has_keys()) {
    sink.record(record.bytes);
    return true;
  }
  if (record.bytes.size() > kMaxEarlyRecordBytes) return false;
  if (early_.size() == kMaxEarlyRecords) early_.erase(early_.begin());
  early_.emplace_back(record.bytes.begin(), record.bytes.end());
  return true;
}

}  // namespace earshot
