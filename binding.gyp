{
  "targets": [{
    "target_name": "earshot",
    "sources": [
      "native/addon/addon.cc",
      "native/addon/dtls.cc",
      "native/addon/trunk_end_addon.cc",
      "native/core/client_sender.cc",
      "native/core/directory.cc",
      "native/core/downlink.cc",
      "native/core/engine.cc",
      "native/core/flow_table.cc",
      "native/core/hand_over.cc",
      "native/core/kept_memory.cc",
      "native/core/lanes.cc",
      "native/core/relay_ports.cc",
      "native/core/senders.cc",
      "native/core/socket.cc",
      "native/core/stun.cc",
      "native/core/token.cc",
      "native/core/trunk.cc",
      "native/core/trunk_end.cc",
      "native/core/trunk_packer.cc",
      "native/core/trunk_sender.cc",
      "native/core/uplink.cc",
      "native/core/worker.cc",
      "native/dtls/dtls_session.cc",
      "native/dtls/fingerprint.cc",
      "native/dtls/identity.cc",
      "native/dtls/record_gate.cc",
      "native/dtls/srtp_cipher.cc",
      "native/dtls/srtp_session.cc",
      "native/dtls/ssl_server.cc"
    ],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
    "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_CPP_EXCEPTIONS"],
    # Node 20's common.gypi asks for gnu++17 and no exceptions.
    "cflags_cc!": ["-std=gnu++17", "-fno-exceptions"],
    "cflags_cc": ["-std=c++20", "-O3", "-fexceptions", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"],
    # OpenSSL is Node's own, in the executable. A symbol that is missing fails when the addon is loaded, not when it is first used.
    "ldflags": ["-Wl,-z,now"]
  }]
}
