// Measures what a datagram costs a forwarder, for bench:pps. It stands at both ends: it plays every client and
// everything behind the forwarder, and reads the forwarder's CPU time from /proc. Only ever on loopback; needs root
// (raw sockets).
//
//   driver --direction up|down|mixed --behind plain|numbered|trunk [--flows 1000] [--bytes 120] [--transceivers 1]
//          [--frames 1] [--rounds 10] [--packets 6000] [--prime] [--rate 0] [--seconds 1] [--cpu 0] [--pace-cpu 1]
//
// Its first line of output is {"upstreamPort":N,"clientPort":N}: the first of the ports behind, and the clients' port.
// Both are open and never read, with buffers so small that nearly everything that comes there is thrown away at once,
// for every forwarder alike. Then it takes one line of input: process ids, the public port, the ports behind, the trunk
// key, each a comma list or `-`. With ports behind `-` they are the forwarder's sockets that are connected to what is
// behind.
//
// Backlog (rate 0): in each round it stops the forwarder, queues `packets` at it, lets it go, and takes the CPU time
// that it needed until nothing was left. Nothing else runs on that CPU meanwhile: the driver sleeps. Steady: it sends
// at `rate` from another CPU. The result is one line of JSON.
#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "backlog.h"
#include "options.h"
#include "scene.h"
#include "subject.h"

namespace {

using namespace earshot;
using namespace earshot::pps;
using load::fail;

uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

void sit_on(uint64_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("no such CPU: " + std::to_string(cpu));
}

// A sink that throws away nearly all that comes. -1 if the port is taken.
int sink(uint32_t address, uint16_t port, uint16_t& bound) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int least = 0;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
  sockaddr_in local{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(address)}, .sin_zero = {}};
  socklen_t length = sizeof local;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) != 0) {
    close(fd);
    return -1;
  }
  bound = ntohs(local.sin_port);
  return fd;
}

// What has come to a sink: read now, or thrown away by the kernel.
uint64_t arrived_at(int fd) {
  uint8_t byte;
  uint64_t count = 0;
  while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) count++;
  uint32_t info[SK_MEMINFO_VARS] = {};
  socklen_t length = sizeof info;
  getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length);
  return count + info[SK_MEMINFO_DROPS];
}

uint16_t open_sinks_behind(uint32_t count, std::vector<int>& out) {
  for (int tries = 0; tries < 100; tries++) {
    std::vector<int> open;
    uint16_t first = 0, bound = 0;
    for (uint32_t i = 0; i < count; i++) {
      open.push_back(sink(INADDR_LOOPBACK, i == 0 ? 0 : static_cast<uint16_t>(first + i), bound));
      if (open.back() < 0) break;
      if (i == 0) first = bound;
    }
    if (open.back() >= 0) return out = std::move(open), first;
    for (const int fd : open) close(fd);
  }
  fail("no consecutive ports are free");
}

std::vector<uint16_t> ports_in(const std::string& list) {
  std::vector<uint16_t> ports;
  std::stringstream in(list == "-" ? "" : list);
  for (std::string one; std::getline(in, one, ',');) ports.push_back(static_cast<uint16_t>(std::stoi(one)));
  return ports;
}

struct Plan {
  bool up = true, down = false, prime = false;
  uint64_t rounds = 10, packets = 6000, rate = 0;
  double seconds = 1;
};

void prime(Subject& subject, Backlog& backlog, const Load& load, const Plan& plan) {
  for (uint32_t first = 0; first < load.flows;) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(plan.packets, load.flows - first));
    backlog.prime(first, count);
    subject.drain();
    first += count;
  }
}

// One round of the backlog, and what it cost.
struct Round {
  uint64_t packets;
  CpuTime time;
};

Round round_of(Subject& subject, Backlog& backlog, const Plan& plan) {
  subject.stop();
  subject.cpu();
  const uint64_t drops = subject.drops();
  uint64_t packets = 0;
  const uint64_t each = plan.packets / (plan.up && plan.down ? 2 : 1);
  if (plan.up) packets += backlog.up(each);
  if (plan.down) packets += backlog.down(each);
  subject.drain();
  subject.stop();
  const CpuTime time = subject.cpu();
  subject.go();
  if (subject.drops() != drops) fail("the queue had no room for " + std::to_string(subject.drops() - drops));
  return {packets, time};
}

void print(const std::vector<Round>& rounds, unsigned long long sent, unsigned long long behind,
           unsigned long long clients) {
  std::printf("{\"sent\":%llu,\"arrivedBehind\":%llu,\"arrivedAtClients\":%llu,\"rounds\":[", sent, behind, clients);
  for (size_t i = 0; i < rounds.size(); i++) {
    const auto packets = static_cast<double>(rounds[i].packets);
    std::printf("%s{\"nsPerPacket\":%.2f,\"busiestNsPerPacket\":%.2f}", i == 0 ? "" : ",",
                static_cast<double>(rounds[i].time.all_ns) / packets,
                static_cast<double>(rounds[i].time.most_ns) / packets);
  }
  std::printf("]}\n");
  std::fflush(stdout);
}

