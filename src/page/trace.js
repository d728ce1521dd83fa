/**
 * What happened in one call and when, for whoever has to find out why it was as it was. Holds no voice, no message and
 * no password, and no more than the last ten minutes of figures.
 */

const SNAPSHOTS_KEPT = 600;
const EVENTS_KEPT = 1000;
/** What getStats says about other things is long, and says nothing of the call. */
const KINDS = new Set([
  "candidate-pair",
  "local-candidate",
  "remote-candidate",
  "transport",
  "codec",
  "inbound-rtp",
  "outbound-rtp",
  "remote-inbound-rtp",
  "remote-outbound-rtp",
  "data-channel",
  "media-playout",
]);

export class Trace {
  #startedAt = new Date();
  #startedMs = performance.now();
  #events = [];
  #snapshots = [];
  #dropped = { events: 0, snapshots: 0 };
  #timings = {};
  #server;

  /** @param {object} [details] small, and fit for JSON */
  event(name, details = {}) {
    const atMs = this.#now();
    // The first time that something happens is what people ask for.
    this.#timings[`${name}Ms`] ??= atMs;
    keep(this.#events, { atMs, event: name, ...details }, EVENTS_KEPT, () => this.#dropped.events++);
  }

  sdp(name, sdp) {
    this.event(name, { sdp: sdp.replace(/^(a=ice-pwd:).*$/gm, "$1(left out)") });
  }

  /** @param {RTCStatsReport} stats */
  snapshot(stats) {
    const reports = [...stats.values()].filter((one) => KINDS.has(one.type));
    keep(this.#snapshots, { atMs: this.#now(), stats: reports }, SNAPSHOTS_KEPT, () => this.#dropped.snapshots++);
  }

  /** How the server saw the call when it was asked last. */
  server(description) {
    this.#server = { atMs: this.#now(), ...description };
  }

  toJSON() {
    return {
      format: "earshot-call-trace",
      version: 1,
      startedAt: this.#startedAt.toISOString(),
      browser: navigator.userAgent,
      timings: this.#timings,
      server: this.#server,
      events: this.#events,
      snapshots: this.#snapshots,
      dropped: this.#dropped,
    };
  }

  /** Lets the browser save it. */
  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(this, null, 1)], { type: "application/json" }));
    link.download = `earshot-call-${this.#startedAt.toISOString().replace(/[:.]/g, "-")}.json`;
    link.click();
    // Once the click has been acted on.
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  #now() {
    return Math.round((performance.now() - this.#startedMs) * 10) / 10;
  }
}

function keep(list, item, most, onDrop) {
  list.push(item);
  if (list.length <= most) return;
  list.shift();
  onDrop();
}
