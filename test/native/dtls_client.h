// A DTLS client of OpenSSL's in memory: the honest peer of the server's tests, and with its options the dishonest one.
// What it sends collects in `sent`, one entry per datagram; nothing goes anywhere by itself.
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dtls/dtls_session.h"

namespace dtls_test {

using earshot::Bytes;

// A certificate of its own, with its key.
struct Certificate {
  earshot::KeyPtr key{EVP_EC_gen("P-256")};
  earshot::X509Ptr x509{X509_new()};

  Certificate() {
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3'600);
    X509_set_pubkey(x509.get(), key.get());
    X509_sign(x509.get(), key.get(), EVP_sha256());
  }
  Bytes digest(const EVP_MD* hash) const {
    Bytes out(static_cast<size_t>(EVP_MD_get_size(hash)));
    unsigned length = 0;
    X509_digest(x509.get(), hash, out.data(), &length);
    return out;
  }
};

struct ClientOptions {
  const Certificate* certificate = nullptr;
  const char* srtp_profiles = "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM";
  const char* ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  long mtu = 1'200;
};

class Client {
 public:
  explicit Client(const ClientOptions& options) : context_(SSL_CTX_new(DTLS_client_method())) {
    SSL_CTX* context = context_.get();
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_cipher_list(context, options.ciphers);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(
        context, [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
    SSL_CTX_set_options(context, SSL_OP_NO_QUERY_MTU);
    if (options.srtp_profiles != nullptr) SSL_CTX_set_tlsext_use_srtp(context, options.srtp_profiles);
    if (options.certificate != nullptr) {
      SSL_CTX_use_certificate(context, options.certificate->x509.get());
      SSL_CTX_use_PrivateKey(context, options.certificate->key.get());
    }
    ssl_.reset(SSL_new(context));
    BIO* bio = BIO_new(method());
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_mtu(ssl_.get(), options.mtu);
    // OpenSSL takes less than 15 ms for nothing, and would send without end.
    DTLS_set_timer_cb(ssl_.get(), [](SSL*, unsigned) { return 20'000u; });
    SSL_set_connect_state(ssl_.get());
  }

  // Begins, or goes on.
  void handshake() {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) {
      connected = true;
    } else if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_SSL) {
      failed = true;
    }
  }
  void receive(std::span<const uint8_t> datagram) {
    in_ = datagram;
    if (!connected) handshake();
    if (connected) read();
    in_ = {};
  }
  // Sends its last flight again, whether or not its timer says so.
  void retransmit() {
    ERR_clear_error();
    timeval left{};
    if (DTLSv1_get_timeout(ssl_.get(), &left) == 1) {
      std::this_thread::sleep_for(std::chrono::seconds(left.tv_sec) + std::chrono::microseconds(left.tv_usec));
    }
    DTLSv1_handle_timeout(ssl_.get());
  }
  void send(const std::string& message) {
    ERR_clear_error();
    SSL_write(ssl_.get(), message.data(), static_cast<int>(message.size()));
  }
  void close() { SSL_shutdown(ssl_.get()); }
  std::string profile() const {
    const SRTP_PROTECTION_PROFILE* chosen = SSL_get_selected_srtp_profile(ssl_.get());
    return chosen == nullptr ? "" : chosen->name;
  }
  Bytes server_digest() const {
    Bytes out(32);
    unsigned length = 0;
    X509_digest(SSL_get0_peer_certificate(ssl_.get()), EVP_sha256(), out.data(), &length);
    return out;
  }
  // The client's half of RFC 5764's keys.
  earshot::SrtpSession srtp() const {
    const SRTP_PROTECTION_PROFILE* chosen = SSL_get_selected_srtp_profile(ssl_.get());
    const auto number = static_cast<earshot::SrtpProfile>(chosen->id);
    const size_t salt = earshot::srtp_salt_bytes(number);
    Bytes all(2 * (16 + salt));
    const std::string label = "EXTRACTOR-dtls_srtp";
    SSL_export_keying_material(ssl_.get(), all.data(), all.size(), label.data(), label.size(), nullptr, 0, 0);
    const std::span<const uint8_t> view(all);
    return *earshot::SrtpSession::make(number, {.local_key = view.first(16),
                                                .local_salt = view.subspan(32, salt),
                                                .remote_key = view.subspan(16, 16),
                                                .remote_salt = view.subspan(32 + salt, salt)});
  }

  std::vector<Bytes> sent;
  std::vector<std::string> received;
  bool connected = false;
  bool failed = false;
  bool closed = false;

 private:
  void read() {
    ERR_clear_error();
    std::array<char, 16'384> message;
    int length = 0;
    while ((length = SSL_read(ssl_.get(), message.data(), static_cast<int>(message.size()))) > 0) {
      received.emplace_back(message.data(), static_cast<size_t>(length));
    }
    if (SSL_get_error(ssl_.get(), length) == SSL_ERROR_ZERO_RETURN) closed = true;
    if (SSL_get_error(ssl_.get(), length) == SSL_ERROR_SSL) failed = true;
  }

  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "client datagrams");
      BIO_meth_set_read(m, [](BIO* bio, char* to, int length) {
        auto* self = static_cast<Client*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        if (self->in_.empty()) {
          BIO_set_retry_read(bio);
          return -1;
        }
        const size_t taken = std::min(static_cast<size_t>(length), self->in_.size());
        std::memcpy(to, self->in_.data(), taken);
        self->in_ = {};
        return static_cast<int>(taken);
      });
      BIO_meth_set_write(m, [](BIO* bio, const char* from, int length) {
        BIO_clear_retry_flags(bio);
        const auto* bytes = reinterpret_cast<const uint8_t*>(from);
        static_cast<Client*>(BIO_get_data(bio))->sent.emplace_back(bytes, bytes + length);
        return length;
      });
      BIO_meth_set_ctrl(m, [](BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1L : 0L; });
      return m;
    }();
    return made;
  }

