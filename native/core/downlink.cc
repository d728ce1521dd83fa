// From a transceiver to its clients. First the trunk datagram as a whole, then each of its frames.
#include <algorithm>

#include "classify.h"
#include "worker.h"

namespace earshot {

void Worker::receive_trunk(Lane& lane) {
  const unsigned got = read(lane.sockets.trunk.get());
  if (got == 0) return;
  lane.senders.follow(shared_.directory);
  counters_.add(Counter::down_received, got);
  for (unsigned i = 0; i < got; i++) downlink(lane, receiver_.bytes(i), receiver_.length(i), receiver_.truncated(i));
  for (Public& each : publics_) each.sender.flush();  // before the buffers are used again
}

void Worker::downlink(Lane& lane, const uint8_t* bytes, size_t length, bool truncated) {
  if (truncated) return count(Counter::down_drop_truncated);
  TrunkHeader header;
  if (!read_trunk_header(bytes, length, header) || header.direction != Direction::down) {
    return count(Counter::down_drop_malformed);
  }
  const KeySet::Entry* key = keys_->find(header.key_id);
  if (key == nullptr) return count(Counter::down_drop_key);
  if (!trunk_tag_matches(bytes, length, key->trunk_down)) return count(Counter::down_drop_tag);
  if (header.cluster != shared_.cluster || header.target_id != lane.sender_id ||
      header.target_epoch != static_cast<uint32_t>(shared_.epoch)) {
    return count(Counter::down_drop_target);
  }
  const Slot sender = lane.senders.find(header.sender_id, header.sender_epoch);
  if (sender == kNoSlot) return count(Counter::down_drop_sender);
  if (!lane.senders.accept(sender, header.sequence)) return count(Counter::down_drop_replay);
  count(Counter::down_accepted);

  FrameReader reader(bytes + kTrunkHeaderBytes, bytes + length - kTrunkTagBytes, Direction::down);
  for (Frame each; reader.next(each);) {
    count(Counter::frame_received);
    frame(each, sender);
  }
  if (reader.malformed()) {
    count(Counter::frame_received);
    count(Counter::frame_drop_malformed);
  }
}

void Worker::frame(const Frame& each, Slot sender) {
  switch (each.kind) {
    case FrameKind::data:
      return data_frame(each, sender);
    case FrameKind::promote:
    case FrameKind::flow_end:
    case FrameKind::assert_path:
      return control_frame(each, sender);
    default:  // pongs and drains go to the control plane's own port
      return count(Counter::frame_drop_malformed);
  }
}

void Worker::data_frame(const Frame& each, Slot sender) {
  const uint64_t hash = shared_.flows.hash_path(each.path);
  Flow* flow = shared_.flows.find(each.path, hash);
  if (flow == nullptr) return unknown_path(each, hash, sender);
  const bool owner = flow->owner == sender;
  if (!owner && flow->pending != sender) return count(Counter::frame_drop_not_owner);

  if (!owner || !flow->assured()) {
    const StunKind kind = read_stun(each.payload, each.length).kind;
    if (kind == StunKind::malformed || kind == StunKind::other_method) return count(Counter::frame_drop_not_stun);
    // Recovery apart, the only place where a flow becomes assured: its owner has answered the client, and thereby
    // vouches for it.
    if (owner && kind == StunKind::success) shared_.flows.assure(flow, hash, now_);
  }
  for (Public& each_public : publics_) {
    if (each_public.ingress != each.path.ingress) continue;
    if (owner) shared_.flows.seen(flow, now_);
    return each_public.sender.append(each.path, each.payload, each.length);
  }
  count(Counter::frame_drop_unknown_path);  // not reached: a flow's ingress is one of ours
}

// The sender may own a path that was forgotten here: the control plane is told, and asks it.
void Worker::unknown_path(const Frame& each, uint64_t hash, Slot sender) {
  count(Counter::frame_drop_unknown_path);
  const auto is_ours = [&](const auto& each_public) { return each_public.ingress == each.path.ingress; };
  if (std::none_of(publics_.begin(), publics_.end(), is_ours)) return;
  if (to_control_.crowded() || !unknown_paths_.take(hash, now_)) return;
  to_control_.push(static_cast<uint8_t>(FrameKind::unknown_path), sender, each.path, each.payload, 0);
  shared_.doorbell.ring();
}

void Worker::control_frame(const Frame& each, Slot sender) {
  if (!to_control_.push(static_cast<uint8_t>(each.kind), sender, each.path, each.payload, each.length)) {
    return count(Counter::frame_drop_control_full);
  }
  count(Counter::frame_control);
  shared_.doorbell.ring();
}

}  // namespace earshot