uint64_t send_steadily(Backlog& backlog, uint64_t rate, double seconds) {
  const auto count = static_cast<uint64_t>(static_cast<double>(rate) * seconds);
  const uint64_t start = now_ns();
  for (uint64_t sent = 0; sent < count; sent++) {
    const uint64_t due = start + sent * 1'000'000'000 / rate;
    while (now_ns() < due) continue;
    backlog.up_one();
  }
  return count;
}

int run(load::Options& in) {
  Load load;
  Plan plan;
  const std::string direction = in.text("direction"), behind = in.text("behind");
  plan.up = direction != "down";
  plan.down = direction != "up";
  load.behind = behind == "trunk" ? Behind::trunk : behind == "numbered" ? Behind::numbered : Behind::plain;
  load.flows = static_cast<uint32_t>(in.number("flows", 1000, 1, kMostFlows));
  load.bytes = in.number("bytes", 120, 12, 1400);
  load.transceivers = static_cast<uint32_t>(in.number("transceivers", 1, 1, 1024));
  load.frames = static_cast<unsigned>(in.number("frames", 1, 1, 100));
  plan.rounds = in.number("rounds", 10, 1, 1000);
  plan.packets = in.number("packets", 6000, 1, 10'000'000);
  plan.prime = in.flag("prime");
  plan.rate = in.number("rate", 0, 0, 2'000'000);
  plan.seconds = static_cast<double>(in.number("seconds", 1, 1, 60));
  const uint64_t cpu = in.number("cpu", 0, 0, 1023), pace_cpu = in.number("pace-cpu", 1, 0, 1023);
  in.done();

  std::vector<int> sinks_behind;
  load.upstream_port = open_sinks_behind(load.transceivers, sinks_behind);
  const int clients = sink(INADDR_ANY, 0, load.client_port);
  if (clients < 0) fail("no port for the clients");
  std::printf("{\"upstreamPort\":%u,\"clientPort\":%u}\n", load.upstream_port, load.client_port);
  std::fflush(stdout);

  std::string pids, public_port, behind_ports, key;
  if (!(std::cin >> pids >> public_port >> behind_ports >> key)) return 0;
  std::vector<pid_t> subjects;
  std::stringstream pid_list(pids);
  for (std::string pid; std::getline(pid_list, pid, ',');) subjects.push_back(std::stoi(pid));
  load.public_port = ports_in(public_port).at(0);
  load.behind_ports = ports_in(behind_ports);
  if (key != "-") {
    uint8_t bytes[16];
    for (size_t i = 0; i < 16; i++) bytes[i] = static_cast<uint8_t>(std::stoul(key.substr(2 * i, 2), nullptr, 16));
    load.trunk_down = SipKey::from_bytes(bytes);
  }

  sit_on(plan.rate == 0 ? cpu : pace_cpu);
  Subject subject(subjects, {load.public_port});
  if (plan.prime) {
    Backlog first(load);
    prime(subject, first, load, plan);
  }
  if (plan.down && load.behind_ports.empty()) {
    for (uint32_t t = 0; t < load.transceivers; t++) {
      for (const pid_t pid : subjects) {
        for (const uint16_t port : udp_ports(pid, static_cast<uint16_t>(load.upstream_port + t))) {
          load.behind_ports.push_back(port);
          load.behind_of.push_back(t);
        }
      }
    }
    if (load.behind_ports.empty()) fail("the forwarder has no socket towards what is behind it");
  }
  std::set<uint16_t> ports(load.behind_ports.begin(), load.behind_ports.end());
  ports.insert(load.public_port);
  Subject measured(subjects, ports);
  Backlog backlog(load);
  std::vector<Round> rounds;
  uint64_t sent = plan.prime ? load.flows : 0;
  if (plan.rate == 0) {
    for (uint64_t i = 0; i < plan.rounds; i++) rounds.push_back(round_of(measured, backlog, plan));
    for (const Round& round : rounds) sent += round.packets;
  } else {
    sent += send_steadily(backlog, plan.rate, 0.2);
    for (uint64_t i = 0; i < plan.rounds; i++) {
      const uint64_t drops = measured.drops();
      measured.cpu();
      const uint64_t packets = send_steadily(backlog, plan.rate, plan.seconds / static_cast<double>(plan.rounds));
      const CpuTime time = measured.cpu();
      sent += packets;
      const uint64_t lost = measured.drops() - drops;
      if (lost > packets / 100) fail("the forwarder cannot keep up: lost " + std::to_string(lost));
      rounds.push_back({packets - lost, time});
    }
    measured.drain();
  }
  uint64_t arrived_behind = 0;
  for (const int fd : sinks_behind) arrived_behind += arrived_at(fd);
  print(rounds, sent, arrived_behind, arrived_at(clients));
  // Its sockets stay open until nobody sends to them any more.
  for (std::string line; std::getline(std::cin, line);) continue;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  load::Options options(argc, argv, 1);
  return run(options);
}
