// Which CPUs this process may use: its affinity within its cpuset.
#pragma once

#include <sched.h>

#include <string>

namespace earshot {

inline cpu_set_t allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

// As the kernel writes it: 0-3,6
inline std::string cpu_list(const cpu_set_t& set) {
  std::string list;
  const auto has = [&](size_t cpu) { return cpu < CPU_SETSIZE && CPU_ISSET(cpu, &set); };
  for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!has(cpu)) continue;
    const size_t first = cpu;
    while (has(cpu + 1)) cpu++;
    list.append(list.empty() ? "" : ",").append(std::to_string(first));
    if (cpu > first) list.append("-").append(std::to_string(cpu));
  }
  return list;
}

}  // namespace earshot
