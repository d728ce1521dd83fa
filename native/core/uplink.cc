// From a client to its transceiver. Every way out of these functions counts once; what is forwarded is counted when the
// trunk sender has sent it.
#include "classify.h"
#include "token.h"
#include "worker.h"

namespace earshot {

void Worker::receive_public(int fd, const Public& from) {
  const unsigned got = read(fd);
  if (got == 0) return;
  counters_.add(Counter::up_received, got);
  for (unsigned i = 0; i < got; i++) {
    Datagram& datagram = batch_[i];
    datagram.bytes = receiver_.bytes(i);
    datagram.length = receiver_.length(i);
    datagram.path = path_of(receiver_.source(i), from.ingress);
    datagram.hash = shared_.flows.hash_path(datagram.path);
    shared_.flows.prefetch_buckets(datagram.hash);
  }
  for (unsigned i = 0; i < got; i++) shared_.flows.prefetch_flow(batch_[i].hash);
  for (unsigned i = 0; i < got; i++) uplink(batch_[i], from.loopback, receiver_.truncated(i));
}

void Worker::uplink(const Datagram& datagram, bool from_loopback, bool truncated) {
  if (datagram.length == 0) return count(Counter::up_drop_empty);
  if (truncated) return count(Counter::up_drop_truncated);
  if (!plausible_source(datagram.path, from_loopback)) return count(Counter::up_drop_source);

  const PacketClass packet_class = classify(datagram.bytes[0]);
  if (packet_class == PacketClass::other) return count(Counter::up_drop_class);
  if (packet_class == PacketClass::stun) return uplink_stun(datagram);
  if (!media_to_owner(datagram)) unplaced(datagram);
}

void Worker::uplink_stun(const Datagram& datagram) {
  const StunView stun = read_stun(datagram.bytes, datagram.length);
  if (stun.kind == StunKind::malformed) return count(Counter::up_drop_stun_malformed);
  if (stun.kind == StunKind::other_method) return count(Counter::up_drop_stun_method);
  if (stun.kind == StunKind::request) return uplink_request(datagram, stun, false);
  if (!answer_to_owner(datagram, stun.kind)) unplaced(datagram);
}

// What is no request follows its path's owner. False if there is none.
bool Worker::follow_owner(const Datagram& datagram) {
  if (classify(datagram.bytes[0]) != PacketClass::stun) return media_to_owner(datagram);
  return answer_to_owner(datagram, read_stun(datagram.bytes, datagram.length).kind);
}

bool Worker::media_to_owner(const Datagram& datagram) {
  const Flow* flow = shared_.flows.find(datagram.path, datagram.hash);
  const TransceiverSlot* owner = flow == nullptr ? nullptr : shared_.directory.live(flow->owner);
  if (owner == nullptr) return false;
  if (flow->assured()) {
    trunk_sender_.append(flow->owner, *owner, datagram.path, datagram.bytes, datagram.length, false);
  } else {
    count(Counter::up_drop_tentative);
  }
  return true;
}

bool Worker::answer_to_owner(const Datagram& datagram, StunKind kind) {
  const Flow* flow = shared_.flows.find(datagram.path, datagram.hash);
  if (flow == nullptr || !forward(flow->owner, datagram)) return false;
  // An answer has no ufrag. While two sessions check this path it may be for either; each knows its own transactions.
  const bool answer = kind == StunKind::success || kind == StunKind::error;
  if (answer && flow->pending != kNoSlot && forward(flow->pending, datagram, true)) count(Counter::up_copied);
  return true;
}

// Nobody knows its path here. Soon after a start Redis may, and the control plane asks.
void Worker::unplaced(const Datagram& datagram) {
  if (hold_ms_ == 0) return count(Counter::up_drop_no_flow);
  const auto& [bytes, length, path, hash] = datagram;
  const uint64_t now_ms = Shared::coarse_ms();
  Path* ask = asks_.back();
  switch (hold_.put(path, hash, bytes, length, now_ms, now_ms + hold_ms_, ask != nullptr)) {
    case Hold::Put::settled_lately:
      return count(Counter::up_drop_no_flow);
    case Hold::Put::full:
      return count(Counter::up_drop_hold_full);
    case Hold::Put::held_first:
      *ask = path;
      asks_.publish();
      shared_.doorbell.ring();
      return count(Counter::up_held);
    case Hold::Put::held:
      return count(Counter::up_held);
  }
}

void Worker::uplink_request(const Datagram& datagram, const StunView& stun, bool offered) {
  if (stun.ufrag_length != kUfragChars) return count(Counter::up_drop_ufrag);
  uint8_t token[kTokenBytes];
  if (!decode_ice_chars(stun.ufrag, token)) return count(Counter::up_drop_ufrag);
  if (forward_request(datagram, stun)) return;
  if (offered) return count(Counter::up_drop_still_unknown);
  if (!token_is_ours(token, *keys_)) return count(Counter::up_drop_tag);
  if (!to_control_.push(0, kNoSlot, datagram.path, datagram.bytes, datagram.length)) {
    return count(Counter::up_drop_miss_full);
  }
  count(Counter::up_missed);
  shared_.doorbell.ring();
}

// A request follows its own ufrag, whoever owns the path: an ICE restart, or a client that reuses a port, is never
// swallowed by an older flow.
bool Worker::forward_request(const Datagram& datagram, const StunView& stun) {
  const Flow* flow = shared_.flows.find(datagram.path, datagram.hash);
  if (flow == nullptr) return false;
  const uint64_t ufrag = shared_.flows.hash_ufrag(stun.ufrag, stun.ufrag_length);
  if (flow->owner_holds(ufrag)) return forward(flow->owner, datagram);
  // With the owner gone from the directory the pending session has to take the path over, which is a miss.
  if (!flow->pending_holds(ufrag) || shared_.directory.live(flow->owner) == nullptr) return false;
  return forward(flow->pending, datagram);
}

// False if the transceiver has left the directory.
bool Worker::forward(Slot slot, const Datagram& datagram, bool copy) {
  const TransceiverSlot* to = shared_.directory.live(slot);
  if (to == nullptr) return false;
  trunk_sender_.append(slot, *to, datagram.path, datagram.bytes, datagram.length, copy);
  return true;
}

// Binding requests that the control plane has made room for, and paths that it has settled. What they bring has been
// counted as received when it came.
void Worker::receive_offers() {
  for (Queue* offers : work_.offers) receive_offers(*offers);
}

void Worker::receive_offers(Queue& offers) {
  // At most a queue's worth: the control thread may go on filling it.
  for (unsigned i = 0; i < kQueueRecords; i++) {
    const QueueRecord* record = offers.front();
    if (record == nullptr) return;
    if (record->kind == kClientDatagram) {
      count(Counter::up_reoffered);
      const Datagram datagram{record->payload, record->length, record->path, shared_.flows.hash_path(record->path)};
      uplink_request(datagram, read_stun(datagram.bytes, datagram.length), true);
    } else {
      settle(record->path, static_cast<HoldVerdict>(record->kind));
    }
    offers.pop();
  }
}

// If the path has a flow by now, however it came by it, the verdict does not matter.
void Worker::settle(const Path& path, HoldVerdict verdict) {
  const auto each = [&](const Path& of, uint64_t hash, const Hold::Held& held) {
    release(of, hash, held, drop_of(verdict));
  };
  hold_.settle(path, shared_.flows.hash_path(path), Shared::coarse_ms(), each);
}

void Worker::release_all() {
  const auto each = [&](const Path& path, uint64_t hash, const Hold::Held& held) {
    release(path, hash, held, Counter::up_drop_hold_over);
  };
  hold_.settle_all(each);
}

void Worker::release(const Path& path, uint64_t hash, const Hold::Held& held, Counter without_flow) {
  count(Counter::up_released);
  if (Shared::coarse_ms() > held.until_ms) return count(Counter::up_drop_hold_stale);
  if (!follow_owner({held.bytes, held.length, path, hash})) count(without_flow);
}

}  // namespace earshot
