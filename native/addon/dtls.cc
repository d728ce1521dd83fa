// Checks arguments, and copies what goes to JavaScript; the protocol is in native/dtls. Nothing here calls JavaScript
// back: what a call has brought about is in the flags that it returns, and is taken by further calls.
#include "dtls.h"

#include <optional>
#include <utility>

#include "../dtls/dtls_session.h"
#include "arguments.h"

namespace earshot {
namespace {

constexpr napi_type_tag kIdentityTag = {0x5c3a86f1d0974be2, 0xa1e7d8435b20c69f};

// What `feed` and the like return. src/transceiver/werift/crypto-binding.ts reads it.
constexpr uint32_t kStateMask = 3;  // DtlsState
constexpr uint32_t kHasDatagrams = 4;
constexpr uint32_t kHasMessages = 8;
constexpr uint32_t kHasRefused = 16;

// More than any record or packet that a datagram can bring.
constexpr size_t kMaxBytes = 65'535;

Napi::Array take(Napi::Env env, std::vector<Bytes>& all) {
  const std::vector<Bytes> taken = std::exchange(all, {});
  Napi::Array out = Napi::Array::New(env, taken.size());
  for (uint32_t i = 0; i < taken.size(); i++) {
    out.Set(i, Napi::Buffer<uint8_t>::Copy(env, taken[i].data(), taken[i].size()));
  }
  return out;
}

class IdentityHandle : public Napi::ObjectWrap<IdentityHandle> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "DtlsIdentity",
                       {
                           InstanceAccessor<&IdentityHandle::certificate>("certificate"),
                           InstanceAccessor<&IdentityHandle::fingerprint>("fingerprint"),
                       });
  }

  explicit IdentityHandle(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<IdentityHandle>(info), identity_(Identity::make()) {
    if (!identity_) throw Napi::Error::New(info.Env(), "OpenSSL cannot make a P-256 certificate");
    info.This().As<Napi::Object>().TypeTag(&kIdentityTag);
  }

  static const Identity& in(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kIdentityTag)) {
      refuse(value.Env(), "identity", "a DtlsIdentity");
    }
    return *Unwrap(value.As<Napi::Object>())->identity_;
  }

 private:
  Napi::Value certificate(const Napi::CallbackInfo& info) {
    const Bytes& der = identity_->certificate();
    return Napi::Buffer<uint8_t>::Copy(info.Env(), der.data(), der.size());
  }
  Napi::Value fingerprint(const Napi::CallbackInfo& info) {
    const auto& digest = identity_->fingerprint();
    return Napi::Buffer<uint8_t>::Copy(info.Env(), digest.data(), digest.size());
  }

  std::optional<Identity> identity_;
};

Fingerprints fingerprints_in(const Napi::Value& value) {
  const Napi::Array digests = array_in(value, 1, 64, "fingerprints");
  Fingerprints out;
  for (uint32_t i = 0; i < digests.Length(); i++) {
    if (!out.add(bytes_in(digests.Get(i), 32, 64, "fingerprint"))) {
      refuse(value.Env(), "fingerprint", "a digest of SHA-256, SHA-384 or SHA-512");
    }
  }
  return out;
}

