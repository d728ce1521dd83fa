// The Node-API face of the engine: checks every argument, and wakes JavaScript through one uv_async_t.
// Nothing here is on a packet's way.
#include <napi.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "../core/engine.h"
#include "../core/path.h"
#include "arguments.h"
#include "dtls.h"
#include "trunk_end_addon.h"

namespace earshot {
namespace {

// A record in the buffer that takeControl() fills: kind u8, worker u8, slot u16, payload length u16, path length u8,
// one byte unused, path bytes (21), payload. Integers are little-endian. src/engine/native/native-engine.ts reads it.
constexpr size_t kRecordPath = 8;
constexpr size_t kRecordPayload = kRecordPath + kMaxPathBytes;
constexpr size_t kRecordBytes = kRecordPayload + kBufferBytes;
// Its kind where a worker holds datagrams of a path: none of the trunk's.
constexpr uint8_t kHeldPath = 255;

// All but the payload.
void write_record(uint8_t* to, uint8_t kind, unsigned worker, Slot slot, const Path& path, uint16_t length) {
  to[0] = kind;
  to[1] = static_cast<uint8_t>(worker);
  std::memcpy(to + 2, &slot, 2);
  std::memcpy(to + 4, &length, 2);
  to[6] = static_cast<uint8_t>(write_path(path, to + kRecordPath));
}

// Wakes the JavaScript thread. Lives on the heap until libuv has let go of the handle.
class Wake {
 public:
  static Wake* create(Napi::Env env, Napi::Function callback) {
    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "no event loop");
    return new Wake(env, loop, callback);
  }
  // Keeps the event loop running, as a listening socket does.
  void keep_alive() { uv_ref(reinterpret_cast<uv_handle_t*>(&async_)); }
  // From any thread, until close().
  static void ring(void* self) { uv_async_send(&static_cast<Wake*>(self)->async_); }
  // From the JavaScript thread. No call comes after it.
  void close() {
    callback_.Reset();
    uv_close(reinterpret_cast<uv_handle_t*>(&async_),
             [](uv_handle_t* handle) { delete static_cast<Wake*>(handle->data); });
  }

 private:
  Wake(Napi::Env env, uv_loop_t* loop, Napi::Function callback) : env_(env), callback_(Napi::Persistent(callback)) {
    uv_async_init(loop, &async_, [](uv_async_t* handle) { static_cast<Wake*>(handle->data)->call(); });
    async_.data = this;
    uv_unref(reinterpret_cast<uv_handle_t*>(&async_));
  }
  void call() {
    if (callback_.IsEmpty()) return;
    Napi::HandleScope scope(env_);
    try {
      callback_.MakeCallback(env_.Global(), {});
    } catch (const Napi::Error& error) {
      napi_fatal_exception(env_, error.Value());
    }
  }

