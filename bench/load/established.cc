#include "established.h"

#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "bytes.h"
#include "client_socket.h"
#include "clock.h"
#include "destination.h"
#include "flows.h"
#include "gaps.h"
#include "quantile.h"

namespace earshot::load {
namespace {

constexpr uint64_t kMostSeconds = 120;
constexpr uint64_t kMostPerSecond = 1'000'000;

// An answer may take this long after the last datagram; what comes later counts as lost.
constexpr uint64_t kLingerMs = 1000;
// Between two looks at the clock and the socket. What waits meanwhile has its time of arrival from the kernel; but what
// is due meanwhile is sent together, as no set of clients would. Much shorter is a core of its own.
constexpr uint64_t kStepUs = 200;

constexpr uint64_t kRequestAgainNs = kSecondNs / 2;

// What a datagram says, the flow as RTP's SSRC and the rest behind RTP's header.
constexpr size_t kFlowAt = 8, kRunAt = 12, kIndexAt = 16, kSentAt = 24, kLeastBytes = 32;

// Sends each flow's request, again while it is not answered, until all are or the time is up. Returns how many it sent.
uint64_t set_up(ClientSocket& socket, std::vector<Flow>& flows, uint64_t rate, uint64_t seconds) {
  std::unordered_map<std::string, Flow*> waiting;
  for (Flow& flow : flows) waiting[transaction_of(flow.request.data())] = &flow;
  const uint64_t end = steady_ns() + seconds * kSecondNs;
  uint64_t all_sent = 0;
  while (!waiting.empty()) {
    const uint64_t start = steady_ns();
    if (start >= end) fail(std::to_string(waiting.size()) + " flows were not answered");
    const Pace pace(rate, start);
    uint64_t sent = 0;
    for (size_t at = 0; at < flows.size() || steady_ns() < start + kRequestAgainNs;) {
      for (const uint64_t due = pace.due(steady_ns()); at < flows.size() && sent < due; at++) {
        const Flow& flow = flows[at];
        if (flow.answered) continue;
        std::copy(flow.request.begin(), flow.request.end(), socket.payload(0));
        socket.set(0, flow.client, flow.request.size());
        const unsigned taken = socket.send(1);
        sent += taken;
        all_sent += taken;
      }
      for (unsigned got = socket.receive(), i = 0; i < got; i++) {
        const ClientSocket::Received each = socket.received(i);
        if (each.length < kTransactionIdAt + kTransactionIdBytes) continue;
        const auto found = waiting.find(transaction_of(each.bytes));
        if (found == waiting.end() || found->second->client != each.client) continue;
        found->second->answered = true;
        waiting.erase(found);
      }
      if (waiting.empty()) break;
      sleep_ns(kStepUs * 1000);
    }
  }
  return all_sent;
}

struct Result {
  uint64_t set_up_sent = 0;
  uint64_t sent = 0;
  uint64_t received = 0;
  uint64_t duplicates = 0;
  uint64_t strange = 0;        // no echo, or at another client than it belongs to
  uint64_t of_other_runs = 0;  // came back when its run was over
  uint64_t elsewhere = 0;      // from an address or port that nothing was sent to
  uint64_t checks_sent = 0;
  uint64_t checks_answered = 0;
  uint64_t latest_ns = 0;
  double seconds = 0;
  std::vector<uint32_t> round_trips_us10;  // tenths of a microsecond
};

// What else happens while flows send.
struct Events {
  uint64_t move_after_ns = 0;      // 0: never
  uint16_t move_to_port = 0;       // where all flows send from then on
  uint64_t checks_per_second = 0;  // of all flows together, one after the other
};

class Run {
 public:
  struct Timing {
    uint64_t step_ns;
    uint64_t linger_ns;
    uint64_t missing_ns;  // so much longer while an answer is missing
  };
  Run(ClientSocket& socket, const std::vector<Flow>& flows, uint64_t total, size_t bytes, const Timing& timing,
      const Events& events)
      : socket_(socket),
        flows_(flows),
        events_(events),
        seen_(total),
        gaps_(flows.size()),
        bytes_(bytes),
        timing_(timing),
        id_(static_cast<uint32_t>(steady_ns())) {
    result_.round_trips_us10.reserve(total);
  }
  const Gaps& gaps() const { return gaps_; }

