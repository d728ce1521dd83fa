import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readIceFragment, writeIceFragment } from "../../src/transceiver/ice-fragment.ts";
import { MAX_FRAGMENT_BYTES, MAX_MEDIA_LINES } from "../../src/transceiver/limits.ts";

const CREDENTIALS = { ufrag: "EsAw", password: "P2uYro0UCOQ4zxjKXaWCBui1" };
const HEAD = ["a=ice-ufrag:EsAw", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1"];
const MEDIA = ["m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0"];
const CANDIDATES = [
  "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1",
  "a=candidate:3471623853 1 udp 2122194687 2001:db8::1 61765 typ srflx raddr 192.0.2.1 rport 9",
  "a=candidate:473322822 1 tcp 1518280447 3c6f1f6e-0000-4000-8000-000000000000.local 9 typ host tcptype active",
];
const text = (...parts: readonly (readonly string[])[]): string => `${parts.flat().join("\r\n")}\r\n`;

describe("a fragment", () => {
  const read: [name: string, fragment: string, candidates: number][] = [
    ["of a browser", text(HEAD, MEDIA, CANDIDATES, ["a=end-of-candidates"]), 3],
    ["of credentials alone", text(HEAD), 0],
    ["with credentials for each m-line", text(MEDIA, HEAD, CANDIDATES, MEDIA, ["a=ice-ufrag:other"]), 3],
    ["with lines in LF", text(HEAD, MEDIA, CANDIDATES).replaceAll("\r\n", "\n"), 3],
    ["with what we do not know", text(["a=ice-options:trickle ice2", "a=x-new:1"], HEAD, MEDIA), 0],
  ];
  for (const [name, fragment, candidates] of read) {
    test(`${name} is read`, () =>
      assert.deepEqual(readIceFragment(fragment), { credentials: CREDENTIALS, candidates }));
  }

  const refused: [name: string, fragment: string, says: RegExp][] = [
    ["that is empty", "", /expected an a=ice-ufrag, got none/],
    ["without a password", text(HEAD.slice(0, 1)), /expected an a=ice-pwd, got none/],
    ["with a ufrag that is none", text(["a=ice-ufrag:a:b!"], HEAD), /4 to 256 ice-chars in a=ice-ufrag, got "a:b!"/],
    ["with a short password", text([HEAD[0]!, "a=ice-pwd:short"]), /22 to 256 ice-chars in a=ice-pwd/],
    ["with a line that is none", text(HEAD, ["oops"]), /in line 3, got "oops"/],
    ["with a zero byte", text(HEAD, ["a=x\0"]), /in line 3/],
    ["with a broken m-line", text(HEAD, ["m=audio"]), /expected "m=<media> <port> <proto> <formats>"/],
    ["with a broken candidate", text(HEAD, MEDIA, ["a=candidate:1 1 udp x 192.0.2.1 9 typ host"]), /RFC 8839/],
    ["with a candidate of no type", text(HEAD, MEDIA, ["a=candidate:1 1 udp 1 192.0.2.1 9"]), /RFC 8839/],
    [
      "with too many m-lines",
      text(HEAD, ...Array.from({ length: MAX_MEDIA_LINES + 1 }, () => MEDIA)),
      /at most 16 m-lines/,
    ],
    ["that is too long", text(HEAD, [`a=x:${"x".repeat(MAX_FRAGMENT_BYTES)}`]), /at most 16384 bytes/],
  ];
  for (const [name, fragment, says] of refused) {
    test(`${name} is refused`, () =>
      assert.throws(() => readIceFragment(fragment), { code: "FRAGMENT_INVALID", message: says }));
  }
});

test("an answer to a restart has our credentials and the ingresses, and can be read as a fragment", () => {
  const ingresses = [
    { address: "203.0.113.7", port: 3478 },
    { address: "2001:db8::7", port: 3478 },
  ];
  const fragment = writeIceFragment(CREDENTIALS, "audio", ingresses);
  assert.deepEqual(fragment.split("\r\n"), [
    ...HEAD,
    "m=audio 9 UDP/TLS/RTP/SAVPF 0",
    "a=mid:audio",
    "a=candidate:1 1 udp 2130706431 203.0.113.7 3478 typ host",
    "a=candidate:2 1 udp 2130706175 2001:db8::7 3478 typ host",
    "a=end-of-candidates",
    "",
  ]);
  assert.deepEqual(readIceFragment(fragment), { credentials: CREDENTIALS, candidates: 2 });
});
