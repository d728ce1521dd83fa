import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAX_MEDIA_LINES, MAX_OFFER_BYTES } from "../../src/transceiver/limits.ts";
import { readOffer } from "../../src/transceiver/sdp-offer.ts";

const FINGERPRINT = Array.from({ length: 32 }, (_, i) => (i + 160).toString(16).toUpperCase()).join(":");
const TRANSPORT = [
  "a=ice-ufrag:abcd",
  "a=ice-pwd:0123456789abcdefghijkl",
  `a=fingerprint:sha-256 ${FINGERPRINT}`,
  "a=setup:actpass",
];
const AUDIO = [
  "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
  "c=IN IP4 0.0.0.0",
  "a=rtcp:9 IN IP4 0.0.0.0",
  "a=candidate:1 1 udp 2122260223 3c6f1f6e-0000-4000-8000-000000000000.local 50000 typ host",
  ...TRANSPORT,
  "a=mid:0",
  "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
  "a=extmap:15 urn:example:two-byte",
  "a=sendrecv",
  "a=msid:stream track",
  "a=rtcp-mux",
  "a=rtpmap:111 opus/48000/2",
  "a=rtcp-fb:111 transport-cc",
  "a=rtcp-fb:111 nack",
  "a=fmtp:111 minptime=10;useinbandfec=1",
  "a=fmtp:0 without=rtpmap",
  "a=ssrc:1234 cname:x",
];
const DATA = [
  "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
  "c=IN IP4 0.0.0.0",
  ...TRANSPORT,
  "a=mid:1",
  "a=sctp-port:5000",
  "a=max-message-size:262144",
];
const SESSION = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=msid-semantic: WMS"];

const text = (...parts: readonly (readonly string[])[]): string => `${parts.flat().join("\r\n")}\r\n`;
const without = (lines: readonly string[], ...prefixes: string[]): string[] =>
  lines.filter((line) => !prefixes.some((prefix) => line.startsWith(prefix)));
const having = (lines: readonly string[], from: string, to: string): string[] =>
  lines.map((line) => (line.startsWith(from) ? to : line));