  Result go(uint64_t per_second) {
    const uint64_t start = steady_ns();
    const Pace pace(per_second, start);
    const Pace checks(events_.checks_per_second, start);
    bool moved = events_.move_after_ns == 0;
    const auto is_over = [this](uint64_t end) {
      const uint64_t now = steady_ns();
      return now >= end && (result_.received == result_.sent || now - end >= timing_.missing_ns);
    };
    for (uint64_t end = ~uint64_t{0}; !is_over(end);) {
      if (!moved && steady_ns() - start >= events_.move_after_ns) {
        moved = true;
        socket_.aim(events_.move_to_port);
        gaps_.moved(clock_ns(CLOCK_REALTIME));
      }
      if (events_.checks_per_second > 0 && end == ~uint64_t{0}) {
        while (result_.checks_sent < checks.due(steady_ns())) send_check();
      }
      const uint64_t due = std::min<uint64_t>(pace.due(steady_ns()), seen_.size());
      while (next_ < due) send(static_cast<unsigned>(std::min<uint64_t>(due - next_, ClientSocket::kSendBatch)), pace);
      while (receive()) {
      }
      if (next_ == seen_.size() && end == ~uint64_t{0}) {
        result_.seconds = static_cast<double>(steady_ns() - start) / kSecondNs;
        end = steady_ns() + timing_.linger_ns;
      }
      sleep_ns(timing_.step_ns);
    }
    return std::move(result_);
  }

 private:
  void send(unsigned count, const Pace& pace) {
    result_.latest_ns = std::max(result_.latest_ns, steady_ns() - pace.time_of(next_));
    const uint64_t now = clock_ns(CLOCK_REALTIME);
    for (unsigned i = 0; i < count; i++) {
      const uint64_t index = next_ + i;
      const uint64_t flow = index % flows_.size();
      uint8_t* const out = socket_.payload(i);
      out[0] = 0x80;  // RTP version 2
      out[1] = 111;   // a dynamic payload type
      write_u16(out + 2, static_cast<uint16_t>(index / flows_.size()));
      write_u32(out + 4, static_cast<uint32_t>(index / flows_.size() * 960));
      write_u32(out + kFlowAt, static_cast<uint32_t>(flow));
      write_u32(out + kRunAt, id_);
      write_u64(out + kIndexAt, index);
      write_u64(out + kSentAt, now);
      socket_.set(i, flows_[flow].client, bytes_);
      gaps_.sent(flow, now);
    }
    next_ += count;
    result_.sent += socket_.send(count);
  }

  // As browsers do every few seconds on a path that is in use.
  void send_check() {
    const Flow& flow = flows_[result_.checks_sent++ % flows_.size()];
    std::copy(flow.request.begin(), flow.request.end(), socket_.payload(0));
    socket_.set(0, flow.client, flow.request.size());
    socket_.send(1);
  }

  // Whether there may be more.
  bool receive() {
    const unsigned got = socket_.receive();
    for (unsigned i = 0; i < got; i++) {
      const ClientSocket::Received each = socket_.received(i);
      result_.elsewhere += each.from_elsewhere;
      if (each.length > 0 && each.bytes[0] < 4) {  // STUN (RFC 7983)
        result_.checks_answered++;
        continue;
      }
      const bool is_echo = each.length == bytes_ && read_u32(each.bytes + kFlowAt) < flows_.size();
      if (!is_echo || each.client != flows_[read_u32(each.bytes + kFlowAt)].client) {
        result_.strange++;
        continue;
      }
      if (read_u32(each.bytes + kRunAt) != id_) {
        result_.of_other_runs++;
        continue;
      }
      const uint64_t index = read_u64(each.bytes + kIndexAt);
      if (index >= next_ || index % flows_.size() != read_u32(each.bytes + kFlowAt)) {
        result_.strange++;
      } else if (seen_[index]) {
        result_.duplicates++;
      } else {
        seen_[index] = true;
        result_.received++;
        const uint64_t sent_ns = read_u64(each.bytes + kSentAt);
        const uint64_t took_ns = each.arrived_ns - sent_ns;
        gaps_.heard(index % flows_.size(), sent_ns, each.arrived_ns);
        result_.round_trips_us10.push_back(us10_of(took_ns));
      }
    }
    return got == ClientSocket::kReceiveBatch;
  }

  ClientSocket& socket_;
  const std::vector<Flow>& flows_;
  const Events events_;
  std::vector<bool> seen_;
  Gaps gaps_;
  const size_t bytes_;
  const Timing timing_;
  const uint32_t id_;
  uint64_t next_ = 0;
  Result result_;
};

double part(const std::vector<double>& sorted, double q) {
  return sorted.empty() ? 0 : sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1))];
}

void print(const Gaps& gaps) {
  const std::vector<double> longest = gaps.longest_ms(), answered = gaps.answered_ms();
  std::printf(
      "\"silentFlows\":%llu,\"unansweredFlows\":%llu,"
      "\"gapMs\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f},\"movedMs\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f},",
      static_cast<unsigned long long>(gaps.silent()), static_cast<unsigned long long>(gaps.unanswered()),
      part(longest, 0.5), part(longest, 0.99), part(longest, 1), part(answered, 0.5), part(answered, 0.99),
      part(answered, 1));
}

