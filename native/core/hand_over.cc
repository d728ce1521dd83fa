#include "hand_over.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bytes.h"
#include "directory.h"
#include "flow.h"
#include "flow_table.h"
#include "path.h"
#include "senders.h"

namespace earshot {
namespace {

constexpr uint64_t kMagic = 0x4541525348415645;  // "EARSHAVE"
constexpr size_t kHeaderBytes = 8 + 4 * 4 + 3 * 8;
constexpr size_t kSlotBytes = 2 + 1 + 4 + 8 + kMaxPathBytes;
constexpr size_t kSenderBytes = 1 + 2 + 4 + 8 + 8;
constexpr size_t kFlowBytes = kMaxPathBytes + 1 + 8 + 2 * (2 + 2 * 8);
constexpr size_t kTagBytes = 8;

size_t records_bytes(size_t slots, size_t senders, size_t flows) {
  return kHeaderBytes + slots * kSlotBytes + senders * kSenderBytes + flows * kFlowBytes + kTagBytes;
}

// One after the other into bytes that suffice.
class Writer {
 public:
  explicit Writer(uint8_t* at) : at_(at) {}
  void u8(uint8_t value) { *at_++ = value; }
  void u16(uint16_t value) { write_u16(at_, value), at_ += 2; }
  void u32(uint32_t value) { write_u32(at_, value), at_ += 4; }
  void u64(uint64_t value) { write_u64(at_, value), at_ += 8; }
  void path(const Path& path) {
    std::memset(at_, 0, kMaxPathBytes);
    write_path(path, at_);
    at_ += kMaxPathBytes;
  }

 private:
  uint8_t* at_;
};

// The same for bytes whose number has been checked.
class Reader {
 public:
  explicit Reader(const uint8_t* at) : at_(at) {}
  uint8_t u8() { return *at_++; }
  uint16_t u16() { return read_u16((at_ += 2) - 2); }
  uint32_t u32() { return read_u32((at_ += 4) - 4); }
  uint64_t u64() { return read_u64((at_ += 8) - 8); }
  // False if these are no path bytes, or not zeros behind them.
  bool path(Path& out) {
    const uint8_t* const from = at_;
    at_ += kMaxPathBytes;
    const size_t used = read_path(from, kMaxPathBytes, out);
    return used != 0 && std::all_of(from + used, at_, [](uint8_t byte) { return byte == 0; });
  }

 private:
  const uint8_t* at_;
};

struct SlotRecord {
  Slot number;
  uint8_t state;
  uint32_t id;
  uint64_t epoch;
  Path address;
};

bool read(const uint8_t* from, SlotRecord& out) {
  Reader in(from);
  out.number = in.u16();
  out.state = in.u8();
  out.id = in.u32();
  out.epoch = in.u64();
  const bool used = out.state == TransceiverSlot::kLive || out.state == TransceiverSlot::kRetired;
  return in.path(out.address) && out.address.ingress == 0 && used;
}

struct SenderPlace {
  uint8_t lane;
  Slot slot;
  uint32_t id;
  uint64_t epoch;
  uint64_t highest;
};

SenderPlace read_sender(const uint8_t* from) {
  Reader in(from);
  SenderPlace out{};
  out.lane = in.u8();
  out.slot = in.u16();
  out.id = in.u32();
  out.epoch = in.u64();
  out.highest = in.u64();
  return out;
}

struct FlowRecord {
  Path path;
  uint8_t assured;
  uint64_t seen_ms;
  Claim owner;
  Claim pending;
};

bool read(const uint8_t* from, FlowRecord& out) {
  Reader in(from);
  const bool has_path = in.path(out.path);
  out.assured = in.u8();
  out.seen_ms = in.u64();
  for (Claim* claim : {&out.owner, &out.pending}) {
    claim->slot = in.u16();
    for (uint64_t& ufrag : claim->ufrags) ufrag = in.u64();
  }
  return has_path && out.assured <= 1;
}

// ---- export -------------------------------------------------------------------------------------------------------

// Entries that are not whole are counted and left out: a record would make them look as if they were.
class Export {
 public:
  Export(const KeptMemory& memory, uint64_t now_ms)
      : memory_(memory), header_(memory.header()), now_ms_(now_ms), known_(kMaxTransceivers + 1) {}

  // At most.
  size_t bytes() const {
    size_t flows = 0;
    for (uint32_t i = 1; i <= header_.entries; i++) flows += lives(i);
    return records_bytes(kMaxTransceivers, size_t{header_.lanes} * kMaxTransceivers, flows);
  }

  // Returns how many bytes there are.
  size_t write(uint8_t* to, const SipKey& key, Exported& exported) {
    Writer out(to + kHeaderBytes);
    const uint32_t slots = write_slots(out, exported);
    const uint32_t senders = write_senders(out);
    write_flows(out, exported);
    Writer header(to);
    header.u64(kMagic);
    header.u32(kRecordsVersion);
    for (const uint32_t count : {slots, senders, exported.flows}) header.u32(count);
    header.u64(header_.origin_ms);
    header.u64(header_.ufrag_key.k0);
    header.u64(header_.ufrag_key.k1);
    const size_t bytes = records_bytes(slots, senders, exported.flows);
    out.u64(siphash24(key, to, bytes - kTagBytes));
    return bytes;
  }

