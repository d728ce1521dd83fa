/**
 * Reads a client's offer, says what is wrong with it, and rewrites it to what a transceiver acts on: known attributes
 * only, transport attributes with each m-line, no candidates. So nothing that werift's parser stumbles over gets there.
 * Pure. It owns what is refused; which codecs are taken is werift's to say.
 */
import { EarshotError } from "../earshot-error.ts";
import { ICE_PASSWORD_CHARS, ICE_UFRAG_CHARS, MAX_MEDIA_LINES, MAX_OFFER_BYTES } from "./limits.ts";

export interface Offer {
  /** What to give to werift. */
  readonly sdp: string;
  /** Whether there is an audio or video m-line, and so a need for SRTP. */
  readonly hasMedia: boolean;
  /** Of the m-line whose transport counts for all. */
  readonly mid: string;
  /** The client's, one or more: some stacks have another for each m-line. */
  readonly ufrags: readonly string[];
  /** Of the certificates that the client may come with, as it writes them. */
  readonly fingerprints: readonly string[];
}

export interface OfferRules {
  /** WHIP (RFC 9725): the client sends one audio or video or one of each, and gets no media. */
  readonly ingest?: boolean;
}

type Kind = "audio" | "video" | "application";

interface Attribute {
  readonly name: string;
  readonly value: string;
}

interface Section {
  readonly kind: Kind;
  readonly port: number;
  readonly protocol: string;
  readonly formats: string;
  readonly attributes: Attribute[];
}

/** What identifies the client on the network; with BUNDLE one for all m-lines. */
interface Transport {
  readonly ufrag: string;
  readonly password: string;
  readonly fingerprints: readonly string[];
  readonly setup: string;
}

const M_LINE = /^m=([a-z]+) (\d{1,5})(?:\/\d+)? ([A-Z/]+) (\S.*)$/;
const KINDS: ReadonlySet<string> = new Set(["audio", "video", "application"]);
const ICE_CHARS = /^[A-Za-z0-9+/]*$/;
const FINGERPRINT = /^(sha-256|sha-384|sha-512) [0-9A-F]{2}(:[0-9A-F]{2})*$/i;
const FINGERPRINT_BYTES: Readonly<Record<string, number>> = { "sha-256": 32, "sha-384": 48, "sha-512": 64 };
/** Alone (RFC 8841), or with a protocol and its streams in the older form. */
const SCTP_PORT = /^\d{1,5}(?: \S.*)?$/;
const DIRECTIONS: ReadonlySet<string> = new Set(["sendrecv", "sendonly", "recvonly", "inactive"]);
/** Passed on as they are. Without `rid` and `simulcast` a client sends one encoding of each video, which is what we take. */
const KEPT: ReadonlySet<string> = new Set([
  "mid",
  "msid",
  "ssrc",
  "rtpmap",
  "sctp-port",
  "sctpmap",
  "max-message-size",
]);

