// What each flow heard, and when: its longest silence, and how long after its traffic has moved it was answered again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace earshot::load {

class Gaps {
 public:
  // Times are CLOCK_REALTIME, ns. Silence counts from the flow's first echo on. `move_ns` is 0 if nothing moves.
  explicit Gaps(size_t flows) : flows_(flows) {}

  void moved(uint64_t now_ns) { move_ns_ = now_ns; }
  void sent(size_t flow, uint64_t now_ns) {
    Flow& each = flows_[flow];
    if (move_ns_ != 0 && each.first_after_ns == 0) each.first_after_ns = now_ns;
    each.last_sent_ns = now_ns;
  }
  void heard(size_t flow, uint64_t sent_ns, uint64_t arrived_ns) {
    Flow& each = flows_[flow];
    if (each.heard_ns != 0 && arrived_ns > each.heard_ns) {
      each.longest_ns = std::max(each.longest_ns, arrived_ns - each.heard_ns);
    }
    each.heard_ns = std::max(each.heard_ns, arrived_ns);
    if (move_ns_ != 0 && sent_ns >= move_ns_ && each.answered_ns == 0) each.answered_ns = arrived_ns;
  }

  // Flows that had nothing of what they sent in the last second.
  uint64_t silent() const {
    const auto is_silent = [](const Flow& flow) { return flow.heard_ns + 1'000'000'000 < flow.last_sent_ns; };
    return static_cast<uint64_t>(std::count_if(flows_.begin(), flows_.end(), is_silent));
  }
  // Flows of which nothing came back that was sent after the move.
  uint64_t unanswered() const {
    if (move_ns_ == 0) return 0;
    const auto is_missing = [](const Flow& flow) { return flow.answered_ns == 0; };
    return static_cast<uint64_t>(std::count_if(flows_.begin(), flows_.end(), is_missing));
  }
  // In ms, sorted.
  std::vector<double> longest_ms() const {
    return sorted([](const Flow& flow) { return flow.longest_ns; });
  }
  std::vector<double> answered_ms() const {
    return sorted([](const Flow& flow) { return flow.answered_ns == 0 ? 0 : flow.answered_ns - flow.first_after_ns; });
  }

 private:
  struct Flow {
    uint64_t heard_ns = 0;
    uint64_t longest_ns = 0;
    uint64_t last_sent_ns = 0;
    uint64_t first_after_ns = 0;  // sent first after the move
    uint64_t answered_ns = 0;     // the first echo of what was sent after the move
  };

  template <class Of>
  std::vector<double> sorted(Of of) const {
    std::vector<double> out;
    for (const Flow& flow : flows_) out.push_back(static_cast<double>(of(flow)) / 1e6);
    std::sort(out.begin(), out.end());
    return out;
  }

  std::vector<Flow> flows_;
  uint64_t move_ns_ = 0;
};

}  // namespace earshot::load