 private:
  uint32_t write_slots(Writer& out, Exported& exported) {
    uint32_t count = 0;
    for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
      const TransceiverSlot& entry = memory_.transceivers()[slot];
      const uint32_t state = entry.state.load(std::memory_order_relaxed);
      if (state == TransceiverSlot::kFree) continue;
      known_[slot] = entry.check == check_word(header_.check_key, entry, slot);
      if (!known_[slot]) {
        exported.torn++;
        continue;
      }
      out.u16(slot);
      out.u8(static_cast<uint8_t>(state));
      out.u32(entry.id);
      out.u64(entry.epoch);
      out.path(path_of(entry.address, 0));
      count++;
    }
    return count;
  }

  uint32_t write_senders(Writer& out) const {
    uint32_t count = 0;
    for (unsigned lane = 1; lane <= header_.lanes; lane++) {
      for (Slot slot = 1; slot <= kMaxTransceivers; slot++) {
        const SenderRecord& record = memory_.senders(lane)[slot];
        const uint64_t epoch = record.epoch.load(std::memory_order_acquire);
        if (epoch == 0) continue;
        out.u8(static_cast<uint8_t>(lane));
        out.u16(slot);
        out.u32(record.id.load(std::memory_order_relaxed));
        out.u64(epoch);
        out.u64(record.highest.load(std::memory_order_relaxed));
        count++;
      }
    }
    return count;
  }

  void write_flows(Writer& out, Exported& exported) const {
    const Tick now = ticks_of_ms(now_ms_ - header_.origin_ms);
    for (uint32_t i = 1; i <= header_.entries; i++) {
      if (!lives(i)) continue;
      const Flow& flow = memory_.flows()[i];
      const FlowCheck& check = memory_.checks()[i];
      const bool whole = check.word == check_word(header_.check_key, flow, i, check.serial) && is_known(flow.owner) &&
                         (flow.pending == kNoSlot || is_known(flow.pending));
      if (!whole) {
        exported.torn++;
        continue;
      }
      out.path(flow.path);
      out.u8(flow.assured() ? 1 : 0);
      out.u64(now_ms_ - std::min(now_ms_ - header_.origin_ms, FlowTable::idle_ms(flow, now)));
      out.u16(flow.owner);
      for (const uint64_t ufrag : flow.owner_ufrags) out.u64(ufrag);
      out.u16(flow.pending);
      for (const uint64_t ufrag : flow.pending_ufrags) out.u64(ufrag);
      exported.flows++;
    }
  }

  bool lives(uint32_t index) const {
    return (memory_.flows()[index].state.load(std::memory_order_acquire) & Flow::kDead) == 0;
  }
  bool is_known(Slot slot) const { return slot < known_.size() && known_[slot]; }

  const KeptMemory& memory_;
  const KeptHeader& header_;
  const uint64_t now_ms_;
  std::vector<bool> known_;
};

// ---- import -------------------------------------------------------------------------------------------------------

bool slots_valid(const Records& records, std::vector<bool>& known) {
  Slot last = kNoSlot;
  for (uint32_t i = 0; i < records.slot_count; i++) {
    SlotRecord slot;
    if (!read(records.slots + i * kSlotBytes, slot) || slot.number <= last || slot.number > kMaxTransceivers) {
      return false;
    }
    last = slot.number;
    known[slot.number] = true;
  }
  return true;
}

bool senders_valid(const Records& records, unsigned lanes) {
  uint32_t last = 0;
  for (uint32_t i = 0; i < records.sender_count; i++) {
    const SenderPlace sender = read_sender(records.senders + i * kSenderBytes);
    const uint32_t place = uint32_t{sender.lane} << 16 | sender.slot;
    if (place <= last || sender.lane == 0 || sender.lane > lanes || sender.epoch == 0) return false;
    if (sender.slot == kNoSlot || sender.slot > kMaxTransceivers) return false;
    last = place;
  }
  return true;
}

bool flows_valid(const Records& records, const std::vector<bool>& known) {
  const auto is_known = [&known](Slot slot) { return slot < known.size() && known[slot]; };
  for (uint32_t i = 0; i < records.flow_count; i++) {
    FlowRecord flow;
    if (!read(records.flows + i * kFlowBytes, flow) || flow.seen_ms < records.origin_ms) return false;
    if (!is_known(flow.owner.slot) || (flow.pending.slot != kNoSlot && !is_known(flow.pending.slot))) return false;
  }
  return true;
}

}  // namespace

