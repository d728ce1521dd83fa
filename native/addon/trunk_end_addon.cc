// The Node-API face of the transceiver's end of the trunk. It lives in the event loop of the transceiver: a uv_poll_t
// tells JavaScript that there is something to read, and JavaScript then takes a whole batch in one call.
#include "trunk_end_addon.h"

#include <uv.h>

#include <memory>
#include <utility>

#include "../core/trunk_end.h"
#include "arguments.h"

namespace earshot {
namespace {

void check(Napi::Env env, napi_status status, const char* what) {
  if (status != napi_ok) throw Napi::Error::New(env, std::string("Node-API: ") + what + " failed");
}

// Watches a socket. On the heap until libuv has let go of the handle.
class Readable {
 public:
  static Readable* create(Napi::Env env, Napi::Function callback) {
    uv_loop_t* loop = nullptr;
    check(env, napi_get_uv_event_loop(env, &loop), "napi_get_uv_event_loop");
    napi_ref reference = nullptr;
    check(env, napi_create_reference(env, callback, 1, &reference), "napi_create_reference");
    return new Readable(env, loop, reference);
  }
  // Returns 0 or an errno. Keeps the event loop running, as a listening socket does.
  int watch(int fd) {
    if (const int error = uv_poll_init(loop_, &poll_, fd)) return -error;
    poll_.data = this;
    watching_ = true;
    return -uv_poll_start(&poll_, UV_READABLE,
                          [](uv_poll_t* handle, int, int) { static_cast<Readable*>(handle->data)->call(); });
  }
  // Before the socket is closed. No call comes after it.
  void close() {
    // Fails only where the environment is so far gone that references are no more.
    if (napi_delete_reference(env_, std::exchange(callback_, nullptr)) != napi_ok) callback_ = nullptr;
    if (!watching_) {
      delete this;
      return;
    }
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_),
             [](uv_handle_t* handle) { delete static_cast<Readable*>(handle->data); });
  }

 private:
  Readable(Napi::Env env, uv_loop_t* loop, napi_ref callback) : env_(env), loop_(loop), callback_(callback) {}

  // Each result is looked at: when a worker thread is being terminated, any of these fails.
  void call() {
    napi_handle_scope scope = nullptr;
    if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
    napi_value callback = nullptr;
    napi_value receiver = nullptr;
    if (callback_ != nullptr && napi_get_reference_value(env_, callback_, &callback) == napi_ok &&
        callback != nullptr && napi_get_global(env_, &receiver) == napi_ok) {
      const napi_status called = napi_make_callback(env_, nullptr, receiver, callback, 0, nullptr, nullptr);
      napi_value error = nullptr;
      if (called == napi_pending_exception && napi_get_and_clear_last_exception(env_, &error) == napi_ok) {
        if (napi_fatal_exception(env_, error) != napi_ok) stop_watching();
      } else if (called != napi_ok) {
        stop_watching();
      }
    }
    if (napi_close_handle_scope(env_, scope) != napi_ok) stop_watching();
  }
  // Nobody can be told any more; a socket that stays readable must not make the loop spin.
  void stop_watching() { uv_poll_stop(&poll_); }

  Napi::Env env_;
  uv_loop_t* loop_;
  napi_ref callback_;
  bool watching_ = false;
  uv_poll_t poll_{};
};

TrunkEnd::Options read_options(const Napi::Object& in) {
  TrunkEnd::Options options;
  options.local = endpoint_in(in.Get("local"), "local");
  options.id = uint_in(in.Get("id"), 0, 0xffffffff, "id");
  options.cluster = static_cast<uint16_t>(uint_in(in.Get("cluster"), 0, 0xffff, "cluster"));
  options.epoch = uint64_in(in.Get("epoch"), "epoch");
  options.receive_buffer_bytes =
      static_cast<int>(uint_in(in.Get("receiveBufferBytes"), 0, 1u << 30, "receiveBufferBytes"));
  options.max_media_age_ms = uint_in(in.Get("maxMediaAgeMs"), 1, 1u << 30, "maxMediaAgeMs");
  return options;
}

Napi::TypedArray typed_array_in(const Napi::Value& value, napi_typedarray_type type, size_t least, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type ||
      value.As<Napi::TypedArray>().ElementLength() < least) {
    refuse(value.Env(), name, "a typed array of the right type, with at least " + std::to_string(least) + " elements");
  }
  return value.As<Napi::TypedArray>();
}

