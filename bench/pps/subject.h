// What is measured: one or more processes, stopped and let go, with the CPU time of their threads and what waits at
// their sockets, all from /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <vector>

namespace earshot::pps {

struct CpuTime {
  uint64_t all_ns = 0;   // of all threads together
  uint64_t most_ns = 0;  // of the busiest one
};

class Subject {
 public:
  // `ports`: of its sockets that get the load.
  Subject(std::vector<pid_t> pids, const std::set<uint16_t>& ports);
  ~Subject() { go(); }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  // Returns when every thread has stopped.
  void stop();
  void go();
  // Of each thread since the last call of it, at first since its start.
  CpuTime cpu();
  // Bytes that wait at its sockets, with the kernel's bookkeeping.
  uint64_t waiting() const;
  // Datagrams that its sockets had no room for, since they were opened.
  uint64_t drops() const;
  // Lets it go until nothing waits and it does nothing any more. Ends the program if that takes too long.
  void drain();

 private:
  struct Thread {
    pid_t pid;
    pid_t id;
    uint64_t last_ns;
  };
  void find_threads();
  static uint64_t cpu_ns(const Thread& thread);

  std::vector<pid_t> pids_;
  std::set<uint16_t> ports_;
  std::vector<Thread> threads_;
};

// UDP sockets of a process: local ports, of those that are connected to `remote_port` of any address, or of all if 0.
std::set<uint16_t> udp_ports(pid_t pid, uint16_t remote_port);

}  // namespace earshot::pps
