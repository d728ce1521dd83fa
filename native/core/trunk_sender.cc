#include "trunk_sender.h"

namespace earshot {

TrunkSender::TrunkSender(const Identity& identity, Counters& counters)
    : counters_(counters),
      packer_({Direction::up, identity.cluster, identity.sender_id, identity.epoch}, kTrunkDatagrams,
              kMaxTransceivers) {}

void TrunkSender::append(Slot slot, const TransceiverSlot& to, const Path& path, const uint8_t* payload, size_t length,
                         bool copy) {
  const size_t bytes = frame_bytes(path, length);
  if (!packer_.has_room(slot, bytes)) flush();
  uint8_t* const out = packer_.add(slot, {to.id, to.epoch, to.address, to.address_length}, bytes, !copy);
  write_frame(FrameKind::data, path, payload, length, out);
}

void TrunkSender::flush() {
  const TrunkPacker::Flushed flushed = packer_.flush();
  counters_.add(Counter::up_forwarded, flushed.frames - flushed.frames_dropped);
  counters_.add(Counter::up_drop_send, flushed.frames_dropped);
}

}  // namespace earshot
