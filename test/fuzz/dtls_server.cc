// Hostile datagrams against a whole DTLS server, with an honest client of OpenSSL's beside them. The first byte says
// when:
//   even   during a handshake, which may fail, and must do no worse
//   odd    when a session is up: it stays up, and nothing of the input has any effect
// Each chunk is a datagram as it stands or, if it begins with 0, one that the client has sent: which one, where it is
// changed, and what is XORed there.
#include <vector>

#include "../native/dtls_client.h"
#include "chunks.h"
#include "fuzz.h"

using namespace dtls_test;

namespace {

// One handshake's datagrams of an honest client, and a little data.
std::vector<Bytes> record_flights(Pair& pair) {
  std::vector<Bytes> all;
  pair.client.handshake();
  while (!pair.client.sent.empty() || !pair.server.datagrams().empty()) {
    all.insert(all.end(), pair.client.sent.begin(), pair.client.sent.end());
    pair.to_server();
    pair.to_client();
  }
  return all;
}

Bytes datagram_of(std::span<const uint8_t> chunk, const std::vector<Bytes>& flights) {
  if (chunk.size() < 4 || chunk[0] != 0) return {chunk.begin(), chunk.end()};
  Bytes changed = flights[chunk[1] % flights.size()];
  const size_t at = earshot::read_u16(&chunk[2]);
  for (size_t i = 4; i < chunk.size(); i++) changed[(at + i) % changed.size()] ^= chunk[i];
  return changed;
}

void during_a_handshake(std::span<const uint8_t> input) {
  Pair pair;
  std::vector<Bytes> flights;
  pair.client.handshake();
  each_chunk(input, [&](std::span<const uint8_t> chunk) {
    flights.insert(flights.end(), pair.client.sent.begin(), pair.client.sent.end());
    // An empty chunk lets the honest ones go on.
    if (chunk.empty()) {
      pair.to_server();
      pair.to_client();
    } else {
      pair.server.feed(datagram_of(chunk, flights));
    }
  });
  pair.to_server();
  pair.to_client();
  PROMISE(pair.server.messages().empty());
  pair.server.close();
  PROMISE(ERR_peek_error() == 0);
}

void when_it_is_up(std::span<const uint8_t> input) {
  static Pair pair;
  static const std::vector<Bytes> flights = record_flights(pair);
  each_chunk(input, [&](std::span<const uint8_t> chunk) { pair.server.feed(datagram_of(chunk, flights)); });
  PROMISE(pair.server.state() == earshot::DtlsState::kConnected);
  PROMISE(pair.server.messages().empty());
  PROMISE(pair.server.datagrams().empty());
  PROMISE(ERR_peek_error() == 0);
  PROMISE(pair.talks());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> input(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    during_a_handshake(input);
  } else {
    when_it_is_up(input);
  }
  return 0;
}
