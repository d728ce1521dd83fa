// Every limit that the data plane chose, with its unit, its origin, and what breaks if it changes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace earshot {

// Datagrams per recvmmsg. A larger batch amortises nothing more and delays the first packet of it.
inline constexpr unsigned kBatch = 256;

// Bytes of a receive buffer. An Ethernet UDP payload is at most 1,472; anything larger than this is dropped as
// truncated.
inline constexpr size_t kBufferBytes = 2048;

// Datagrams per second above which a worker whose last batch was not full gathers before it reads again. Below it the
// packing would save less CPU than is there to be saved, and every wait is somebody's delay.
inline constexpr uint64_t kGatherAbovePerSecond = 50'000;

// How long a worker counts datagrams before it takes the rate to have changed, in ms: a few ticks of the coarse clock.
inline constexpr uint64_t kRateWindowMs = 20;

// UDP payload at which a trunk datagram is closed: fits 1,500-byte links under the usual overlays without fragments.
inline constexpr size_t kTrunkMaxBytes = 1400;

// Trunk datagrams that may be open or waiting in one batch; when they are used up the batch is sent in two parts.
inline constexpr unsigned kTrunkDatagrams = 256;

// Records in each queue between a worker and the control plane. At 2 ms per turn the control plane drains far more
// than this per second; a flood fills the queue and is dropped here.
inline constexpr unsigned kQueueRecords = 1024;

// Flow entries beyond the capacity, so that a flow can be replaced by a changed copy even when the table is full: the
// control thread makes at most this many changes while a worker is inside one batch.
inline constexpr uint32_t kSpareFlows = 256;

// Transceiver entries that the directory can hold; an epoch takes an entry of its own until its flows are gone.
inline constexpr unsigned kMaxTransceivers = 4096;

// Lanes: trunk port ids are 8 bits, 0 is the control plane's.
inline constexpr unsigned kMaxLanes = 255;

// Each worker has at least one lane.
inline constexpr unsigned kMaxWorkers = kMaxLanes;

// Local addresses that one relay can serve.
inline constexpr unsigned kMaxIngresses = 64;

// A tentative flow lives this long: a transceiver answers its first check within milliseconds.
inline constexpr uint32_t kTentativeMs = 5'000;

// An assured flow without downlink lives this long: twice the 30 s after which consent ends (RFC 7675).
inline constexpr uint32_t kIdleMs = 60'000;

// last-seen is written at most this often, so that forwarding does not write to the flow's cache line.
inline constexpr uint32_t kLastSeenStepMs = 1'000;

// Unknown paths that a worker tells the control plane of in a tick of 256 ms: 2,000 calls that come back at once after
// a failure are all told of within one. At 10 us each, all that a flood of them can cost is a twelfth of a core.
inline constexpr uint32_t kUnknownPathsPerTick = 2'048;

// Ticks after which the same unknown path is told of again: its owner's answer takes a round trip, and may be lost.
inline constexpr uint32_t kUnknownPathAgain = 2;

// Unknown paths whose last telling a worker remembers, 16 bytes each.
inline constexpr uint32_t kToldPaths = 4'096;

// ---- held datagrams, soon after a start ----

// Chunks that a worker holds datagrams in, 4 MiB of memory that is touched as far as it is used: 160 ms of voice of
// each of 2,000 calls that turn up at once. What does not fit is dropped, as all of it is without holding.
inline constexpr unsigned kHeldChunks = 16'384;

// Bytes of a datagram in a chunk, which has 16 bytes more: a packet of voice takes one, the largest datagram nine.
inline constexpr size_t kHeldChunkBytes = 240;

// Datagrams of one path: 320 ms of voice, for what the kernel has queued while the process started, and for the
// look-up. More would take room from other paths.
inline constexpr unsigned kHeldPerPath = 16;

// Paths that a worker holds datagrams of or has lately been told about, 48 bytes each: half of them stay free while
// those 2,000 calls are held.
inline constexpr unsigned kHeldPaths = 4'096;

// Places in which a path may be found. With half of all taken, one path in 65,536 finds them all taken.
inline constexpr unsigned kHeldReach = 16;

// Paths that a worker asks the control plane about in 256 ms: those 2,000 calls at once. At 10 us each, all that a
// flood of them can cost there is a twelfth of a core for each worker, for as long as holding lasts.
inline constexpr unsigned kHoldAsks = 2'048;
inline constexpr uint64_t kHoldAsksMs = 256;

// A path that was settled is not asked about again for so long, ms: nobody knew it, and it sends 50 datagrams a second.
inline constexpr uint64_t kHoldAgainMs = 500;

// Sequences behind the highest that a receiver still accepts, in bits: more than a network reorders.
inline constexpr unsigned kReplayWindow = 1024;

// ---- the transceiver's end of the trunk ----

// Trunk datagrams that a transceiver reads in one turn of its event loop, each with up to about eight frames of voice.
// A frame costs its session some 20 us, so a full batch takes a few ms; a larger one would delay the answers to its
// first frames and everything else in the loop, a smaller one pays more often for the way into JavaScript and back.
inline constexpr unsigned kTrunkEndBatch = 32;

// Trunk datagrams that may be open or waiting there at once; when they are used up they are sent in two parts.
inline constexpr unsigned kTrunkEndDatagrams = 64;

// Relay ports that a transceiver can answer, 16 times the most that one relay has. A relay port that is forgotten could
// be replayed.
inline constexpr unsigned kMaxRelayPorts = 4096;

}  // namespace earshot