void print(Result& result, uint32_t own_drops, const Gaps& gaps) {
  const uint64_t lost = result.sent - result.received;
  std::printf(
      "{\"setUpSent\":%llu,\"sent\":%llu,\"received\":%llu,\"lost\":%llu,\"duplicates\":%llu,\"strange\":%llu,"
      "\"ofOtherRuns\":%llu,\"elsewhere\":%llu,"
      "\"ownKernelDrops\":%u,\"checksSent\":%llu,\"checksAnswered\":%llu,"
      "\"perSecond\":%.0f,\"latestUs\":%.1f,",
      static_cast<unsigned long long>(result.set_up_sent), static_cast<unsigned long long>(result.sent),
      static_cast<unsigned long long>(result.received), static_cast<unsigned long long>(lost),
      static_cast<unsigned long long>(result.duplicates), static_cast<unsigned long long>(result.strange),
      static_cast<unsigned long long>(result.of_other_runs), static_cast<unsigned long long>(result.elsewhere),
      own_drops, static_cast<unsigned long long>(result.checks_sent),
      static_cast<unsigned long long>(result.checks_answered),
      result.seconds > 0 ? static_cast<double>(result.sent) / result.seconds : 0,
      static_cast<double>(result.latest_ns) / 1000);
  print(gaps);
  auto& values = result.round_trips_us10;
  const double p50 = quantile_us(values, 0.5), p99 = quantile_us(values, 0.99), p999 = quantile_us(values, 0.999);
  std::printf("\"p50Us\":%.1f,\"p99Us\":%.1f,\"p999Us\":%.1f,\"maxUs\":%.1f}\n", p50, p99, p999,
              quantile_us(values, 1));
}

}  // namespace

void established(Options& options) {
  const std::string to = options.text("to");
  const auto port = static_cast<uint16_t>(options.number("port", 0, 1, 65535));
  if (port == 0) fail("--port needs a value");
  const sockaddr_in destination = permitted_destination(to, port);
  std::vector<Flow> flows = read_flows(options.text("flows"));
  const auto client_port = static_cast<uint16_t>(options.number("client-port", 14'000, 1024, 65535));
  const uint64_t rate = options.number("rate", 50, 1, 10'000);
  const uint64_t milliseconds = options.number("milliseconds", 5000, 0, kMostSeconds * 1000);
  const uint64_t bytes = options.number("bytes", 120, kLeastBytes, ClientSocket::kMaxPayload);
  const uint64_t set_up_seconds = options.number("set-up-seconds", 0, 0, kMostSeconds);
  const uint64_t set_up_rate = options.number("set-up-rate", 1000, 1, 100'000);
  const uint64_t step_us = options.number("step-us", kStepUs, 1, 10'000);
  const uint64_t linger_ms = options.number("linger-ms", kLingerMs, 1, 10'000);
  const uint64_t missing_ms = options.number("missing-ms", 0, 0, 60'000);
  const bool realtime = options.flag("realtime");
  const uint64_t check_ms = options.number("check-ms", 0, 0, 60'000);
  Events events;
  events.move_after_ns = options.number("move-after-ms", 0, 0, kMostSeconds * 1000) * 1'000'000;
  events.move_to_port = static_cast<uint16_t>(options.number("move-to-port", port, 1, 65535));
  if (check_ms > 0) events.checks_per_second = flows.size() * 1000 / check_ms;
  options.done();
  if (rate * flows.size() > kMostPerSecond) fail("more than a million datagrams per second");
  const sched_param priority{.sched_priority = 10};
  if (realtime && sched_setscheduler(0, SCHED_FIFO, &priority) != 0) fail("no realtime priority, which needs root");

  prctl(PR_SET_TIMERSLACK, 1);  // else a sleep may take 50 us longer

  ClientSocket socket(destination, client_port);
  const uint64_t set_up_sent = set_up_seconds > 0 ? set_up(socket, flows, set_up_rate, set_up_seconds) : 0;
  const uint64_t per_second = rate * flows.size();
  const Run::Timing timing{step_us * 1000, linger_ms * 1'000'000, missing_ms * 1'000'000};
  Run run(socket, flows, per_second * milliseconds / 1000, bytes, timing, events);
  Result result = run.go(per_second);
  result.set_up_sent = set_up_sent;
  print(result, socket.kernel_drops(), run.gaps());
}

}  // namespace earshot::load
