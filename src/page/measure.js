/**
 * Figures of a call: what getStats says once a second, brought to one form for all browsers, and round-trip times over
 * the data channel. Times in ms, loss in per cent; undefined where a browser or the other side does not say.
 */

/** Figures older than this are not shown as if they were of now. STUN alone is heard every 2.5 s. */
const SILENCE_MS = 3500;

/**
 * @param {RTCPeerConnection} connection
 * @param {(report: RTCStatsReport) => void} onReport gets each report whole
 */
export function createMeter(connection, onReport) {
  let before = { received: 0, lost: 0 };
  let heard = { bytes: 0, at: 0 };
  return async () => {
    const report = await connection.getStats();
    onReport(report);
    const stats = [...report.values()];
    const pair = selectedPair(stats);
    const sent = stats.find((one) => one.type === "remote-inbound-rtp");
    const received = stats.find((one) => one.type === "inbound-rtp");
    const now = { received: received?.packetsReceived ?? 0, lost: received?.packetsLost ?? 0 };
    const loss = lossPercent(before, now);
    before = now;
    const bytes = (pair?.bytesReceived ?? 0) + (received?.bytesReceived ?? 0);
    if (bytes !== heard.bytes) heard = { bytes, at: performance.now() };
    const facts = describe(stats, pair, received);
    // What browsers say while nothing comes is what they said last.
    if (performance.now() - heard.at > SILENCE_MS) return { facts };
    return {
      // Firefox names no round-trip time for the pair; the RTCP one is the next best.
      roundTrip: milliseconds(pair?.currentRoundTripTime ?? sent?.roundTripTime),
      jitterSent: milliseconds(sent?.jitter),
      jitterReceived: milliseconds(received?.jitter),
      lossSent: sent?.fractionLost === undefined ? undefined : sent.fractionLost * 100,
      lossReceived: loss,
      facts,
    };
  };
}

function selectedPair(stats) {
  const id = stats.find((one) => one.type === "transport")?.selectedCandidatePairId;
  return stats.find((one) => one.type === "candidate-pair" && (id === undefined ? one.selected : one.id === id));
}

function lossPercent(before, now) {
  const lost = now.lost - before.lost;
  const expected = now.received - before.received + lost;
  return expected > 0 ? Math.max(0, (lost / expected) * 100) : undefined;
}

function milliseconds(seconds) {
  return seconds === undefined ? undefined : seconds * 1000;
}

/** What a person may want to know of the way that the call takes: [name, text] pairs. */
function describe(stats, pair, received) {
  const byId = new Map(stats.map((one) => [one.id, one]));
  const [here, there] = [byId.get(pair?.localCandidateId), byId.get(pair?.remoteCandidateId)];
  const codec = byId.get(received?.codecId);
  const transport = stats.find((one) => one.type === "transport");
  return [
    ["Ingress", place(there)],
    ["This browser", place(here)],
    ["Protocol", here?.protocol?.toUpperCase()],
    ["Codec", codec === undefined ? undefined : `${codec.mimeType.split("/")[1]}, ${codec.clockRate / 1000} kHz`],
    ["DTLS", [dtlsVersion(transport?.tlsVersion), transport?.dtlsCipher].filter(Boolean).join(", ") || undefined],
    ["SRTP", transport?.srtpCipher],
    ["Packets received", received?.packetsReceived?.toLocaleString("en")],
    ["Packets lost", received?.packetsLost?.toLocaleString("en")],
  ].filter(([, text]) => text !== undefined);
}

function place(candidate) {
  const address = candidate?.address ?? candidate?.ip;
  if (!address) return undefined;
  return address.includes(":") ? `[${address}]:${candidate.port}` : `${address}:${candidate.port}`;
}

const DTLS_VERSIONS = { FEFF: "1.0", FEFD: "1.2", FEFC: "1.3" };

function dtlsVersion(hex) {
  return DTLS_VERSIONS[hex?.toUpperCase()];
}

/** Unanswered pings after which nobody is there who echoes them. */
const GIVE_UP_AFTER = 5;

/**
 * Pings over a data channel: eight bytes with a count, which the echo returns. Text is left to people.
 * @param {RTCDataChannel} channel
 */
export function createPinger(channel) {
  const sentAt = new Map();
  let count = 0;
  let latest;
  return {
    ping() {
      if (channel.readyState !== "open" || sentAt.size >= GIVE_UP_AFTER) return;
      const view = new DataView(new ArrayBuffer(8));
      view.setUint32(4, ++count);
      sentAt.set(count, performance.now());
      channel.send(view.buffer);
    },
    /** @param {ArrayBuffer} bytes */
    answered(bytes) {
      const number = bytes.byteLength === 8 ? new DataView(bytes).getUint32(4) : 0;
      const at = sentAt.get(number);
      if (at === undefined) return;
      sentAt.clear();
      latest = performance.now() - at;
    },
    /** Round-trip time of the latest ping, once. */
    take() {
      const taken = latest;
      latest = undefined;
      return taken;
    },
  };
}
