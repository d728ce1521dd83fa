/** Owns offers as browsers write them, m-line by m-line, so that a test can put together what it needs. */

const FINGERPRINT = Array.from({ length: 32 }, (_, i) => (i + 160).toString(16).toUpperCase()).join(":");

export const OFFERED = { ufrag: "aBcD", password: "0123456789abcdefghijklmn" };

const TRANSPORT = [
  "c=IN IP4 0.0.0.0",
  "a=rtcp:9 IN IP4 0.0.0.0",
  `a=ice-ufrag:${OFFERED.ufrag}`,
  `a=ice-pwd:${OFFERED.password}`,
  "a=ice-options:trickle",
  `a=fingerprint:sha-256 ${FINGERPRINT}`,
  "a=setup:actpass",
];

type Direction = "sendrecv" | "sendonly" | "recvonly" | "inactive";

export const audioLine = (mid: string, direction: Direction = "sendrecv"): string[] => [
  "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
  ...TRANSPORT,
  `a=mid:${mid}`,
  "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
  "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
  "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
  `a=${direction}`,
  "a=msid:- 5f7a4c1e",
  "a=rtcp-mux",
  "a=rtcp-rsize",
  "a=rtpmap:111 opus/48000/2",
  "a=rtcp-fb:111 transport-cc",
  "a=fmtp:111 minptime=10;useinbandfec=1",
  "a=rtpmap:63 red/48000/2",
  "a=fmtp:63 111/111",
  "a=rtpmap:9 G722/8000",
  "a=rtpmap:0 PCMU/8000",
  "a=rtpmap:8 PCMA/8000",
  "a=rtpmap:13 CN/8000",
  "a=rtpmap:110 telephone-event/48000",
  "a=rtpmap:126 telephone-event/8000",
  "a=ssrc:3735928559 cname:x",
];

export const videoLine = (mid: string, direction: Direction = "sendrecv"): string[] => [
  "m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 107 104",
  ...TRANSPORT,
  `a=mid:${mid}`,
  "a=extmap:14 urn:ietf:params:rtp-hdrext:toffset",
  "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
  "a=extmap:13 urn:3gpp:video-orientation",
  `a=${direction}`,
  "a=rtcp-mux",
  "a=rtpmap:96 VP8/90000",
  "a=rtcp-fb:96 goog-remb",
  "a=rtcp-fb:96 ccm fir",
  "a=rtcp-fb:96 nack",
  "a=rtcp-fb:96 nack pli",
  "a=rtpmap:97 rtx/90000",
  "a=fmtp:97 apt=96",
  "a=rtpmap:103 H264/90000",
  "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
  "a=rtcp-fb:103 nack pli",
  "a=rtpmap:104 H265/90000",
  "a=ssrc-group:FID 2 3",
  "a=ssrc:2 cname:x",
  "a=ssrc:3 cname:x",
];

export const dataLine = (mid: string): string[] => [
  "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
  ...TRANSPORT,
  `a=mid:${mid}`,
  "a=sctp-port:5000",
  "a=max-message-size:262144",
];

/** All m-lines in one group, but for those whose port is 0. */
export function offerOf(...sections: readonly (readonly string[])[]): string {
  const mids = sections
    .filter(([mediaLine]) => !/^m=\S+ 0 /.test(mediaLine!))
    .map((lines) => lines.find((line) => line.startsWith("a=mid:"))!.slice(6));
  const session = [
    "v=0",
    "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    `a=group:BUNDLE ${mids.join(" ")}`,
    "a=extmap-allow-mixed",
    "a=msid-semantic: WMS",
  ];
  return `${[session, ...sections].flat().join("\r\n")}\r\n`;
}

/** As a client offers an m-line that it does not use any more. */
export const rejected = (lines: readonly string[]): string[] =>
  lines.map((line) => line.replace(/^(m=\S+) 9 /, "$1 0 "));
