#include "subject.h"

#include <dirent.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "options.h"

namespace earshot::pps {
namespace {

constexpr int kDrainTries = 20'000;
constexpr unsigned kDrainStepUs = 500;

struct Row {
  uint16_t local, remote;
  uint64_t waiting, inode, drops;
};

void each_udp_row(const std::function<void(const Row&)>& take) {
  FILE* const file = std::fopen("/proc/net/udp", "re");
  if (file == nullptr) load::fail("no /proc/net/udp");
  char line[512];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    unsigned local, remote;
    Row row{};
    if (std::sscanf(line, " %*d: %*x:%x %*x:%x %*x %*x:%" SCNx64 " %*s %*s %*s %*s %" SCNu64 " %*s %*s %" SCNu64,
                    &local, &remote, &row.waiting, &row.inode, &row.drops) != 5) {
      continue;  // the title
    }
    row.local = static_cast<uint16_t>(local);
    row.remote = static_cast<uint16_t>(remote);
    take(row);
  }
  std::fclose(file);
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  DIR* const dir = opendir(folder.c_str());
  if (dir == nullptr) load::fail("no " + folder + ": the process has ended");
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(dir);
  return names;
}

std::string text_of(const std::string& path) {
  char text[512] = {};
  FILE* const file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return "";
  text[std::fread(text, 1, sizeof text - 1, file)] = '\0';
  std::fclose(file);
  return text;
}

}  // namespace

Subject::Subject(std::vector<pid_t> pids, const std::set<uint16_t>& ports) : pids_(std::move(pids)), ports_(ports) {}

void Subject::find_threads() {
  for (const pid_t pid : pids_) {
    for (const std::string& name : names_in("/proc/" + std::to_string(pid) + "/task")) {
      const pid_t id = std::stoi(name);
      const auto known = [&](const Thread& thread) { return thread.id == id; };
      if (std::none_of(threads_.begin(), threads_.end(), known)) threads_.push_back({pid, id, 0});
    }
  }
}

void Subject::stop() {
  for (const pid_t pid : pids_) kill(pid, SIGSTOP);
  find_threads();
  for (const Thread& thread : threads_) {
    for (;;) {
      const std::string stat =
          text_of("/proc/" + std::to_string(thread.pid) + "/task/" + std::to_string(thread.id) + "/stat");
      const size_t name_end = stat.rfind(')');
      if (name_end == std::string::npos || stat.compare(name_end, 3, ") T") == 0) break;
      usleep(50);
    }
  }
}

void Subject::go() {
  for (const pid_t pid : pids_) kill(pid, SIGCONT);
}

uint64_t Subject::cpu_ns(const Thread& thread) {
  const std::string text =
      text_of("/proc/" + std::to_string(thread.pid) + "/task/" + std::to_string(thread.id) + "/schedstat");
  return text.empty() ? thread.last_ns : std::strtoull(text.c_str(), nullptr, 10);
}

CpuTime Subject::cpu() {
  find_threads();
  CpuTime time;
  for (Thread& thread : threads_) {
    const uint64_t now_ns = cpu_ns(thread);
    time.all_ns += now_ns - thread.last_ns;
    time.most_ns = std::max(time.most_ns, now_ns - thread.last_ns);
    thread.last_ns = now_ns;
  }
  return time;
}

uint64_t Subject::waiting() const {
  uint64_t bytes = 0;
  each_udp_row([&](const Row& row) { bytes += ports_.contains(row.local) ? row.waiting : 0; });
  return bytes;
}

uint64_t Subject::drops() const {
  uint64_t count = 0;
  each_udp_row([&](const Row& row) { count += ports_.contains(row.local) ? row.drops : 0; });
  return count;
}

void Subject::drain() {
  go();
  find_threads();
  uint64_t before = 0;
  for (int tries = 0; tries < kDrainTries; tries++) {
    usleep(kDrainStepUs);
    if (waiting() != 0) continue;
    uint64_t now = 0;
    for (const Thread& thread : threads_) now += cpu_ns(thread);
    if (now == before) return;
    before = now;
  }
  load::fail("the queue was not drained");
}

std::set<uint16_t> udp_ports(pid_t pid, uint16_t remote_port) {
  std::set<uint64_t> inodes;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd/";
  for (const std::string& name : names_in(folder)) {
    char link[64] = {};
    uint64_t inode = 0;
    if (readlink((folder + name).c_str(), link, sizeof link - 1) > 0 &&
        std::sscanf(link, "socket:[%" SCNu64, &inode) == 1) {
      inodes.insert(inode);
    }
  }
  std::set<uint16_t> ports;
  each_udp_row([&](const Row& row) {
    if (inodes.contains(row.inode) && (remote_port == 0 || row.remote == remote_port)) ports.insert(row.local);
  });
  return ports;
}

}  // namespace earshot::pps
