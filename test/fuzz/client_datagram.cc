// The classifier and the STUN reader, which meet whatever comes from the internet.
#include <cstring>
#include <vector>

#include "bytes.h"
#include "classify.h"
#include "fuzz.h"
#include "stun.h"

using namespace earshot;

namespace {

using Bytes = std::vector<uint8_t>;

// RFC 7983, figure 3.
PacketClass class_of(uint8_t first) {
  if (first < 4) return PacketClass::stun;
  if (first < 20) return PacketClass::other;
  if (first < 64) return PacketClass::dtls;
  return first < 128 || first >= 192 ? PacketClass::other : PacketClass::rtp;
}

StunView read(const Bytes& bytes) { return read_stun(bytes.data(), bytes.size()); }

bool malformed(const Bytes& bytes) { return read(bytes).kind == StunKind::malformed; }

void add(Bytes& to, uint16_t type, const uint8_t* value, size_t length) {
  const size_t at = to.size();
  to.resize(at + 4 + ((length + 3) & ~size_t{3}));
  write_u16(to.data() + at, type);
  write_u16(to.data() + at + 2, static_cast<uint16_t>(length));
  if (length != 0) std::memcpy(to.data() + at + 4, value, length);
}

// Its first 20 bytes, and nothing else.
Bytes header_of(const uint8_t* data) {
  Bytes out(data, data + 20);
  write_u16(out.data() + 2, 0);
  return out;
}

// The length field follows from the rest.
StunView read_finished(Bytes& bytes) {
  write_u16(bytes.data() + 2, static_cast<uint16_t>(bytes.size() - 20));
  return read(bytes);
}

bool same_ufrag(const StunView& a, const StunView& b) {
  if ((a.ufrag == nullptr) != (b.ufrag == nullptr) || a.ufrag_length != b.ufrag_length) return false;
  return a.ufrag == nullptr || std::memcmp(a.ufrag, b.ufrag, a.ufrag_length) == 0;
}

void check_view(const StunView& view, const uint8_t* data, size_t size) {
  if (view.ufrag == nullptr) {
    PROMISE(view.ufrag_length == 0);
    return;
  }
  PROMISE(view.kind != StunKind::malformed);
  // Within an attribute's value, and ended by a colon that is in the datagram, too.
  PROMISE(view.ufrag >= data + 24 && view.ufrag + view.ufrag_length < data + size);
  PROMISE(view.ufrag[view.ufrag_length] == ':');
  PROMISE(std::memchr(view.ufrag, ':', view.ufrag_length) == nullptr);
}

// What a well-formed message stays, and what it becomes, when it is changed on purpose.
void check_well_formed(const StunView& view, const uint8_t* data, size_t size) {
  const Bytes whole(data, data + size);
  Bytes changed = whole;
  changed.pop_back();
  PROMISE(malformed(changed));
  changed = whole;
  changed.insert(changed.end(), 4, 0);
  PROMISE(malformed(changed));
  for (const size_t at : {0u, 2u, 4u, 7u}) {
    changed = whole;
    changed[at] ^= 0x80;
    PROMISE(malformed(changed));
  }
  if (size > 60'000) return;

  // In front of everything, an attribute that is nothing to us changes nothing.
  const uint8_t odd[] = {':', 0, ':'};
  Bytes prolonged = header_of(data);
  add(prolonged, 0x8022, odd, sizeof odd);
  prolonged.insert(prolonged.end(), data + 20, data + size);
  const StunView same = read_finished(prolonged);
  PROMISE(same.kind == view.kind && same_ufrag(same, view));

  // In front of everything, a USERNAME is the one that counts, and behind an integrity attribute none does.
  const uint8_t username[] = {'o', 'u', 'r', 's', ':', 't', ':'};
  Bytes renamed = header_of(data);
  add(renamed, 0x0006, username, sizeof username);
  renamed.insert(renamed.end(), data + 20, data + size);
  const StunView ours = read_finished(renamed);
  PROMISE(ours.kind == view.kind && ours.ufrag_length == 4 && std::memcmp(ours.ufrag, "ours", 4) == 0);
  for (const uint16_t integrity : {uint16_t{0x0008}, uint16_t{0x001c}}) {
    Bytes sealed = header_of(data);
    add(sealed, integrity, odd, 0);
    sealed.insert(sealed.end(), data + 20, data + size);
    const StunView none = read_finished(sealed);
    PROMISE(none.kind == view.kind && none.ufrag == nullptr);
  }

  // The ufrag, written again, reads the same.
  if (view.ufrag == nullptr) return;
  Bytes again = header_of(data);
  add(again, 0x0006, view.ufrag, view.ufrag_length + 1);
  const StunView read_again = read_finished(again);
  PROMISE(read_again.kind == view.kind && same_ufrag(read_again, view));
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) PROMISE(classify(data[0]) == class_of(data[0]));
  const StunView view = read_stun(data, size);
  check_view(view, data, size);
  if (view.kind == StunKind::malformed) return 0;
  PROMISE(data[0] < 64 && size >= 20 && size % 4 == 0 && read_u16(data + 2) == size - 20);
  check_well_formed(view, data, size);
  return 0;
}
