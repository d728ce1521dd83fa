#include "trunk_sender.h"

#include <time.h>

#include <algorithm>

#include "socket.h"

namespace earshot {

TrunkSender::TrunkSender(const Identity& identity, Counters& counters)
    : identity_(identity),
      counters_(counters),
      datagrams_(new Datagram[kTrunkDatagrams]()),
      messages_(new mmsghdr[kTrunkDatagrams]()),
      vectors_(new iovec[kTrunkDatagrams]()),
      open_(new uint16_t[kMaxTransceivers + 1]),
      targets_(new Target[kMaxTransceivers + 1]()),
      highest_sequence_(first_sequence()) {
  std::fill_n(open_.get(), kMaxTransceivers + 1, kNone);
  for (unsigned i = 0; i < kTrunkDatagrams; i++) {
    vectors_[i].iov_base = datagrams_[i].bytes;
    messages_[i].msg_hdr.msg_iov = &vectors_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_name = &datagrams_[i].to;
  }
}

uint64_t TrunkSender::first_sequence() {
  timespec time;
  clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

uint64_t TrunkSender::next_sequence(Slot slot, const TransceiverSlot& to) {
  Target& target = targets_[slot];
  if (target.id != to.id || target.epoch != to.epoch) target = {to.epoch, highest_sequence_, to.id};
  highest_sequence_ = std::max(highest_sequence_, ++target.sequence);
  return target.sequence;
}

TrunkSender::Datagram& TrunkSender::open(Slot slot, const TransceiverSlot& to) {
  if (used_ == kTrunkDatagrams) flush();
  Datagram& datagram = datagrams_[used_];
  datagram.slot = slot;
  datagram.counted = 0;
  datagram.to = to.address;
  messages_[used_].msg_hdr.msg_namelen = to.address_length;
  write_trunk_header({.direction = Direction::up,
                      .key_id = keys_->signing,
                      .cluster = identity_.cluster,
                      .sender_id = identity_.sender_id,
                      .target_id = to.id,
                      .target_epoch = static_cast<uint32_t>(to.epoch),
                      .sender_epoch = identity_.epoch,
                      .sequence = next_sequence(slot, to)},
                     datagram.bytes);
  datagram.length = kTrunkHeaderBytes;
  open_[slot] = static_cast<uint16_t>(used_++);
  return datagram;
}

void TrunkSender::append(Slot slot, const TransceiverSlot& to, const Path& path, const uint8_t* payload, size_t length,
                         bool copy) {
  const size_t bytes = frame_bytes(path, length);
  Datagram* datagram = open_[slot] == kNone ? nullptr : &datagrams_[open_[slot]];
  if (datagram == nullptr || datagram->length + bytes + kTrunkTagBytes > kTrunkMaxBytes) datagram = &open(slot, to);
  datagram->length = static_cast<uint16_t>(
      datagram->length + write_frame(FrameKind::data, path, payload, length, datagram->bytes + datagram->length));
  if (!copy) datagram->counted++;
}

void TrunkSender::flush() {
  if (used_ == 0) return;
  uint64_t counted = 0;
  for (unsigned i = 0; i < used_; i++) {
    Datagram& datagram = datagrams_[i];
    seal_trunk(datagram.bytes, datagram.length, keys_->entries[keys_->signing].trunk_up);
    vectors_[i].iov_len = datagram.length + kTrunkTagBytes;
    open_[datagram.slot] = kNone;
    counted += datagram.counted;
  }
  uint64_t dropped = 0;
  send_all(fd_, messages_.get(), used_, [&](unsigned i) { dropped += datagrams_[i].counted; });
  counters_.add(Counter::up_forwarded, counted - dropped);
  counters_.add(Counter::up_drop_send, dropped);
  used_ = 0;
}

}  // namespace earshot
