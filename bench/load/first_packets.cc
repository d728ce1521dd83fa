#include "first_packets.h"

#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <unordered_map>
#include <vector>

#include "client_socket.h"
#include "clock.h"
#include "destination.h"
#include "flows.h"
#include "quantile.h"

namespace earshot::load {
namespace {

// Between two looks at the clock, at a given rate.
constexpr uint64_t kStepNs = 20'000;
// Without an answer for so long, what is under way is lost.
constexpr uint64_t kLostNs = 5 * kSecondNs;

struct Offer {
  uint64_t per_second;  // 0: as fast as answers come
  uint64_t under_way;   // at most; 0: any number
};

struct Result {
  uint64_t sent = 0;
  uint64_t answered = 0;
  uint64_t took_ns = 0;  // from the first request to the last answer
  std::vector<uint32_t> times_us10;
};

// Each flow's request once.
class Round {
 public:
  Round(ClientSocket& socket, const std::vector<Flow>& flows) : socket_(socket), flows_(flows), sent_at_(flows.size()) {
    for (size_t i = 0; i < flows.size(); i++) waiting_[transaction_of(flows[i].request.data())] = i;
    result_.times_us10.reserve(flows.size());
  }

  Result go(const Offer& offer) {
    const uint64_t start = steady_ns();
    const Pace pace(offer.per_second, start);
    uint64_t heard = start;
    while (result_.answered < flows_.size()) {
      const uint64_t now = steady_ns();
      if (next_ == flows_.size() && now - heard > kLostNs) break;
      if (now - heard > kLostNs) under_way_ = 0;
      uint64_t room = std::min<uint64_t>(pace.due(now), flows_.size()) - next_;
      if (offer.under_way > 0) room = std::min(room, offer.under_way - std::min(offer.under_way, under_way_));
      if (room > 0) send(static_cast<unsigned>(std::min<uint64_t>(room, ClientSocket::kSendBatch)));
      if (receive()) {
        heard = steady_ns();
        result_.took_ns = heard - start;
      } else if (offer.per_second > 0) {
        sleep_ns(kStepNs);
      } else if (room == 0) {
        socket_.wait(1);
      }
    }
    return std::move(result_);
  }

 private:
  void send(unsigned count) {
    const uint64_t now = clock_ns(CLOCK_REALTIME);
    for (unsigned i = 0; i < count; i++) {
      const Flow& flow = flows_[next_ + i];
      std::copy(flow.request.begin(), flow.request.end(), socket_.payload(i));
      socket_.set(i, flow.client, flow.request.size());
      sent_at_[next_ + i] = now;
    }
    next_ += count;
    under_way_ += count;
    result_.sent += socket_.send(count);
  }

  // Whether an answer was there.
  bool receive() {
    const uint64_t before = result_.answered;
    for (unsigned got = socket_.receive(), i = 0; i < got; i++) {
      const ClientSocket::Received each = socket_.received(i);
      if (each.length < kTransactionIdAt + kTransactionIdBytes) continue;
      const auto found = waiting_.find(transaction_of(each.bytes));
      if (found == waiting_.end() || flows_[found->second].client != each.client) continue;
      result_.times_us10.push_back(us10_of(each.arrived_ns - sent_at_[found->second]));
      result_.answered++;
      under_way_ -= std::min<uint64_t>(under_way_, 1);
      waiting_.erase(found);
    }
    return result_.answered > before;
  }

  ClientSocket& socket_;
  const std::vector<Flow>& flows_;
  std::vector<uint64_t> sent_at_;
  std::unordered_map<std::string, size_t> waiting_;
  size_t next_ = 0;
  uint64_t under_way_ = 0;
  Result result_;
};

void print(const char* name, Result result) {
  const double seconds = static_cast<double>(result.took_ns) / kSecondNs;
  std::printf("\"%s\":{\"sent\":%llu,\"answered\":%llu,\"perSecond\":%.0f,", name,
              static_cast<unsigned long long>(result.sent), static_cast<unsigned long long>(result.answered),
              seconds > 0 ? static_cast<double>(result.answered) / seconds : 0);
  const double p50 = quantile_us(result.times_us10, 0.5), p99 = quantile_us(result.times_us10, 0.99);
  std::printf("\"p50Us\":%.1f,\"p99Us\":%.1f,\"maxUs\":%.1f}", p50, p99, quantile_us(result.times_us10, 1));
}

}  // namespace

void first_packets(Options& options) {
  const std::string to = options.text("to");
  const auto port = static_cast<uint16_t>(options.number("port", 0, 1, 65535));
  if (port == 0) fail("--port needs a value");
  const sockaddr_in destination = permitted_destination(to, port);
  const std::vector<Flow> all = read_flows(options.text("flows"));
  const uint64_t first = options.number("first", 0, 0, all.size() - 1);
  const uint64_t count = options.number("count", all.size() - first, 1, all.size() - first);
  const auto client_port = static_cast<uint16_t>(options.number("client-port", 14'000, 1024, 65535));
  const Offer offer{options.number("rate", 0, 0, 1'000'000), options.number("under-way", 0, 0, 1'000'000)};
  const bool realtime = options.flag("realtime");
  options.done();
  if (offer.per_second == 0 && offer.under_way == 0) fail("a --rate, or a bound for what is --under-way");
  const sched_param priority{.sched_priority = 10};
  if (realtime && sched_setscheduler(0, SCHED_FIFO, &priority) != 0) fail("no realtime priority, which needs root");
  prctl(PR_SET_TIMERSLACK, 1);  // else a sleep may take 50 us longer

  ClientSocket socket(destination, client_port);
  const auto begin = all.begin() + static_cast<ptrdiff_t>(first);
  const std::vector<Flow> flows(begin, begin + static_cast<ptrdiff_t>(count));
  std::printf("{");
  print("first", Round(socket, flows).go(offer));
  std::printf(",");
  print("again", Round(socket, flows).go(offer));
  std::printf(",\"ownKernelDrops\":%u}\n", socket.kernel_drops());
}

}  // namespace earshot::load