class NativeTrunkEnd : public Napi::ObjectWrap<NativeTrunkEnd> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "TrunkEnd",
                       {
                           InstanceMethod<&NativeTrunkEnd::set_keys>("setKeys"),
                           InstanceMethod<&NativeTrunkEnd::start>("start"),
                           InstanceMethod<&NativeTrunkEnd::receive>("receive"),
                           InstanceMethod<&NativeTrunkEnd::send>("send"),
                           InstanceMethod<&NativeTrunkEnd::drain>("drain"),
                           InstanceMethod<&NativeTrunkEnd::relay_ports>("relayPorts"),
                           InstanceMethod<&NativeTrunkEnd::kernel_drops>("kernelDrops"),
                           InstanceMethod<&NativeTrunkEnd::stop>("stop"),
                           StaticValue("batchBytes", Napi::Number::New(env, TrunkEnd::kBatchBytes)),
                           StaticValue("batchPlaces", Napi::Number::New(env, TrunkEnd::kBatchPlaces)),
                           StaticValue("frameBytesMost", Napi::Number::New(env, TrunkEnd::kFrameBytesMost)),
                       });
  }

  // (options, counts, onReadable). `counts` is a Float64Array with one number for each of trunk_end_counters.def, which
  // is counted in as it happens.
  explicit NativeTrunkEnd(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeTrunkEnd>(info), env_(info.Env()) {
    const TrunkEnd::Options options = read_options(object_in(info[0], "options"));
    const Napi::TypedArray counts = typed_array_in(info[1], napi_float64_array, kEndCounters, "counts");
    if (!info[2].IsFunction()) refuse(env_, "onReadable", "a function");
    counts_ = Napi::Persistent(counts);
    end_ = std::make_unique<TrunkEnd>(options, counts.As<Napi::Float64Array>().Data());
    readable_ = Readable::create(env_, info[2].As<Napi::Function>());
    const napi_status hooked = napi_add_env_cleanup_hook(env_, &NativeTrunkEnd::environment_ends, this);
    if (hooked != napi_ok) close();
    check(env_, hooked, "napi_add_env_cleanup_hook");
    has_hook_ = true;
  }

  ~NativeTrunkEnd() override {
    // Fails only while the environment ends, when the hook has run or will find nothing to do.
    if (has_hook_ && napi_remove_env_cleanup_hook(env_, &NativeTrunkEnd::environment_ends, this) == napi_ok) {
      has_hook_ = false;
    }
    close();
  }

 private:
  static void environment_ends(void* self) {
    auto* const end = static_cast<NativeTrunkEnd*>(self);
    end->has_hook_ = false;
    end->close();
  }

  void close() {
    open_ = false;
    if (readable_ != nullptr) std::exchange(readable_, nullptr)->close();
    if (end_ != nullptr) end_->close();
  }

  void need_open() const {
    if (!open_) throw Napi::Error::New(env_, "the trunk's end is not open");
  }

  // (signing id, keys)
  void set_keys(const Napi::CallbackInfo& info) {
    end_->set_keys(keys_in(info[0], info[1]));
    keys_set_ = true;
  }

  // Returns { errno } of what went wrong, or { port, receiveBufferBytes } as the kernel gave them.
  Napi::Value start(const Napi::CallbackInfo&) {
    if (readable_ == nullptr || open_) throw Napi::Error::New(env_, "the trunk's end has been started already");
    if (!keys_set_) throw Napi::Error::New(env_, "setKeys() comes before start()");
    Napi::Object out = Napi::Object::New(env_);
    int error = end_->open();
    if (error == 0) error = readable_->watch(end_->fd());
    if (error != 0) {
      close();
      out.Set("errno", error);
      return out;
    }
    open_ = true;
    out.Set("port", end_->local().port());
    out.Set("receiveBufferBytes", end_->granted_receive_buffer());
    return out;
  }

  // (buffer, at, places): reads a batch. Its frames go to `buffer`, of which batchBytes must be left from `at` on;
  // where they are goes to `places`, a Uint32Array of four times batchPlaces. Returns how many there are.
  Napi::Value receive(const Napi::CallbackInfo& info) {
    need_open();
    const auto buffer = bytes_in(info[0], TrunkEnd::kBatchBytes, 0xffffffff, "buffer");
    const auto most = static_cast<uint32_t>(buffer.size() - TrunkEnd::kBatchBytes);
    const uint32_t at = uint_in(info[1], 0, most, "at");
    constexpr size_t kNumbers = TrunkEnd::kBatchPlaces * sizeof(TrunkEnd::Place) / sizeof(uint32_t);
    uint32_t* const numbers =
        typed_array_in(info[2], napi_uint32_array, kNumbers, "places").As<Napi::Uint32Array>().Data();
    static_assert(sizeof(TrunkEnd::Place) == 4 * sizeof(uint32_t) && alignof(TrunkEnd::Place) == alignof(uint32_t));
    auto* const places = reinterpret_cast<TrunkEnd::Place*>(numbers);
    return Napi::Number::New(env_, end_->receive(buffer.data() + at, at, places));
  }

  // (outbox, length): sends the records there. A record is a relay port id, 32 bits little-endian, and a frame.
  void send(const Napi::CallbackInfo& info) {
    need_open();
    const auto outbox = bytes_in(info[0], 0, 0xffffffff, "outbox");
    const uint32_t length = uint_in(info[1], 0, static_cast<uint32_t>(outbox.size()), "length");
    if (!end_->send(outbox.data(), length)) refuse(env_, "outbox", "whole records");
  }

  void drain(const Napi::CallbackInfo&) { end_->drain(); }

  // [{ id, epoch, address, port, silentMs }]
  Napi::Value relay_ports(const Napi::CallbackInfo&) {
    const RelayPorts& ports = end_->ports();
    Napi::Array out = Napi::Array::New(env_, ports.count());
    for (unsigned slot = 1; slot <= ports.count(); slot++) {
      const RelayPort& port = ports[slot];
      const Endpoint at{port.address, port.address_length};
      Napi::Object each = Napi::Object::New(env_);
      each.Set("id", port.id);
      each.Set("epoch", Napi::BigInt::New(env_, port.epoch));
      each.Set("address", at.host());
      each.Set("port", at.port());
      each.Set("silentMs", static_cast<double>(end_->silent_ms(slot)));
      out.Set(slot - 1, each);
    }
    return out;
  }

  Napi::Value kernel_drops(const Napi::CallbackInfo&) { return Napi::Number::New(env_, end_->kernel_drops()); }

  void stop(const Napi::CallbackInfo&) { close(); }

  Napi::Env env_;
  Napi::Reference<Napi::TypedArray> counts_;
  std::unique_ptr<TrunkEnd> end_;
  Readable* readable_ = nullptr;
  bool has_hook_ = false;
  bool keys_set_ = false;
  bool open_ = false;
};

}  // namespace

Napi::Function define_trunk_end(Napi::Env env) { return NativeTrunkEnd::define(env); }

}  // namespace earshot
