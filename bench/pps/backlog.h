// Fills a subject's sockets with what clients, or what stands behind the subject, would send: each flow in turn, in a
// shuffled order that goes on from one filling to the next.
#pragma once

#include <cstdint>
#include <vector>

#include "raw_sender.h"
#include "siphash.h"

namespace earshot::pps {

// What a subject takes from behind.
enum class Behind {
  plain,     // datagrams to the socket that it has for each client (nginx)
  numbered,  // the number of the flow before the payload (the classical forwarders)
  trunk,     // trunk datagrams (Earshot)
};

struct Load {
  uint32_t flows = 1000;
  size_t bytes = 120;  // of a payload
  uint32_t transceivers = 1;
  uint16_t client_port = 0;    // host byte order, as are all of these
  uint16_t upstream_port = 0;  // of the first transceiver
  uint16_t public_port = 0;
  Behind behind = Behind::plain;
  std::vector<uint16_t> behind_ports;  // of the subject: one for each lane, or for each upstream or client
  std::vector<uint32_t> behind_of;     // but for lanes: whose, of the transceivers, that port is
  unsigned frames = 1;                 // in a trunk datagram
  SipKey trunk_down{};
};

class Backlog {
 public:
  explicit Backlog(const Load& load);

  // Every flow once, in order: so a forwarder that numbers flows gives flow f the number f. From flow `first` on,
  // `count` of them.
  void prime(uint32_t first, uint32_t count);
  // `packets` more client datagrams, towards the subject. They return how many the kernel took.
  uint64_t up(uint64_t packets);
  uint64_t down(uint64_t packets);
  // One client datagram.
  void up_one();

 private:
  uint32_t next_flow();
  void set_up(unsigned i, uint32_t flow);
  unsigned set_down(unsigned i);
  unsigned set_trunk(unsigned i, uint32_t transceiver);

  Load load_;
  load::RawSender sender_;
  std::vector<uint32_t> order_;
  size_t at_ = 0;
  uint32_t turn_ = 0;                // of what comes from behind
  std::vector<uint64_t> sequences_;  // by transceiver and lane
};

}  // namespace earshot::pps
