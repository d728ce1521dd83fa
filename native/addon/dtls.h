// The Node-API face of DTLS and SRTP.
#pragma once

#include <napi.h>

namespace earshot {

// Adds DtlsIdentity and DtlsSession to what the addon exports.
void export_dtls(Napi::Env env, Napi::Object exports);

}  // namespace earshot