  Napi::Env env_;
  Napi::FunctionReference callback_;
  uv_async_t async_{};
};

// What openLanes() and an engine are told alike.
LaneOptions read_lane_options(const Napi::Object& in) {
  LaneOptions options;
  options.trunk = endpoint_in(in.Get("trunk"), "trunk");
  options.lanes = uint_in(in.Get("lanes"), 1, kMaxLanes, "lanes");
  options.receive_buffer_bytes =
      static_cast<int>(uint_in(in.Get("receiveBufferBytes"), 0, 1u << 30, "receiveBufferBytes"));
  const Napi::Array ingresses = array_in(in.Get("ingresses"), 1, kMaxIngresses, "ingresses");
  for (uint32_t i = 0; i < ingresses.Length(); i++) {
    const Napi::Object each = object_in(ingresses.Get(i), "ingress");
    const auto id = static_cast<uint16_t>(uint_in(each.Get("id"), 0, 0xffff, "ingress id"));
    options.ingresses.push_back({id, endpoint_in(each, "ingress")});
  }
  return options;
}

int descriptor_in(const Napi::Value& value, const char* name) {
  return static_cast<int>(uint_in(value, 0, INT32_MAX, name));
}

// [{ publics: [fd], trunk: fd }], as openLanes() returns them
std::vector<LaneDescriptors> lanes_in(const Napi::Value& value) {
  std::vector<LaneDescriptors> lanes;
  const Napi::Array in = array_in(value, 1, kMaxLanes, "lanes");
  for (uint32_t l = 0; l < in.Length(); l++) {
    const Napi::Object each = object_in(in.Get(l), "lane");
    LaneDescriptors& lane = lanes.emplace_back();
    lane.trunk = descriptor_in(each.Get("trunk"), "descriptor");
    const Napi::Array publics = array_in(each.Get("publics"), 1, kMaxIngresses, "publics");
    for (uint32_t i = 0; i < publics.Length(); i++) lane.publics.push_back(descriptor_in(publics.Get(i), "descriptor"));
  }
  return lanes;
}

SipKey key_in(const Napi::Value& value, const char* name) {
  return SipKey::from_bytes(bytes_in(value, 16, 16, name).data());
}

// { records, into?: { memory, key } }
KeptMemory::HandOver hand_over_in(const Napi::Object& in) {
  KeptMemory::HandOver out;
  out.records = descriptor_in(in.Get("records"), "records");
  if (in.Get("into").IsUndefined()) return out;
  const Napi::Object into = object_in(in.Get("into"), "into");
  out.memory = descriptor_in(into.Get("memory"), "into.memory");
  out.key = key_in(into.Get("key"), "into.key");
  return out;
}

std::vector<int> cpus_in(const Napi::Value& value) {
  std::vector<int> cpus;
  const Napi::Array in = array_in(value, 0, kMaxWorkers, "cpus");
  for (uint32_t i = 0; i < in.Length(); i++) {
    cpus.push_back(static_cast<int>(uint_in(in.Get(i), 0, 65'535, "cpu")));
  }
  return cpus;
}

EngineOptions read_options(const Napi::Object& in) {
  EngineOptions options;
  LaneOptions lanes = read_lane_options(in);
  options.ingresses = std::move(lanes.ingresses);
  options.trunk = lanes.trunk;
  options.lanes = lanes.lanes;
  options.receive_buffer_bytes = lanes.receive_buffer_bytes;
  if (!in.Get("adopted").IsUndefined()) options.adopted = lanes_in(in.Get("adopted"));
  if (!in.Get("memory").IsUndefined()) options.memfd = descriptor_in(in.Get("memory"), "memory");
  if (!in.Get("handOver").IsUndefined()) options.hand_over = hand_over_in(object_in(in.Get("handOver"), "handOver"));
  options.workers = uint_in(in.Get("workers"), 1, kMaxWorkers, "workers");
  options.relay_id = uint_in(in.Get("relayId"), 0, 0xffffff, "relayId");
  options.epoch = uint64_in(in.Get("epoch"), "epoch");
  options.cluster = static_cast<uint16_t>(uint_in(in.Get("cluster"), 0, 0xffff, "cluster"));
  options.flows.capacity = uint_in(in.Get("flowCapacity"), 1, (1u << 24) - 2, "flowCapacity");
  options.flows.tentative_quota = uint_in(in.Get("tentativeQuota"), 1, 1u << 24, "tentativeQuota");
  options.cpus = cpus_in(in.Get("cpus"));
  options.gather_us = uint_in(in.Get("gatherUs"), 0, 1000, "gatherUs");
  return options;
}

template <class T, class Convert>
Napi::Array array_out(Napi::Env env, const T& items, Convert convert) {
  Napi::Array out = Napi::Array::New(env);
  for (const auto& item : items) out.Set(out.Length(), convert(item));
  return out;
}

Napi::Object failure_out(Napi::Env env, const Failure& failure) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("errno", failure.error);
  out.Set("about", failure.about);
  return out;
}

// ({ ingresses, trunk, lanes, receiveBufferBytes }) -> { errno, about } of what went wrong, or
// { ingressPorts, lanes: [{ publics, trunk, trunkPort }], warnings }, whose descriptors are the caller's to close.
Napi::Value open_lanes_for(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Lanes lanes;
  const Failure failure = open_lanes(read_lane_options(object_in(info[0], "options")), lanes);
  if (failure.error != 0) return failure_out(env, failure);
  Napi::Object out = Napi::Object::New(env);
  out.Set("ingressPorts", array_out(env, lanes.ingresses, [](const Ingress& each) { return each.endpoint.port(); }));
  out.Set("warnings", array_out(env, lanes.warnings, [](const std::string& each) { return each; }));
  Napi::Array lanes_out = Napi::Array::New(env);
  for (LaneSockets& lane : lanes.lanes) {
    Napi::Object each = Napi::Object::New(env);
    Napi::Array publics = Napi::Array::New(env);
    for (Fd& fd : lane.publics) publics.Set(publics.Length(), fd.release());
    each.Set("publics", publics);
    each.Set("trunk", lane.trunk.release());
    each.Set("trunkPort", lane.trunk_port);
    lanes_out.Set(lanes_out.Length(), each);
  }
  out.Set("lanes", lanes_out);
  return out;
}

// ([{ publics, trunk }])
void close_lanes(const Napi::CallbackInfo& info) {
  for (const LaneDescriptors& lane : lanes_in(info[0])) {
    for (const int fd : lane.publics) Fd closed(fd);
    Fd closed(lane.trunk);
  }
}

// () -> a descriptor of empty memory for an engine, the caller's to close
Napi::Value make_kept_memory(const Napi::CallbackInfo& info) {
  const int fd = KeptMemory::make_memfd();
  if (fd < 0) throw Napi::Error::New(info.Env(), std::string("memfd_create: ") + std::strerror(errno));
  return Napi::Number::New(info.Env(), fd);
}

// (pid) Kills this process when its parent, which is to have that pid, has ended; at once if it has already.
void die_with_parent(const Napi::CallbackInfo& info) {
  const auto parent = static_cast<pid_t>(uint_in(info[0], 1, INT32_MAX, "pid"));
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) raise(SIGKILL);
}

}  // namespace

class NativeEngine : public Napi::ObjectWrap<NativeEngine> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Engine",
                       {
                           InstanceMethod<&NativeEngine::start>("start"),
                           InstanceMethod<&NativeEngine::stop>("stop"),
                           InstanceMethod<&NativeEngine::hand_over>("handOver"),
                           InstanceMethod<&NativeEngine::set_workers>("setWorkers"),
                           InstanceMethod<&NativeEngine::bound>("bound"),
                           InstanceMethod<&NativeEngine::set_keys>("setKeys"),
                           InstanceMethod<&NativeEngine::add_transceiver>("addTransceiver"),
                           InstanceMethod<&NativeEngine::retire_transceiver>("retireTransceiver"),
                           InstanceMethod<&NativeEngine::taken_over>("takenOver"),
                           InstanceMethod<&NativeEngine::take_control>("takeControl"),
                           InstanceMethod<&NativeEngine::offer>("offer"),
                           InstanceMethod<&NativeEngine::hold>("hold"),
                           InstanceMethod<&NativeEngine::settle>("settle"),
                           InstanceMethod<&NativeEngine::admit>("admit"),
                           InstanceMethod<&NativeEngine::restore>("restore"),
                           InstanceMethod<&NativeEngine::promote>("promote"),
                           InstanceMethod<&NativeEngine::end>("end"),
                           InstanceMethod<&NativeEngine::expire>("expire"),
                           InstanceMethod<&NativeEngine::flow>("flow"),
                           InstanceMethod<&NativeEngine::flow_counts>("flowCounts"),
                           InstanceMethod<&NativeEngine::counters>("counters"),
                           InstanceMethod<&NativeEngine::receive_buffer_bytes>("receiveBufferBytes"),
                           InstanceMethod<&NativeEngine::kernel_drops>("kernelDrops"),
                           StaticValue("recordBytes", Napi::Number::New(env, kRecordBytes)),
                       });
  }

  // (options, onControl)
  explicit NativeEngine(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeEngine>(info), env_(info.Env()) {
    const EngineOptions options = read_options(object_in(info[0], "options"));
    if (!info[1].IsFunction()) throw Napi::TypeError::New(env_, "onControl: expected a function");
    wake_ = Wake::create(env_, info[1].As<Napi::Function>());
    engine_ = std::make_unique<Engine>(options, &Wake::ring, wake_);
    napi_add_env_cleanup_hook(env_, &NativeEngine::environment_ends, this);
  }

  ~NativeEngine() override {
    napi_remove_env_cleanup_hook(env_, &NativeEngine::environment_ends, this);
    close();
  }

 private:
  static void environment_ends(void* self) { static_cast<NativeEngine*>(self)->close(); }

  // Workers first: they ring the bell.
  void close() {
    engine_->stop();
    if (wake_ != nullptr) std::exchange(wake_, nullptr)->close();
  }

  // Returns undefined, or { errno, about } of what went wrong.
  Napi::Value start(const Napi::CallbackInfo&) {
    if (wake_ == nullptr) throw Napi::Error::New(env_, "the engine has been stopped");
    if (!keys_set_) throw Napi::Error::New(env_, "setKeys() comes before start()");
    const Failure failure = engine_->start();
    if (failure.error == 0) {
      wake_->keep_alive();
      return env_.Undefined();
    }
    close();
    return failure_out(env_, failure);
  }

  void stop(const Napi::CallbackInfo&) { close(); }

  // (key) -> { errno, about }, or { flows, torn }. It has stopped after either.
  Napi::Value hand_over(const Napi::CallbackInfo& info) {
    Exported exported;
    const int error = engine_->hand_over(key_in(info[0], "key"), exported);
    close();
    if (error != 0) return failure_out(env_, {error, "flow records"});
    Napi::Object out = Napi::Object::New(env_);
    out.Set("flows", exported.flows);
    out.Set("torn", exported.torn);
    return out;
  }

  // (workers, cpus) -> undefined, or { errno, about }
  Napi::Value set_workers(const Napi::CallbackInfo& info) {
    const unsigned workers = uint_in(info[0], 1, kMaxWorkers, "workers");
    const Failure failure = engine_->set_workers(workers, cpus_in(info[1]));
    return failure.error == 0 ? env_.Undefined() : failure_out(env_, failure);
  }

  // { ingressPorts, trunkPorts, warnings }
  Napi::Value bound(const Napi::CallbackInfo&) {
    Napi::Object out = Napi::Object::New(env_);
    const auto ports = array_out(env_, engine_->ingresses(), [](const Ingress& each) { return each.endpoint.port(); });
    out.Set("ingressPorts", ports);
    out.Set("trunkPorts", array_out(env_, engine_->trunk_ports(), [](uint16_t port) { return port; }));
    out.Set("warnings", array_out(env_, engine_->warnings(), [](const std::string& warning) { return warning; }));
    return out;
  }

  // (signing id, keys)
  void set_keys(const Napi::CallbackInfo& info) {
    engine_->set_keys(keys_in(info[0], info[1]));
    keys_set_ = true;
  }

  // (id, epoch, { address, port }) -> slot, 0 when the directory is full
  Napi::Value add_transceiver(const Napi::CallbackInfo& info) {
    const uint32_t id = uint_in(info[0], 0, 0xffffffff, "transceiver id");
    const uint64_t epoch = uint64_in(info[1], "epoch");
    return Napi::Number::New(env_, engine_->add_transceiver(id, epoch, endpoint_in(info[2], "transceiver")));
  }
  void retire_transceiver(const Napi::CallbackInfo& info) { engine_->retire_transceiver(slot_in(info[0])); }

  // undefined, or { transceivers: [{ slot, id, epoch, address, port }], flows, tornFlows, tornTransceivers, imported }
  Napi::Value taken_over(const Napi::CallbackInfo&) {
    if (!engine_->taken_over()) return env_.Undefined();
    Napi::Object out = Napi::Object::New(env_);
    out.Set("transceivers", array_out(env_, engine_->transceivers(), [this](Slot slot) {
              const TransceiverSlot& entry = *engine_->transceiver(slot);
              const Endpoint endpoint{entry.address, entry.address_length};
              Napi::Object each = Napi::Object::New(env_);
              each.Set("slot", slot);
              each.Set("id", entry.id);
              each.Set("epoch", Napi::BigInt::New(env_, entry.epoch));
              each.Set("address", endpoint.host());
              each.Set("port", endpoint.port());
              return each;
            }));
    out.Set("flows", engine_->flow_counts().flows);
    out.Set("tornFlows", engine_->torn_flows());
    out.Set("tornTransceivers", engine_->torn_transceivers());
    out.Set("imported", engine_->imported());
    return out;
  }

  // (buffer, most) -> how many records it wrote
  Napi::Value take_control(const Napi::CallbackInfo& info) {
    const auto out = bytes_in(info[0], kRecordBytes, SIZE_MAX, "buffer");
    const uint32_t most = uint_in(info[1], 1, static_cast<uint32_t>(out.size() / kRecordBytes), "most");
    engine_->answer_doorbell();
    uint32_t taken = 0;
    unsigned worker = 0;
    for (; taken < most; taken++) {
      const QueueRecord* record = engine_->front(worker);
      if (record == nullptr) break;
      uint8_t* to = out.data() + taken * kRecordBytes;
      write_record(to, record->kind, worker, record->slot, record->path, record->length);
      std::memcpy(to + kRecordPayload, record->payload, record->length);
      engine_->pop(worker);
    }
    // Last, because it is what strangers can make most of.
    for (; taken < most; taken++) {
      const Path* path = engine_->front_ask(worker);
      if (path == nullptr) break;
      write_record(out.data() + taken * kRecordBytes, kHeldPath, worker, kNoSlot, *path, 0);
      engine_->pop_ask(worker);
    }
    return Napi::Number::New(env_, taken);
  }

  // (worker, path, datagram) -> whether there was room
  Napi::Value offer(const Napi::CallbackInfo& info) {
    const unsigned worker = uint_in(info[0], 1, kMaxWorkers, "worker");
    const Path path = path_in(info[1]);
    const auto datagram = bytes_in(info[2], 1, kBufferBytes, "datagram");
    return Napi::Boolean::New(env_, engine_->offer(worker, path, datagram.data(), datagram.size()));
  }

  // (most ms)
  void hold(const Napi::CallbackInfo& info) { engine_->hold(uint_in(info[0], 0, 3'600'000, "most ms")); }

  // (worker, path, verdict) -> whether there was room
  Napi::Value settle(const Napi::CallbackInfo& info) {
    const unsigned worker = uint_in(info[0], 1, kMaxWorkers, "worker");
    const Path path = path_in(info[1]);
    const auto verdict = uint_in(info[2], 1, static_cast<uint32_t>(HoldVerdict::kEnd) - 1, "verdict");
    return Napi::Boolean::New(env_, engine_->settle(worker, path, static_cast<HoldVerdict>(verdict)));
  }

  // (path, slot, ufrag), as are promote and end
  Napi::Value admit(const Napi::CallbackInfo& info) {
    const Ufrag ufrag = ufrag_in(info[2]);
    const AdmitResult result = engine_->admit(path_in(info[0]), slot_in(info[1]), ufrag.data());
    return Napi::Number::New(env_, static_cast<uint32_t>(result));
  }
  // (path, slot, [ufrag, older ufrag])
  Napi::Value restore(const Napi::CallbackInfo& info) {
    const Napi::Array in = array_in(info[2], 1, 2, "ufrags");
    uint8_t ufrags[2][32];
    for (uint32_t i = 0; i < in.Length(); i++) {
      const Ufrag ufrag = ufrag_in(in.Get(i));
      std::memcpy(ufrags[i], ufrag.data(), ufrag.size());
    }
    const RestoreResult result = engine_->restore(path_in(info[0]), slot_in(info[1]), ufrags, in.Length());
    return Napi::Number::New(env_, static_cast<uint32_t>(result));
  }
  Napi::Value promote(const Napi::CallbackInfo& info) {
    const Ufrag ufrag = ufrag_in(info[2]);
    return Napi::Boolean::New(env_, engine_->promote(path_in(info[0]), slot_in(info[1]), ufrag.data()));
  }
  Napi::Value end(const Napi::CallbackInfo& info) {
    const Ufrag ufrag = ufrag_in(info[2]);
    return Napi::Boolean::New(env_, engine_->end(path_in(info[0]), slot_in(info[1]), ufrag.data()));
  }
  Napi::Value expire(const Napi::CallbackInfo&) { return Napi::Number::New(env_, engine_->expire()); }

  // (path) -> undefined, or { assured, owner, pending, idleMs }
  Napi::Value flow(const Napi::CallbackInfo& info) {
    const Flow* flow = engine_->flow(path_in(info[0]));
    if (flow == nullptr) return env_.Undefined();
    Napi::Object out = Napi::Object::New(env_);
    out.Set("assured", flow->assured());
    out.Set("owner", flow->owner);
    out.Set("pending", flow->pending);
    out.Set("idleMs", static_cast<double>(engine_->idle_ms(*flow)));
    return out;
  }

  Napi::Value flow_counts(const Napi::CallbackInfo&) {
    const FlowTable::Counts counts = engine_->flow_counts();
    Napi::Object out = Napi::Object::New(env_);
    out.Set("flows", counts.flows);
    out.Set("tentative", counts.tentative);
    out.Set("capacity", counts.capacity);
    return out;
  }

  // One Float64Array for each worker
  Napi::Value counters(const Napi::CallbackInfo&) {
    const auto all = engine_->counters();
    Napi::Array out = Napi::Array::New(env_, all.size());
    for (uint32_t w = 0; w < all.size(); w++) {
      Napi::Float64Array values = Napi::Float64Array::New(env_, kCounters);
      for (unsigned c = 0; c < kCounters; c++) values[c] = static_cast<double>(all[w][c]);
      out.Set(w, values);
    }
    return out;
  }

  Napi::Value receive_buffer_bytes(const Napi::CallbackInfo&) {
    const GrantedBuffers granted = engine_->granted_buffers();
    Napi::Object out = Napi::Object::New(env_);
    out.Set("public", granted.least_public);
    out.Set("trunk", granted.least_trunk);
    return out;
  }

  Napi::Value kernel_drops(const Napi::CallbackInfo&) {
    Napi::Object out = Napi::Object::New(env_);
    out.Set("public", static_cast<double>(engine_->public_kernel_drops()));
    out.Set("trunk", static_cast<double>(engine_->trunk_kernel_drops()));
    return out;
  }

  Napi::Env env_;
  Wake* wake_ = nullptr;
  std::unique_ptr<Engine> engine_;
  bool keys_set_ = false;
};

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", NativeEngine::define(env));
  exports.Set("openLanes", Napi::Function::New<open_lanes_for>(env, "openLanes"));
  exports.Set("makeKeptMemory", Napi::Function::New<make_kept_memory>(env, "makeKeptMemory"));
  exports.Set("dieWithParent", Napi::Function::New<die_with_parent>(env, "dieWithParent"));
  exports.Set("closeLanes", Napi::Function::New<close_lanes>(env, "closeLanes"));
  // As text: JavaScript's numbers have 53 bits.
  exports.Set("keptLayout", std::to_string(KeptMemory::kLayout));
  exports.Set("recordsVersion", kRecordsVersion);
  export_dtls(env, exports);
  exports.Set("TrunkEnd", define_trunk_end(env));
  return exports;
}

}  // namespace earshot

// The macro wants a name in the global namespace.
static Napi::Object Init(Napi::Env env, Napi::Object exports) { return earshot::init(env, exports); }
NODE_API_MODULE(earshot, Init)
