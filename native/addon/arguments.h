// Arguments from JavaScript, checked. JavaScript has validated and defaulted them; this is the second look, because a
// wrong type here would be a wild read. Each throws a TypeError that names the argument.
#pragma once

#include <napi.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "../core/directory.h"
#include "../core/keys.h"
#include "../core/path.h"
#include "../core/socket.h"

namespace earshot {

[[noreturn]] inline void refuse(Napi::Env env, const std::string& name, const std::string& expected) {
  throw Napi::TypeError::New(env, name + ": expected " + expected);
}

inline uint32_t uint_in(const Napi::Value& value, uint32_t least, uint32_t most, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= least && number <= most) || number != std::floor(number)) {
    refuse(value.Env(), name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return static_cast<uint32_t>(number);
}

inline uint64_t uint64_in(const Napi::Value& value, const char* name) {
  bool lossless = false;
  const uint64_t number = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) refuse(value.Env(), name, "a bigint of 64 bits");
  return number;
}

inline Slot slot_in(const Napi::Value& value) { return static_cast<Slot>(uint_in(value, 1, kMaxTransceivers, "slot")); }

inline Napi::Object object_in(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) refuse(value.Env(), name, "an object");
  return value.As<Napi::Object>();
}

inline Napi::Array array_in(const Napi::Value& value, uint32_t least, uint32_t most, const char* name) {
  if (!value.IsArray()) refuse(value.Env(), name, "an array");
  const Napi::Array array = value.As<Napi::Array>();
  if (array.Length() < least || array.Length() > most) {
    refuse(value.Env(), name, std::to_string(least) + " to " + std::to_string(most) + " elements");
  }
  return array;
}

inline std::span<uint8_t> bytes_in(const Napi::Value& value, size_t least, size_t most, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    refuse(value.Env(), name, "a Uint8Array");
  }
  Napi::Uint8Array bytes = value.As<Napi::Uint8Array>();
  if (bytes.ByteLength() < least || bytes.ByteLength() > most) {
    refuse(value.Env(), name, "at least " + std::to_string(least) + " and at most " + std::to_string(most) + " bytes");
  }
  return {bytes.Data(), bytes.ByteLength()};
}

inline Path path_in(const Napi::Value& value) {
  const auto bytes = bytes_in(value, 9, kMaxPathBytes, "path");
  Path path;
  if (read_path(bytes.data(), bytes.size(), path) != bytes.size()) refuse(value.Env(), "path", "path bytes");
  return path;
}

using Ufrag = std::array<uint8_t, 32>;

inline Ufrag ufrag_in(const Napi::Value& value) {
  // Latin-1, so that each of the 32 bytes of a frame is one character, whatever a transceiver put there.
  char text[34];
  size_t length = 0;
  Ufrag ufrag;
  if (napi_get_value_string_latin1(value.Env(), value, text, sizeof text, &length) != napi_ok ||
      length != ufrag.size()) {
    refuse(value.Env(), "ufrag", "a string of 32 characters");
  }
  std::memcpy(ufrag.data(), text, ufrag.size());
  return ufrag;
}

// (signing id, [{ id, tokenTag, trunkUp, trunkDown }])
inline KeySet keys_in(const Napi::Value& signing, const Napi::Value& all) {
  KeySet keys;
  keys.signing = static_cast<uint8_t>(uint_in(signing, 0, kKeyIds - 1, "signing key id"));
  const Napi::Array entries = array_in(all, 1, kKeyIds, "keys");
  for (uint32_t i = 0; i < entries.Length(); i++) {
    const Napi::Object in = object_in(entries.Get(i), "key");
    KeySet::Entry& entry = keys.entries[uint_in(in.Get("id"), 0, kKeyIds - 1, "key id")];
    entry.known = true;
    entry.token_tag = SipKey::from_bytes(bytes_in(in.Get("tokenTag"), 16, 16, "tokenTag").data());
    entry.trunk_up = SipKey::from_bytes(bytes_in(in.Get("trunkUp"), 16, 16, "trunkUp").data());
    entry.trunk_down = SipKey::from_bytes(bytes_in(in.Get("trunkDown"), 16, 16, "trunkDown").data());
  }
  if (!keys.entries[keys.signing].known) refuse(signing.Env(), "signing key id", "the id of one of the keys");
  return keys;
}

// { address, port }
inline Endpoint endpoint_in(const Napi::Value& value, const char* name) {
  const Napi::Object in = object_in(value, name);
  const Napi::Value address = in.Get("address");
  const auto port = static_cast<uint16_t>(uint_in(in.Get("port"), 0, 65'535, "port"));
  Endpoint endpoint;
  if (!address.IsString() || !Endpoint::parse(address.As<Napi::String>().Utf8Value(), port, endpoint)) {
    refuse(value.Env(), name, "a literal IPv4 or IPv6 address");
  }
  return endpoint;
}

}  // namespace earshot
