/**
 * The SDP fragments of trickle ICE (RFC 8840): reads what a client sends, and writes what answers a restart. Pure. A
 * controlled agent that gathers nothing and proves every path itself needs no candidate of the client, `.local` or not:
 * they are checked, so that a client hears of its mistakes, and then forgotten.
 */
import { EarshotError } from "../earshot-error.ts";
import type { IceCredentials } from "./ice-agent.ts";
import { ICE_PASSWORD_CHARS, ICE_UFRAG_CHARS, MAX_FRAGMENT_BYTES, MAX_MEDIA_LINES } from "./limits.ts";
import type { AddressPort } from "./trunk-end.ts";

export const FRAGMENT_TYPE = "application/trickle-ice-sdpfrag";

export interface IceFragment {
  /** The client's, of the ICE session that the fragment is about: of the session level, else of the first m-line. */
  readonly credentials: IceCredentials;
  readonly candidates: number;
}

const ICE_CHARS = /^[A-Za-z0-9+/]*$/;
const M_LINE = /^m=[a-z]+ \d{1,5} [A-Za-z0-9/]+ \S/;
/** RFC 8839, section 5.1, as far as the fields that every candidate has. */
const CANDIDATE =
  /^[A-Za-z0-9+/]{1,32} \d{1,3} [A-Za-z0-9-]{1,16} \d{1,10} [A-Za-z0-9.:-]{1,255} \d{1,5} typ [A-Za-z0-9-]{1,16}(?: |$)/;

/** Throws FRAGMENT_INVALID. Any string may be given. */
export function readIceFragment(text: string): IceFragment {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_FRAGMENT_BYTES) throw invalid(`expected at most ${MAX_FRAGMENT_BYTES} bytes, got ${bytes}`);
  const lines = text.split(/\r\n|\n|\r/);
  while (lines.at(-1) === "") lines.pop();
  let ufrag: string | undefined;
  let password: string | undefined;
  let candidates = 0;
  let mediaLines = 0;
  for (const [index, line] of lines.entries()) {
    if (!/^[a-z]=/.test(line) || line.includes("\0")) {
      throw invalid(`expected a letter, "=" and a value in line ${index + 1}, got ${quote(line)}`);
    }
    if (line.startsWith("m=")) {
      if (!M_LINE.test(line)) throw invalid(`expected "m=<media> <port> <proto> <formats>", got ${quote(line)}`);
      if (++mediaLines > MAX_MEDIA_LINES) throw invalid(`expected at most ${MAX_MEDIA_LINES} m-lines, got more`);
    } else if (line.startsWith("a=ice-ufrag:")) ufrag ??= line.slice(12);
    else if (line.startsWith("a=ice-pwd:")) password ??= line.slice(10);
    else if (line.startsWith("a=candidate:")) {
      candidates++;
      if (!CANDIDATE.test(line.slice(12))) throw invalid(`expected a candidate as in RFC 8839, got ${quote(line)}`);
    }
  }
  return {
    credentials: {
      ufrag: iceChars("a=ice-ufrag", ufrag, ICE_UFRAG_CHARS),
      password: iceChars("a=ice-pwd", password, ICE_PASSWORD_CHARS),
    },
    candidates,
  };
}

/** What a restart is answered with: our credentials of the new ICE session, and the ingresses as candidates. */
export function writeIceFragment(
  { ufrag, password }: IceCredentials,
  mid: string,
  ingresses: readonly AddressPort[],
): string {
  const lines = [
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${password}`,
    "m=audio 9 UDP/TLS/RTP/SAVPF 0",
    `a=mid:${mid}`,
    ...ingresses.map(
      ({ address, port }, index) => `a=candidate:${index + 1} 1 udp ${hostPriority(index)} ${address} ${port} typ host`,
    ),
    "a=end-of-candidates",
  ];
  return `${lines.join("\r\n")}\r\n`;
}

/** RFC 8445, section 5.1.2.1: type preference of host candidates, local preference falling, component 1. */
export const hostPriority = (index: number): number => 126 * 2 ** 24 + (65_535 - index) * 2 ** 8 + 255;

function iceChars(
  name: string,
  value: string | undefined,
  { least, most }: { readonly least: number; readonly most: number },
): string {
  if (value === undefined) throw invalid(`expected an ${name}, got none`);
  if (value.length < least || value.length > most || !ICE_CHARS.test(value)) {
    throw invalid(`expected ${least} to ${most} ice-chars in ${name}, got ${quote(value)}`);
  }
  return value;
}

const invalid = (what: string): EarshotError => new EarshotError("FRAGMENT_INVALID", `malformed SDP fragment: ${what}`);

const QUOTED_CHARS = 40;

function quote(text: string): string {
  return JSON.stringify(text.length > QUOTED_CHARS ? `${text.slice(0, QUOTED_CHARS)}...` : text);
}