class SessionHandle : public Napi::ObjectWrap<SessionHandle> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "DtlsSession",
                       {
                           InstanceMethod<&SessionHandle::feed>("feed"),
                           InstanceMethod<&SessionHandle::send>("send"),
                           InstanceMethod<&SessionHandle::on_timeout>("onTimeout"),
                           InstanceMethod<&SessionHandle::timeout_ms>("timeoutMs"),
                           InstanceMethod<&SessionHandle::close>("close"),
                           InstanceMethod<&SessionHandle::take_datagrams>("takeDatagrams"),
                           InstanceMethod<&SessionHandle::take_messages>("takeMessages"),
                           InstanceMethod<&SessionHandle::details>("details"),
                           InstanceMethod<&SessionHandle::protect<&SrtpSession::protect_rtp>>("protectRtp"),
                           InstanceMethod<&SessionHandle::protect<&SrtpSession::protect_rtcp>>("protectRtcp"),
                           InstanceMethod<&SessionHandle::unprotect<&SrtpSession::unprotect_rtp>>("unprotectRtp"),
                           InstanceMethod<&SessionHandle::unprotect<&SrtpSession::unprotect_rtcp>>("unprotectRtcp"),
                           StaticValue("srtpRoom", Napi::Number::New(env, kSrtpRoom)),
                       });
  }

  // (identity, fingerprints, needs SRTP)
  explicit SessionHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SessionHandle>(info) {
    const Identity& identity = IdentityHandle::in(info[0]);
    Fingerprints allowed = fingerprints_in(info[1]);
    if (!info[2].IsBoolean()) refuse(info.Env(), "needsSrtp", "a boolean");
    session_.emplace(identity, std::move(allowed), info[2].As<Napi::Boolean>().Value());
  }

 private:
  Napi::Value flags(Napi::Env env, bool has_refused = false) {
    uint32_t all = static_cast<uint32_t>(session_->state()) & kStateMask;
    if (!session_->datagrams().empty()) all |= kHasDatagrams;
    if (!session_->messages().empty()) all |= kHasMessages;
    if (has_refused) all |= kHasRefused;
    return Napi::Number::New(env, all);
  }

  // (datagram) -> flags
  Napi::Value feed(const Napi::CallbackInfo& info) {
    const size_t refused = session_->feed(bytes_in(info[0], 0, kMaxBytes, "datagram"));
    return flags(info.Env(), refused > 0);
  }
  // (message) -> flags
  Napi::Value send(const Napi::CallbackInfo& info) {
    session_->send(bytes_in(info[0], 0, kMaxBytes, "message"));
    return flags(info.Env());
  }
  // -> flags
  Napi::Value on_timeout(const Napi::CallbackInfo& info) {
    session_->on_timeout();
    return flags(info.Env());
  }
  // -> milliseconds until onTimeout() is due, or -1
  Napi::Value timeout_ms(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(session_->timeout_ms()));
  }
  // -> flags
  Napi::Value close(const Napi::CallbackInfo& info) {
    session_->close();
    return flags(info.Env());
  }
  Napi::Value take_datagrams(const Napi::CallbackInfo& info) { return take(info.Env(), session_->datagrams()); }
  Napi::Value take_messages(const Napi::CallbackInfo& info) { return take(info.Env(), session_->messages()); }

  // -> { failure, srtpProfile, cipher, certificate }
  Napi::Value details(const Napi::CallbackInfo& info) {
    const Bytes der = session_->peer_certificate();
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("failure", static_cast<uint32_t>(session_->failure()));
    out.Set("srtpProfile", session_->srtp_profile());
    out.Set("cipher", session_->cipher());
    out.Set("certificate", Napi::Buffer<uint8_t>::Copy(info.Env(), der.data(), der.size()));
    return out;
  }

  // (buffer, packet's length) -> its length now, or an SrtpRefusal; undefined without keys
  template <int (SrtpSession::*Protect)(std::span<uint8_t>, size_t)>
  Napi::Value protect(const Napi::CallbackInfo& info) {
    const auto buffer = bytes_in(info[0], 0, kMaxBytes, "buffer");
    const size_t length = uint_in(info[1], 0, static_cast<uint32_t>(buffer.size()), "length");
    SrtpSession* srtp = session_->srtp();
    if (srtp == nullptr) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), (srtp->*Protect)(buffer, length));
  }
  // (packet) -> its length now, or an SrtpRefusal; undefined without keys
  template <int (SrtpSession::*Unprotect)(std::span<uint8_t>)>
  Napi::Value unprotect(const Napi::CallbackInfo& info) {
    const auto packet = bytes_in(info[0], 0, kMaxBytes, "packet");
    SrtpSession* srtp = session_->srtp();
    if (srtp == nullptr) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), (srtp->*Unprotect)(packet));
  }

  std::optional<DtlsSession> session_;
};

}  // namespace

void export_dtls(Napi::Env env, Napi::Object exports) {
  exports.Set("DtlsIdentity", IdentityHandle::define(env));
  exports.Set("DtlsSession", SessionHandle::define(env));
}

}  // namespace earshot
