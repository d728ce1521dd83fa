// Records: what a relay process leaves for a successor that lays memory out differently. The same flows, directory
// slots and highest sequences, in a form that follows from no layout; docs/recovery.md says which program reads which
// version.
//
//   header | directory slots | senders | flows | tag
//
//   header   magic u64, version u32, directory slots u32, senders u32, flows u32, origin u64 (ms), ufrag key 2 x u64
//   slot     number u16, state u8 (1 live, 2 retired), id u32, epoch u64, trunk address as a path of ingress 0
//   sender   lane u8, slot u16, id u32, epoch u64, highest sequence u64
//   flow     path, assured u8, last seen u64 (ms), then for the owner and for the pending session: slot u16 (0 = none),
//            ufrag hashes 2 x u64 (0 = none)
//   path     path bytes of docs/trunk-protocol.md, those of IPv4 filled up with zeros to 21
//
// Integers are big-endian, times those of CLOCK_MONOTONIC, ufrag hashes SipHash-2-4 under the ufrag key with 1 in the
// place of 0. Slots and senders are in ascending order. The tag is SipHash-2-4 over all before it, under a key that the
// keeper makes for one upgrade: what is cut off, damaged, or another upgrade's, is not read.
//
// The writer's memory is only read here, and the reader's is nobody's until all of it has been written.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kept_memory.h"
#include "siphash.h"

namespace earshot {

// Every version begins with the magic and its number. This program writes and reads this one.
inline constexpr uint32_t kRecordsVersion = 1;

struct Exported {
  uint32_t flows = 0;
  uint32_t torn = 0;  // flows and slots that were not whole, and are not among the records
};

// Writes the records of `memory`, which nobody changes meanwhile, to `records`, a memfd. Returns 0 or an errno.
int export_records(const KeptMemory& memory, uint64_t now_ms, const SipKey& key, int records, Exported& out);

// Records that have been found valid, in the bytes that they were read from.
struct Records {
  uint64_t origin_ms = 0;
  SipKey ufrag_key;
  uint32_t slot_count = 0;
  uint32_t sender_count = 0;
  uint32_t flow_count = 0;
  const uint8_t* slots = nullptr;
  const uint8_t* senders = nullptr;
  const uint8_t* flows = nullptr;
};

// Reads a memfd whole. Returns 0 or an errno: E2BIG if there is more than memory of this shape can take.
int load_records(int records, const KeptMemory::Shape& shape, std::vector<uint8_t>& out);

// EPROTO: not whole, not of this key, or not what a writer would write. EPROTONOSUPPORT: of another version. E2BIG:
// more than memory of this shape can take.
int read_records(std::span<const uint8_t> bytes, const SipKey& key, const KeptMemory::Shape& shape, uint64_t now_ms,
                 Records& out);

// Into memory that is new and of the shape that they were read for: as if a process of this layout had left them.
void write_into(const Records& records, KeptMemory& memory);

}  // namespace earshot