describe("an offer is rewritten to what is acted on", () => {
  test("candidates, unknown attributes and feedback that nobody gives are left out", () => {
    const { sdp, hasMedia } = readOffer(text(SESSION, AUDIO, DATA));
    assert.ok(hasMedia);
    assert.deepEqual(sdp.split("\r\n"), [
      "v=0",
      "o=- 0 0 IN IP4 0.0.0.0",
      "s=-",
      "t=0 0",
      "a=group:BUNDLE 0 1",
      "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
      "c=IN IP4 0.0.0.0",
      "a=sendrecv",
      "a=rtcp-mux",
      "a=ice-ufrag:abcd",
      "a=ice-pwd:0123456789abcdefghijkl",
      "a=setup:actpass",
      `a=fingerprint:sha-256 ${FINGERPRINT}`,
      "a=mid:0",
      "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
      "a=msid:stream track",
      "a=rtpmap:111 opus/48000/2",
      "a=rtcp-fb:111 nack",
      "a=fmtp:111 minptime=10;useinbandfec=1",
      "a=ssrc:1234 cname:x",
      "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
      "c=IN IP4 0.0.0.0",
      "a=sendrecv",
      "a=rtcp-mux",
      "a=ice-ufrag:abcd",
      "a=ice-pwd:0123456789abcdefghijkl",
      "a=setup:actpass",
      `a=fingerprint:sha-256 ${FINGERPRINT}`,
      "a=mid:1",
      "a=sctp-port:5000",
      "a=max-message-size:262144",
      "",
    ]);
  });

  const same: [name: string, sdp: string][] = [
    ["lines may end in LF alone", text(SESSION, AUDIO, DATA).replaceAll("\r\n", "\n")],
    [
      "transport attributes may be at session level",
      text(
        SESSION,
        TRANSPORT,
        without(AUDIO, "a=ice-", "a=fingerprint", "a=setup"),
        without(DATA, "a=ice-", "a=fingerprint", "a=setup"),
      ),
    ],
    [
      "a bundle-only m-line has port 0 and no transport attributes",
      text(SESSION, AUDIO, [
        ...having(
          without(DATA, "a=ice-", "a=fingerprint", "a=setup"),
          "m=",
          "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        ),
        "a=bundle-only",
      ]),
    ],
    ["sendrecv need not be said", text(SESSION, without(AUDIO, "a=sendrecv"), DATA)],
    ["a weaker fingerprint beside a good one is ignored", text(SESSION, [...AUDIO, "a=fingerprint:sha-1 00:11"], DATA)],
    ["simulcast is not taken up", text(SESSION, [...AUDIO, "a=rid:h send", "a=simulcast:send h"], DATA)],
  ];
  for (const [name, sdp] of same) {
    test(name, () => assert.equal(readOffer(sdp).sdp, readOffer(text(SESSION, AUDIO, DATA)).sdp));
  }

  test("each m-line keeps an ufrag of its own", () => {
    const { sdp, mid, ufrags } = readOffer(text(SESSION, AUDIO, having(DATA, "a=ice-ufrag", "a=ice-ufrag:efgh")));
    assert.deepEqual(sdp.match(/^a=ice-ufrag:.*$/gm), ["a=ice-ufrag:abcd", "a=ice-ufrag:efgh"]);
    assert.deepEqual([mid, ufrags], ["0", ["abcd", "efgh"]]);
  });

  test("a single m-line needs no BUNDLE, and data alone is no media", () => {
    const { sdp, hasMedia } = readOffer(text(without(SESSION, "a=group"), DATA));
    assert.equal(hasMedia, false);
    assert.doesNotMatch(sdp, /BUNDLE/);
  });

  test("a rejected audio line stays in its place", () => {
    const rejected = having(AUDIO, "m=", "m=audio 0 UDP/TLS/RTP/SAVPF 111 0");
    const { sdp } = readOffer(text(having(SESSION, "a=group", "a=group:BUNDLE 1"), rejected, DATA));
    assert.deepEqual(sdp.match(/^m=\S+ \d+/gm), ["m=audio 0", "m=application 9"]);
    assert.match(sdp, /^a=group:BUNDLE 1\r$/m);
  });
});

describe("an offer to WHIP", () => {
  const video = [
    "m=video 9 UDP/TLS/RTP/SAVPF 96",
    ...TRANSPORT,
    "a=mid:2",
    "a=sendonly",
    "a=rtcp-mux",
    "a=rtpmap:96 VP8/90000",
  ];
  const session = having(SESSION, "a=group", "a=group:BUNDLE 0 2");

  test("is read as one of a client that only sends, whatever else it could", () => {
    for (const direction of ["a=sendonly", "a=sendrecv"]) {
      const { sdp } = readOffer(text(session, having(AUDIO, "a=sendrecv", direction), video), { ingest: true });
      assert.deepEqual(sdp.match(/^a=(send|recv|in).*$/gm), ["a=sendonly", "a=sendonly"]);
    }
  });

  const refused: [name: string, sdp: string, says: RegExp][] = [
    [
      "of a client that only receives",
      text(session, having(AUDIO, "a=sendrecv", "a=recvonly")),
      /a=recvonly for audio/,
    ],
    ["of an inactive line", text(session, having(AUDIO, "a=sendrecv", "a=inactive")), /a=inactive for audio/],
    [
      "of two audio lines",
      text(session, AUDIO, having(AUDIO, "a=mid", "a=mid:2")),
      /more than one audio m-line: WHIP has at most one/,
    ],
    ["of data", text(SESSION, AUDIO, DATA), /a data channel: WHIP carries audio and video alone/],
  ];
  for (const [name, sdp, says] of refused) {
    test(`${name} is refused`, () =>
      assert.throws(() => readOffer(sdp, { ingest: true }), { code: "SDP_UNSUPPORTED", message: says }));
  }
});

describe("refused", () => {
  const invalid: [name: string, sdp: string, says: RegExp][] = [
    ["nothing", "", /expected "v=0" as the first line, got ""/],
    ["garbage", "hello", /expected "v=0" as the first line, got "hello"/],
    ["a line that is none", text(SESSION, ["oops"], AUDIO), /in line 7, got "oops"/],
    ["a zero byte", text(SESSION, ["a=x\0y"], AUDIO), /in line 7/],
    ["no m-line", text(SESSION), /at least one "m=" line/],
    ["a broken m-line", text(SESSION, ["m=audio"]), /expected "m=<media> <port> <proto> <formats>"/],
    ["too much", text(SESSION, AUDIO, [`a=x:${"x".repeat(MAX_OFFER_BYTES)}`]), /at most 65536 bytes, got/],
    ["no ufrag", text(SESSION, without(AUDIO, "a=ice-ufrag"), DATA), /expected an a=ice-ufrag, got none/],
    ["no password", text(SESSION, without(AUDIO, "a=ice-pwd"), DATA), /expected an a=ice-pwd, got none/],
    [
      "a short password",
      text(SESSION, having(AUDIO, "a=ice-pwd", "a=ice-pwd:x"), DATA),
      /expected 22 to 256 ice-chars/,
    ],
    [
      "an ufrag with a colon",
      text(SESSION, having(AUDIO, "a=ice-ufrag", "a=ice-ufrag:ab:cd"), DATA),
      /4 to 256 ice-chars/,
    ],
    ["no fingerprint", text(SESSION, without(AUDIO, "a=fingerprint"), DATA), /expected an a=fingerprint, got none/],
    ["no setup", text(SESSION, without(AUDIO, "a=setup"), DATA), /expected a=setup:actpass/],
    ["an unknown setup", text(SESSION, having(AUDIO, "a=setup", "a=setup:maybe"), DATA), /a=setup:"maybe"/],
    ["no mid", text(SESSION, without(AUDIO, "a=mid"), DATA), /expected an a=mid/],
    ["one mid twice", text(SESSION, having(AUDIO, "a=mid", "a=mid:1"), DATA), /got one twice/],
    ["data without a port", text(SESSION, AUDIO, without(DATA, "a=sctp-port")), /expected "a=sctp-port"/],
  ];
  const unsupported: [name: string, sdp: string, says: RegExp][] = [
    ["ice-lite for the session", text([...SESSION, "a=ice-lite"], AUDIO, DATA), /ice-lite/],
    ["ice-lite for an m-line", text(SESSION, AUDIO, [...DATA, "a=ice-lite"]), /ice-lite/],
    ["a passive client", text(SESSION, having(AUDIO, "a=setup", "a=setup:passive"), DATA), /a=setup:passive/],
    ["a held connection", text(SESSION, having(AUDIO, "a=setup", "a=setup:holdconn"), DATA), /a=setup:holdconn/],
    ["SHA-1 alone", text(SESSION, having(AUDIO, "a=fingerprint", "a=fingerprint:sha-1 00:11"), DATA), /SHA-256/],
    [
      "a fingerprint too short",
      text(SESSION, having(AUDIO, "a=fingerprint", "a=fingerprint:sha-256 00:11"), DATA),
      /SHA-256/,
    ],
    ["RTCP on a port of its own", text(SESSION, without(AUDIO, "a=rtcp-mux"), DATA), /without a=rtcp-mux/],
    ["no BUNDLE", text(without(SESSION, "a=group"), AUDIO, DATA), /outside of the BUNDLE group/],
    ["two groups", text([...SESSION, "a=group:BUNDLE 1"], AUDIO, DATA), /more than one BUNDLE group/],
    ["plain RTP", text(SESSION, having(AUDIO, "m=", "m=audio 9 RTP/AVP 0"), DATA), /"RTP\/AVP"/],
    ["data over TCP", text(SESSION, AUDIO, having(DATA, "m=", "m=application 9 TCP/MSRP *")), /"TCP\/MSRP"/],
    ["two data lines", text(SESSION, DATA, having(DATA, "a=mid", "a=mid:0")), /more than one application/],
    ["another kind", text(SESSION, AUDIO, ["m=text 9 RTP/SAVPF 98"]), /media "text"/],
    ["only rejected lines", text(SESSION, having(AUDIO, "m=", "m=audio 0 UDP/TLS/RTP/SAVPF 111")), /no m-line/],
    [
      "too many m-lines",
      text(SESSION, ...Array.from({ length: MAX_MEDIA_LINES + 1 }, () => AUDIO)),
      /more than 16 m-lines/,
    ],
  ];
  for (const [code, cases] of [
    ["SDP_INVALID", invalid],
    ["SDP_UNSUPPORTED", unsupported],
  ] as const) {
    for (const [name, sdp, says] of cases) {
      test(`${name}: ${code}`, () => assert.throws(() => readOffer(sdp), { code, message: says }));
    }
  }

  test("what is quoted is short", () => {
    assert.throws(
      () => readOffer("x".repeat(60_000)),
      ({ message }: Error) => message.length < 200,
    );
  });
});
