#include "trunk_packer.h"

#include <netinet/udp.h>
#include <time.h>

#include <algorithm>
#include <cstring>

namespace earshot {

TrunkPacker::TrunkPacker(const Identity& identity, unsigned datagrams, unsigned slots)
    : identity_(identity),
      datagrams_count_(datagrams),
      datagrams_(new Datagram[datagrams]()),
      messages_(new Message[datagrams]()),
      headers_(new mmsghdr[datagrams]()),
      vectors_(new iovec[datagrams]()),
      open_(new uint16_t[slots + 1]),
      sequences_(new Sequence[slots + 1]()),
      highest_sequence_(first_sequence()) {
  std::fill_n(open_.get(), slots + 1, kNone);
  for (unsigned i = 0; i < datagrams; i++) {
    auto* const control = reinterpret_cast<cmsghdr*>(messages_[i].control);
    control->cmsg_level = SOL_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const uint16_t bytes = kTrunkMaxBytes;
    std::memcpy(CMSG_DATA(control), &bytes, sizeof bytes);
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
  datagram.next = kNone;
  datagram.follows = open_[slot] != kNone;
  datagram.to = to.address;
  datagram.to_length = to.address_length;
  if (datagram.follows) {
    Datagram& before = datagrams_[open_[slot]];
    before.next = static_cast<uint16_t>(used_);
    if (segments_) pad(before);
  }
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

// To the largest size, if there is room for a frame of padding.
void TrunkPacker::pad(Datagram& datagram) {
  if (datagram.wire_bytes() + kFrameHeaderBytes > kTrunkMaxBytes) return;
  const size_t bytes = kTrunkMaxBytes - datagram.wire_bytes();
  write_padding(datagram.bytes + datagram.length, bytes);
  datagram.length = static_cast<uint16_t>(datagram.length + bytes);
}

TrunkPacker::Flushed TrunkPacker::flush() {
  Flushed flushed;
  flushed.datagrams = used_;
  seal_all();
  for (unsigned i = 0; i < used_; i++) {
    open_[datagrams_[i].slot] = kNone;
    flushed.frames += datagrams_[i].counted;
  }
  send_all(fd_, headers_.get(), lay_out(), [&](unsigned i, int error) { refused(messages_[i], error, flushed); });
  used_ = 0;
  return flushed;
}

// Makes messages of the datagrams: each begins with one that the one before it cannot take. Returns how many.
unsigned TrunkPacker::lay_out() {
  unsigned messages = 0;
  unsigned vectors = 0;
  for (unsigned i = 0; i < used_; i++) {
    if (datagrams_[i].follows) continue;
    for (uint16_t at = static_cast<uint16_t>(i); at != kNone; messages++) {
      Message& message = messages_[messages];
      msghdr& header = headers_[messages].msg_hdr;
      message.first = at;
      message.count = 0;
      header.msg_name = &datagrams_[at].to;
      header.msg_namelen = datagrams_[at].to_length;
      header.msg_iov = &vectors_[vectors];
      bool takes_more = true;
      while (at != kNone && takes_more) {
        Datagram& datagram = datagrams_[at];
        vectors_[vectors++] = {datagram.bytes, datagram.wire_bytes()};
        message.count++;
        at = datagram.next;
        takes_more = segments_ && message.count < kSegments && datagram.wire_bytes() == kTrunkMaxBytes && at != kNone &&
                     datagrams_[at].wire_bytes() <= kTrunkMaxBytes;
      }
      header.msg_iovlen = message.count;
      header.msg_control = message.count > 1 ? message.control : nullptr;
      header.msg_controllen = message.count > 1 ? sizeof message.control : 0;
    }
  }
  return messages;
}

// Where the kernel has room, and refuses several datagrams but takes each alone, it or the device cannot make segments.
void TrunkPacker::refused(const Message& message, int error, Flushed& flushed) {
  const bool has_room = error != EAGAIN && error != ENOBUFS;
  uint16_t at = message.first;
  for (unsigned i = 0; i < message.count; i++) {
    const Datagram& datagram = datagrams_[at];
    if (message.count > 1 && has_room && send_alone(datagram)) {
      segments_ = false;
    } else {
      flushed.datagrams_dropped++;
      flushed.frames_dropped += datagram.counted;
    }
    at = datagram.next;
  }
}

bool TrunkPacker::send_alone(const Datagram& datagram) const {
  const auto* const to = reinterpret_cast<const sockaddr*>(&datagram.to);
  return sendto(fd_, datagram.bytes, datagram.wire_bytes(), MSG_DONTWAIT, to, datagram.to_length) >= 0;
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