int export_records(const KeptMemory& memory, uint64_t now_ms, const SipKey& key, int records, Exported& out) {
  out = Exported{};
  Export all(memory, now_ms);
  const size_t most = all.bytes();
  if (ftruncate(records, 0) != 0 || ftruncate(records, static_cast<off_t>(most)) != 0) return errno;
  // All of it at once: memory that is not there when it is touched is a SIGBUS.
  if (fallocate(records, 0, 0, static_cast<off_t>(most)) != 0) return errno;
  void* const mapped = mmap(nullptr, most, PROT_READ | PROT_WRITE, MAP_SHARED, records, 0);
  if (mapped == MAP_FAILED) return errno;
  const size_t bytes = all.write(static_cast<uint8_t*>(mapped), key, out);
  munmap(mapped, most);
  return ftruncate(records, static_cast<off_t>(bytes)) != 0 ? errno : 0;
}

int load_records(int records, const KeptMemory::Shape& shape, std::vector<uint8_t>& out) {
  struct stat status {};
  if (fstat(records, &status) != 0) return errno;
  const size_t most = records_bytes(kMaxTransceivers, size_t{shape.lanes} * kMaxTransceivers, shape.entries);
  if (static_cast<size_t>(status.st_size) > most) return E2BIG;
  out.resize(static_cast<size_t>(status.st_size));
  for (size_t have = 0; have < out.size();) {
    const ssize_t got = pread(records, out.data() + have, out.size() - have, static_cast<off_t>(have));
    if (got <= 0) return EPROTO;
    have += static_cast<size_t>(got);
  }
  return 0;
}

int read_records(std::span<const uint8_t> bytes, const SipKey& key, const KeptMemory::Shape& shape, uint64_t now_ms,
                 Records& out) {
  if (bytes.size() < kHeaderBytes + kTagBytes) return EPROTO;
  Reader in(bytes.data());
  if (in.u64() != kMagic) return EPROTO;
  if (in.u32() != kRecordsVersion) return EPROTONOSUPPORT;
  const uint8_t* const tag = bytes.data() + bytes.size() - kTagBytes;
  if (siphash24(key, bytes.data(), bytes.size() - kTagBytes) != read_u64(tag)) return EPROTO;

  out.slot_count = in.u32();
  out.sender_count = in.u32();
  out.flow_count = in.u32();
  out.origin_ms = in.u64();
  out.ufrag_key.k0 = in.u64();
  out.ufrag_key.k1 = in.u64();
  if (records_bytes(out.slot_count, out.sender_count, out.flow_count) != bytes.size()) return EPROTO;
  if (out.origin_ms > now_ms) return EPROTO;
  // Of the entries some are spares, but not for us: whoever has more flows than we have room is not followed.
  if (out.flow_count > shape.entries - std::min(shape.entries, kSpareFlows)) return E2BIG;
  out.slots = bytes.data() + kHeaderBytes;
  out.senders = out.slots + size_t{out.slot_count} * kSlotBytes;
  out.flows = out.senders + size_t{out.sender_count} * kSenderBytes;

  std::vector<bool> known(kMaxTransceivers + 1);
  const bool valid = slots_valid(out, known) && senders_valid(out, shape.lanes) && flows_valid(out, known);
  return valid ? 0 : EPROTO;
}

void write_into(const Records& records, KeptMemory& memory) {
  memory.resume(records.origin_ms, records.ufrag_key);
  const SipKey& check_key = memory.header().check_key;
  for (uint32_t i = 0; i < records.slot_count; i++) {
    SlotRecord slot;
    read(records.slots + i * kSlotBytes, slot);
    TransceiverSlot& entry = memory.transceivers()[slot.number];
    entry.id = slot.id;
    entry.epoch = slot.epoch;
    entry.address_length = write_sockaddr(slot.address, entry.address);
    entry.check = check_word(check_key, entry, slot.number);
    entry.state.store(slot.state, std::memory_order_relaxed);
  }
  for (uint32_t i = 0; i < records.sender_count; i++) {
    const SenderPlace sender = read_sender(records.senders + i * kSenderBytes);
    SenderRecord& record = memory.senders(sender.lane)[sender.slot];
    record.id.store(sender.id, std::memory_order_relaxed);
    record.highest.store(sender.highest, std::memory_order_relaxed);
    record.epoch.store(sender.epoch, std::memory_order_relaxed);
  }
  for (uint32_t i = 0; i < records.flow_count; i++) {
    const uint32_t index = i + 1;
    FlowRecord record;
    read(records.flows + i * kFlowBytes, record);
    Flow& flow = memory.flows()[index];
    flow.path = record.path;
    flow.owner = record.owner.slot;
    flow.pending = record.pending.slot;
    std::copy_n(record.owner.ufrags, 2, flow.owner_ufrags);
    std::copy_n(record.pending.ufrags, 2, flow.pending_ufrags);
    memory.checks()[index].serial = index;
    memory.checks()[index].word = check_word(check_key, flow, index, index);
    const Tick seen = ticks_of_ms(record.seen_ms - records.origin_ms) & Flow::kSeenMask;
    flow.state.store((record.assured != 0 ? Flow::kAssured : 0u) | seen, std::memory_order_relaxed);
  }
}

}  // namespace earshot
