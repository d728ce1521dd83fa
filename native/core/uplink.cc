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

  const Flow* flow = shared_.flows.find(datagram.path, datagram.hash);
  const TransceiverSlot* owner = flow == nullptr ? nullptr : shared_.directory.live(flow->owner);
  if (owner == nullptr) return count(Counter::up_drop_no_flow);
  if (!flow->assured()) return count(Counter::up_drop_tentative);
  trunk_sender_.append(flow->owner, *owner, datagram.path, datagram.bytes, datagram.length, false);
}

void Worker::uplink_stun(const Datagram& datagram) {
  const StunView stun = read_stun(datagram.bytes, datagram.length);
  if (stun.kind == StunKind::malformed) return count(Counter::up_drop_stun_malformed);
  if (stun.kind == StunKind::other_method) return count(Counter::up_drop_stun_method);
  if (stun.kind == StunKind::request) return uplink_request(datagram, stun, false);

  const Flow* flow = shared_.flows.find(datagram.path, datagram.hash);
  if (flow == nullptr || !forward(flow->owner, datagram)) return count(Counter::up_drop_no_flow);
  // An answer has no ufrag. While two sessions check this path it may be for either; each knows its own transactions.
  const bool answer = stun.kind == StunKind::success || stun.kind == StunKind::error;
  if (answer && flow->pending != kNoSlot && forward(flow->pending, datagram, true)) count(Counter::up_copied);
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

// Binding requests that the control plane has made room for. They have been counted as received when they came.
void Worker::receive_offers() {
  for (Queue* offers : work_.offers) receive_offers(*offers);
}

void Worker::receive_offers(Queue& offers) {
  // At most a queue's worth: the control thread may go on filling it.
  for (unsigned i = 0; i < kQueueRecords; i++) {
    const QueueRecord* record = offers.front();
    if (record == nullptr) return;
    count(Counter::up_reoffered);
    const Datagram datagram{record->payload, record->length, record->path, shared_.flows.hash_path(record->path)};
    uplink_request(datagram, read_stun(datagram.bytes, datagram.length), true);
    offers.pop();
  }
}

}  // namespace earshot
