// The numbers of DTLS and SRTP that were chosen: unit, origin, and what breaks if one is changed.
#pragma once

#include <cstddef>

namespace earshot {

// ---- DTLS ----

// Bytes of UDP payload that a handshake flight is cut into. Browsers use 1,200; with a frame's overhead it fits a trunk
// datagram of 1,400. Larger, and flights need trunk datagrams of their own, which some networks fragment.
inline constexpr long kMtuBytes = 1'200;

// One handshake message of a client. Browsers' largest is a ClientHello of 1.5 KiB; a chain of CA-issued certificates
// has a few KiB. What a client can make a session hold is four times this, and only until the handshake is over.
inline constexpr size_t kMaxHandshakeMessageBytes = 8'192;

// Encrypted records that came before the messages that make their keys, and how large: a Finished under GCM has 61
// bytes.
inline constexpr size_t kMaxEarlyRecords = 4;
inline constexpr size_t kMaxEarlyRecordBytes = 128;

// Retransmission of our flight: RFC 6347, section 4.2.4.1, proposes 1 s, for networks that do not know the peer. ICE
// has just had an answer from this one, and setting up a call is what a person waits for.
inline constexpr unsigned kFirstRetransmitUs = 100'000;
inline constexpr unsigned kLongestRetransmitUs = 3'000'000;

// A GCM record's explicit nonce and tag (RFC 5288): the length of the shortest that can be one. OpenSSL ends the
// session on less, and it does so before it knows who has sent it.
inline constexpr size_t kMinSealedBytes = 8 + 16;

// ---- SRTP ----

// Packets that may come late: 20 s of voice, 1 s of video at 8 Mbit/s. RFC 3711, section 3.3.2, wants 64 at least.
inline constexpr size_t kSrtpWindow = 1'024;

// SSRCs of one direction. A forgotten SSRC could be replayed, so none is forgotten, and a further one is refused.
inline constexpr size_t kMaxSsrcs = 64;

// Sent packets of an SSRC that can be sent again, as after a NACK: as many as werift keeps.
inline constexpr size_t kResendPackets = 128;

}  // namespace earshot
