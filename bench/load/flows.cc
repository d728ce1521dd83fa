#include "flows.h"

#include <arpa/inet.h>

#include <fstream>

#include "client_socket.h"
#include "hex.h"
#include "options.h"

namespace earshot::load {

std::vector<Flow> read_flows(const std::string& file) {
  std::vector<Flow> flows;
  std::ifstream in(file);
  for (std::string client, hex; in >> client >> hex;) {
    in_addr address{};
    Flow flow{0, from_hex(hex)};
    if (inet_pton(AF_INET, client.c_str(), &address) != 1 || flow.request.size() > ClientSocket::kMaxPayload ||
        flow.request.size() < kTransactionIdAt + kTransactionIdBytes) {
      fail("no flow in " + file + ": " + client);
    }
    flow.client = address.s_addr;
    flows.push_back(std::move(flow));
  }
  if (flows.empty()) fail("no flows in " + file);
  return flows;
}

}  // namespace earshot::load
