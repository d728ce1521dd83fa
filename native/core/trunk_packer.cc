#include "trunk_packer.h"

#include <time.h>

#include <algorithm>

namespace earshot {

TrunkPacker::TrunkPacker(const Identity& identity, unsigned datagrams, unsigned slots)
    : identity_(identity),
      datagrams_count_(datagrams),
      datagrams_(new Datagram[datagrams]()),
      messages_(new mmsghdr[datagrams]()),
      vectors_(new iovec[datagrams]()),
      open_(new uint16_t[slots + 1]),
      sequences_(new Sequence[slots + 1]()),
      highest_sequence_(first_sequence()) {
  std::fill_n(open_.get(), slots + 1, kNone);
  for (unsigned i = 0; i < datagrams; i++) {
    vectors_[i].iov_base = datagrams_[i].bytes;
    messages_[i].msg_hdr.msg_iov = &vectors_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_name = &datagrams_[i].to;
  }
}

uint64_t TrunkPacker::first_sequence() {
  timespec time;
  clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

uint64_t TrunkPacker::next_sequence(unsigned slot, const Target& to) {
  Sequence& sequence = sequences_[slot];
  if (sequence.id != to.id || sequence.epoch != to.epoch) sequence = {to.epoch, highest_sequence_, to.id};
  highest_sequence_ = std::max(highest_sequence_, ++sequence.last);
  return sequence.last;
}

TrunkPacker::Datagram& TrunkPacker::open(unsigned slot, const Target& to) {
  Datagram& datagram = datagrams_[used_];
  datagram.slot = slot;
  datagram.counted = 0;
  datagram.to = to.address;
  messages_[used_].msg_hdr.msg_namelen = to.address_length;
  write_trunk_header({.direction = identity_.direction,
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

uint8_t* TrunkPacker::add(unsigned slot, const Target& to, size_t bytes, bool counted) {
  Datagram& datagram = fits(slot, bytes) ? datagrams_[open_[slot]] : open(slot, to);
  uint8_t* const at = datagram.bytes + datagram.length;
  datagram.length = static_cast<uint16_t>(datagram.length + bytes);
  if (counted) datagram.counted++;
  return at;
}

TrunkPacker::Flushed TrunkPacker::flush() {
  Flushed flushed;
  flushed.datagrams = used_;
  seal_all();
  for (unsigned i = 0; i < used_; i++) {
    Datagram& datagram = datagrams_[i];
    vectors_[i].iov_len = datagram.length + kTrunkTagBytes;
    open_[datagram.slot] = kNone;
    flushed.frames += datagram.counted;
  }
  send_all(fd_, messages_.get(), used_, [&](unsigned i) {
    flushed.datagrams_dropped++;
    flushed.frames_dropped += datagrams_[i].counted;
  });
  used_ = 0;
  return flushed;
}

void TrunkPacker::seal_all() {
  const KeySet::Entry& keys = keys_->entries[keys_->signing];
  const SipKey& key = identity_.direction == Direction::up ? keys.trunk_up : keys.trunk_down;
  unsigned i = 0;
  for (; i + 2 <= used_; i += 2) {
    uint8_t* const bytes[2] = {datagrams_[i].bytes, datagrams_[i + 1].bytes};
    const size_t lengths[2] = {datagrams_[i].length, datagrams_[i + 1].length};
    seal_two_trunks(bytes, lengths, key);
  }
  if (i < used_) seal_trunk(datagrams_[i].bytes, datagrams_[i].length, key);
}

}  // namespace earshot