/** Throws SDP_INVALID or SDP_UNSUPPORTED. Any string may be given. */
export function readOffer(sdp: string, { ingest = false }: OfferRules = {}): Offer {
  const bytes = Buffer.byteLength(sdp);
  if (bytes > MAX_OFFER_BYTES) throw invalid(`expected at most ${MAX_OFFER_BYTES} bytes, got ${bytes}`);
  const { session, sections } = parse(sdp);
  if (has(session, "ice-lite") || sections.some(({ attributes }) => has(attributes, "ice-lite"))) {
    throw unsupported("a=ice-lite: the client has to send connectivity checks, so it must be a full ICE agent");
  }
  const bundle = bundledMids(session);
  const accepted = sections.filter((section) => section.port !== 0 || isBundleOnly(section, bundle));
  if (accepted.length === 0) throw unsupported("no m-line that is not rejected: offer audio, a data channel or both");
  checkMids(accepted, bundle);
  if (accepted.filter(({ kind }) => kind === "application").length > 1) {
    throw unsupported("more than one application m-line: one carries all data channels");
  }
  if (sections.some((section) => section.kind === "application" && !accepted.includes(section))) {
    throw unsupported("an application m-line with port 0: leave it out, or keep it open");
  }
  for (const section of accepted) checkProtocol(section);
  if (ingest) checkIngest(accepted, session);

  const tag = accepted.find((section) => section.port !== 0) ?? accepted[0]!;
  const transport = readTransport(session, tag.attributes, undefined);
  const lines = ["v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "t=0 0"];
  const grouped = accepted.map(midOf).filter((mid) => bundle.has(mid));
  if (grouped.length > 0) lines.push(`a=group:BUNDLE ${grouped.join(" ")}`);
  const ufrags = new Set<string>();
  for (const section of sections) {
    const isAccepted = accepted.includes(section);
    // One ufrag for each m-line is allowed; BUNDLE makes werift use the first.
    const own = isAccepted ? readTransport(session, section.attributes, transport) : transport;
    ufrags.add(own.ufrag);
    // What the client only sends is answered with recvonly, whatever else it had been ready for.
    const direction = ingest ? "sendonly" : directionOf(section, session);
    lines.push(...rewrite(section, isAccepted, own, direction));
  }
  return {
    sdp: `${lines.join("\r\n")}\r\n`,
    hasMedia: accepted.some(({ kind }) => kind !== "application"),
    mid: midOf(tag),
    ufrags: [...ufrags],
    fingerprints: transport.fingerprints,
  };
}

function parse(sdp: string): { session: Attribute[]; sections: Section[] } {
  const lines = sdp.split(/\r\n|\n|\r/);
  while (lines.at(-1) === "") lines.pop();
  if (lines[0] !== "v=0") throw invalid(`expected "v=0" as the first line, got ${quote(lines[0] ?? "")}`);
  const session: Attribute[] = [];
  const sections: Section[] = [];
  for (const [index, line] of lines.entries()) {
    if (!/^[a-z]=/.test(line) || line.includes("\0")) {
      throw invalid(`expected a letter, "=" and a value in line ${index + 1}, got ${quote(line)}`);
    }
    if (line.startsWith("m=")) {
      if (sections.length === MAX_MEDIA_LINES) throw unsupported(`more than ${MAX_MEDIA_LINES} m-lines`);
      sections.push(parseMediaLine(line));
    } else if (line.startsWith("a=")) {
      const colon = line.indexOf(":");
      const name = colon < 0 ? line.slice(2) : line.slice(2, colon);
      (sections.at(-1)?.attributes ?? session).push({ name, value: colon < 0 ? "" : line.slice(colon + 1) });
    }
  }
  if (sections.length === 0) throw invalid('expected at least one "m=" line, got none');
  return { session, sections };
}

function parseMediaLine(line: string): Section {
  const [, kind, port, protocol, formats] = M_LINE.exec(line) ?? [];
  if (kind === undefined || port === undefined || protocol === undefined || formats === undefined) {
    throw invalid(`expected "m=<media> <port> <proto> <formats>", got ${quote(line)}`);
  }
  if (!KINDS.has(kind)) throw unsupported(`media ${quote(kind)}: there is audio, video and application`);
  return { kind: kind as Kind, port: Number(port), protocol, formats, attributes: [] };
}

function checkProtocol({ kind, protocol, attributes }: Section): void {
  if (kind === "application") {
    if (!protocol.endsWith("DTLS/SCTP")) throw unsupported(`${quote(protocol)}: data channels run over DTLS/SCTP`);
    const port = get(attributes, "sctp-port") ?? get(attributes, "sctpmap");
    if (port === undefined) throw invalid('expected "a=sctp-port" with the application m-line, got none');
    if (!SCTP_PORT.test(port)) throw invalid(`expected a port in a=sctp-port, got ${quote(port)}`);
    return;
  }
  if (!/(^|\/)RTP\/SAVPF?$/.test(protocol)) throw unsupported(`${quote(protocol)}: media runs over UDP/TLS/RTP/SAVPF`);
  if (!has(attributes, "rtcp-mux")) throw unsupported(`${kind} without a=rtcp-mux: RTP and RTCP share one port here`);
}

/** RFC 9725, section 4.4: the media of one source, in one direction. */
function checkIngest(accepted: readonly Section[], session: readonly Attribute[]): void {
  for (const kind of ["audio", "video"]) {
    if (accepted.filter((section) => section.kind === kind).length > 1) {
      throw unsupported(`more than one ${kind} m-line: WHIP has at most one`);
    }
  }
  for (const section of accepted) {
    if (section.kind === "application") throw unsupported("a data channel: WHIP carries audio and video alone");
    const direction = directionOf(section, session);
    if (direction !== "sendonly" && direction !== "sendrecv") {
      throw unsupported(`a=${direction} for ${section.kind}: with WHIP the client sends, so expected a=sendonly`);
    }
  }
}

/** The mids of the one BUNDLE group. */
function bundledMids(session: readonly Attribute[]): ReadonlySet<string> {
  const groups = session.filter(({ name, value }) => name === "group" && /^BUNDLE( |$)/.test(value));
  if (groups.length > 1) throw unsupported("more than one BUNDLE group: all m-lines have to share one transport");
  return new Set(groups[0]?.value.split(" ").slice(1));
}

/** Its port is 0 and yet it is offered: it exists only as a member of the group (RFC 9143, section 6). */
function isBundleOnly(section: Section, bundle: ReadonlySet<string>): boolean {
  return has(section.attributes, "bundle-only") && bundle.has(midOf(section));
}

function checkMids(accepted: readonly Section[], bundle: ReadonlySet<string>): void {
  const mids = accepted.map(midOf);
  if (mids.includes("")) throw invalid("expected an a=mid with each m-line, got one without");
  if (new Set(mids).size < mids.length) throw invalid("expected a different a=mid for each m-line, got one twice");
  const outside = mids.find((mid) => !bundle.has(mid));
  if (mids.length > 1 && outside !== undefined) {
    throw unsupported(`m-line with mid ${quote(outside)} outside of the BUNDLE group: all have to share one transport`);
  }
}

/** From the m-line, else from the session, else from the m-line that stands for the group. */
function readTransport(
  session: readonly Attribute[],
  attributes: readonly Attribute[],
  fallback: Transport | undefined,
): Transport {
  const find = (name: string): string | undefined => get(attributes, name) ?? get(session, name);
  const ufrag = find("ice-ufrag") ?? fallback?.ufrag;
  const password = find("ice-pwd") ?? fallback?.password;
  const setup = find("setup") ?? fallback?.setup;
  checkIceChars("a=ice-ufrag", ufrag, ICE_UFRAG_CHARS);
  checkIceChars("a=ice-pwd", password, ICE_PASSWORD_CHARS);
  if (setup === undefined) throw invalid("expected a=setup:actpass, got no a=setup");
  if (setup !== "actpass" && setup !== "active") {
    const known = setup === "passive" || setup === "holdconn";
    const message = `a=setup:${known ? setup : quote(setup)}: the client has to be able to begin the DTLS handshake`;
    throw known ? unsupported(message) : invalid(message);
  }
  return { ufrag, password, setup, fingerprints: readFingerprints(session, attributes) ?? fallbackPrints(fallback) };
}

function readFingerprints(
  session: readonly Attribute[],
  attributes: readonly Attribute[],
): readonly string[] | undefined {
  const own = attributes.filter(({ name }) => name === "fingerprint");
  const all = (own.length > 0 ? own : session.filter(({ name }) => name === "fingerprint")).map(({ value }) => value);
  if (all.length === 0) return undefined;
  const usable = all.filter((value) => {
    const bytes = FINGERPRINT_BYTES[value.slice(0, value.indexOf(" ")).toLowerCase()];
    return FINGERPRINT.test(value) && bytes !== undefined && value.length - value.indexOf(" ") === 3 * bytes;
  });
  if (usable.length === 0) throw unsupported(`a=fingerprint:${quote(all[0]!)}: expected SHA-256, SHA-384 or SHA-512`);
  return usable;
}

function fallbackPrints(fallback: Transport | undefined): readonly string[] {
  if (fallback === undefined) throw invalid("expected an a=fingerprint, got none: DTLS needs it");
  return fallback.fingerprints;
}

function checkIceChars(
  name: string,
  value: string | undefined,
  { least, most }: { least: number; most: number },
): asserts value is string {
  if (value === undefined) throw invalid(`expected an ${name}, got none`);
  if (value.length < least || value.length > most || !ICE_CHARS.test(value)) {
    throw invalid(`expected ${least} to ${most} ice-chars in ${name}, got ${quote(value)}`);
  }
}

function rewrite(
  { kind, port, protocol, formats, attributes }: Section,
  isAccepted: boolean,
  transport: Transport,
  direction: string,
): string[] {
  const lines = [`m=${kind} ${isAccepted ? port || 9 : 0} ${protocol} ${formats}`, "c=IN IP4 0.0.0.0"];
  const payloadTypes = new Set(
    attributes.filter(({ name }) => name === "rtpmap").map(({ value }) => value.slice(0, value.indexOf(" "))),
  );
  lines.push(
    `a=${direction}`,
    "a=rtcp-mux",
    `a=ice-ufrag:${transport.ufrag}`,
    `a=ice-pwd:${transport.password}`,
    `a=setup:${transport.setup}`,
    ...transport.fingerprints.map((value) => `a=fingerprint:${value}`),
  );
  for (const { name, value } of attributes) {
    if (KEPT.has(name) && value !== "") lines.push(`a=${name}:${value}`);
    // werift writes one-byte header extensions, whose ids end at 14 (RFC 8285, section 4.2).
    if (name === "extmap" && Number.parseInt(value, 10) <= 14) lines.push(`a=${name}:${value}`);
    const [payloadType = "", ...rest] = value.split(" ");
    if (name === "fmtp" && payloadTypes.has(payloadType)) lines.push(`a=${name}:${value}`);
    // Feedback that nobody here acts on would be promised in the answer.
    if (name === "rtcp-fb" && /^nack( pli)?$/.test(rest.join(" "))) lines.push(`a=${name}:${value}`);
  }
  return lines;
}

function directionOf({ attributes }: Section, session: readonly Attribute[]): string {
  const isDirection = ({ name }: Attribute): boolean => DIRECTIONS.has(name);
  return (attributes.find(isDirection) ?? session.find(isDirection))?.name ?? "sendrecv";
}

const has = (attributes: readonly Attribute[], name: string): boolean =>
  attributes.some((attribute) => attribute.name === name);

const get = (attributes: readonly Attribute[], name: string): string | undefined =>
  attributes.find((attribute) => attribute.name === name)?.value;

const midOf = ({ attributes }: Section): string => get(attributes, "mid") ?? "";

const invalid = (what: string): EarshotError => new EarshotError("SDP_INVALID", `malformed offer: ${what}`);

const unsupported = (what: string): EarshotError =>
  new EarshotError("SDP_UNSUPPORTED", `cannot answer this offer: ${what}`);

const QUOTED_CHARS = 40;

function quote(text: string): string {
  return JSON.stringify(text.length > QUOTED_CHARS ? `${text.slice(0, QUOTED_CHARS)}...` : text);
}