  earshot::SslContextPtr context_;
  std::span<const uint8_t> in_;
  earshot::SslPtr ssl_;
};

inline const earshot::Identity& identity() {
  static const earshot::Identity made = *earshot::Identity::make();
  return made;
}

// Of SHA-256.
inline earshot::Fingerprints allow(const Certificate& certificate) {
  earshot::Fingerprints fingerprints;
  fingerprints.add(certificate.digest(EVP_sha256()));
  return fingerprints;
}

// An honest client with its certificate, and a server that expects it.
struct Pair {
  Certificate certificate;
  Client client;
  earshot::DtlsSession server;

  explicit Pair(ClientOptions options = {})
      : client(with(options, certificate)), server(identity(), allow(certificate), true) {}
  Pair(const ClientOptions& options, earshot::Fingerprints allowed, bool needs_srtp = true)
      : client(options), server(identity(), std::move(allowed), needs_srtp) {}

  size_t to_server() {
    size_t refused = 0;
    for (const Bytes& datagram : std::exchange(client.sent, {})) refused += server.feed(datagram);
    return refused;
  }
  void to_client() {
    for (const Bytes& datagram : std::exchange(server.datagrams(), {})) client.receive(datagram);
  }
  // Until neither has anything to say.
  void run() {
    client.handshake();
    while (!client.sent.empty() || !server.datagrams().empty()) {
      to_server();
      to_client();
    }
  }
  // A message goes to the server and another comes back.
  bool talks() {
    client.send("to the server");
    to_server();
    const bool there = server.messages().size() == 1 && server.messages()[0].size() == 13;
    server.messages().clear();
    const Bytes answer = {'b', 'a', 'c', 'k'};
    client.received.clear();
    server.send(answer);
    to_client();
    return there && client.received == std::vector<std::string>{"back"};
  }

  static ClientOptions with(ClientOptions options, const Certificate& certificate) {
    options.certificate = &certificate;
    return options;
  }
};

}  // namespace dtls_test
