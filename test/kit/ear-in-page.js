/** Runs in a page before its own scripts: listens to its call as its user does, and notes what becomes of the connection. */
window.ear = (() => {
  /** Packets come every 20 ms. Chromium renews what getStats() says every 50 ms, so no gap is known better than that. */
  const LOOK_EVERY_MS = 20;
  /** At which browsers decode Opus. */
  const SAMPLE_RATE = 48_000;
  const connections = [];
  const states = [];
  let last;
  let checksAnswered = 0;
  let longestGapMs = 0;
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      connections.push(this);
      const note = () => states.push(this.connectionState, this.iceConnectionState);
      this.addEventListener("connectionstatechange", note);
      this.addEventListener("iceconnectionstatechange", note);
    }
  };

  async function look() {
    const reports = [...(await connections.at(-1).getStats()).values()];
    const inbound = reports.find((one) => one.type === "inbound-rtp" && one.kind === "audio");
    if (inbound === undefined) return; // the connection is closed
    checksAnswered = reports.reduce((sum, one) => sum + (one.type === "candidate-pair" ? one.responsesReceived : 0), 0);
    const before = last;
    last = inbound;
    if (before === undefined || inbound.packetsReceived === before.packetsReceived) return;
    longestGapMs = Math.max(longestGapMs, inbound.lastPacketReceivedTimestamp - before.lastPacketReceivedTimestamp);
  }

  return {
    /** From now on, every 20 ms. */
    async listen() {
      await look();
      const again = async () => {
        await look();
        setTimeout(again, LOOK_EVERY_MS);
      };
      again();
    },

    /** The longest gap is that since the last time that this was asked with `anew`. */
    heard(anew = false) {
      const found = {
        packets: last.packetsReceived,
        lost: last.packetsLost,
        seconds: last.totalSamplesDuration,
        energy: last.totalAudioEnergy,
        concealed: last.concealedSamples / SAMPLE_RATE,
        longestGapMs,
        checksAnswered,
        connections: connections.length,
        states,
      };
      if (anew) longestGapMs = 0;
      return found;
    },
  };
})();
