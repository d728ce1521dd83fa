/** Runs in a page before its own scripts: holds on to its peer connection, and reads from it what the tests ask for. */
window.probe = (() => {
  let connection;
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      connection = this;
    }
  };

  const calls = [];
  const blobs = [];
  const { createObjectURL } = URL;
  URL.createObjectURL = (blob) => {
    blobs.push(blob);
    return createObjectURL.call(URL, blob);
  };

  const reports = async (type, of = connection) =>
    [...(await of.getStats()).values()].filter((one) => one.type === type);
  const sum = (all, ...names) =>
    all.reduce((total, one) => total + names.reduce((n, name) => n + (one[name] ?? 0), 0), 0);

  const audio = async (of) => {
    const [inbound] = await reports("inbound-rtp", of);
    const [outbound] = await reports("outbound-rtp", of);
    return {
      received: inbound?.packetsReceived ?? 0,
      energy: inbound?.totalAudioEnergy ?? 0,
      sent: outbound?.packetsSent ?? 0,
    };
  };

  return {
    audio: () => audio(connection),

    /** Every datagram of the call, STUN included. Chromium only: Firefox does not count checks. */
    async datagrams() {
      const pairs = await reports("candidate-pair");
      return {
        sent: sum(pairs, "packetsSent", "requestsSent", "responsesSent", "consentRequestsSent"),
        received: sum(pairs, "packetsReceived", "requestsReceived", "responsesReceived"),
      };
    },

    /** How far ICE came, for whoever has to find out why a call failed. */
    async iceText() {
      const place = async (type, id) => {
        const { address, port } = (await reports(type)).find((one) => one.id === id) ?? {};
        return `${address} ${port}`;
      };
      const pairs = await reports("candidate-pair");
      const lines = pairs.map(async (pair) => {
        const here = await place("local-candidate", pair.localCandidateId);
        const there = await place("remote-candidate", pair.remoteCandidateId);
        const counts = `${pair.requestsSent} checks sent, ${pair.responsesReceived} answered`;
        return `${here} -> ${there}: ${pair.state}, ${counts}`;
      });
      const states = `ICE ${connection.iceConnectionState}, gathering ${connection.iceGatheringState}`;
      return [states, ...(await Promise.all(lines))].join("\n");
    },

    async remoteCandidate() {
      const [pair] = (await reports("candidate-pair")).filter((one) => one.nominated && one.state === "succeeded");
      const remote = (await reports("remote-candidate")).find((one) => one.id === pair?.remoteCandidateId);
      return { address: remote?.address ?? "", port: remote?.port ?? 0 };
    },

    /** Calls without the page's own view of them, whose drawing would cost more than the calls do. */
    async startCalls(count) {
      const { Call } = await import("/call.js");
      const start = () =>
        new Promise((resolve, reject) => {
          const speaker = new Audio();
          const call = new Call({
            state(state, problem) {
              if (state === "connected") resolve();
              if (problem !== undefined) reject(problem);
            },
            echo(stream) {
              speaker.srcObject = stream;
              speaker.play();
            },
            channel() {},
          });
          calls.push(call);
          call.start();
        });
      await Promise.all(Array.from({ length: count }, start));
    },

    audioOfCalls: () => Promise.all(calls.map((call) => audio(call.connection))),

    /** What comes back to each call when each has sent a text of its own. */
    textsOfCalls() {
      const echoed = ({ channel }, text) =>
        new Promise((resolve) => {
          const send = () => channel.send(text);
          channel.addEventListener("message", ({ data }) => resolve(data), { once: true });
          if (channel.readyState === "open") send();
          else channel.addEventListener("open", send);
        });
      return Promise.all(calls.map((call, n) => echoed(call, `this is caller ${n}`)));
    },

    /** What comes back of an interruption when the other side is an echo. */
    interrupted() {
      const [call] = calls;
      const events = [];
      return new Promise((resolve) => {
        const interrupt = () => call.interrupt();
        call.channel.addEventListener("message", ({ data }) => {
          events.push(JSON.parse(data));
          if (events.length === 2) resolve(events);
        });
        if (call.channel.readyState === "open") interrupt();
        else call.channel.addEventListener("open", interrupt);
      });
    },

    /** What the page has let the browser save last. */
    saved: () => blobs.at(-1).text(),

    /** What is sent now. */
    microphone() {
      const { label, enabled } = connection.getSenders()[0].track;
      return { label, enabled };
    },

    endCalls() {
      for (const call of calls) call.hangUp();
    },

    /** A call beside the page's own, whose offer has every address behind a `.local` name that nobody can resolve. */
    async callWithHiddenAddresses(url) {
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      const hidden = new RTCPeerConnection({ iceServers: [] });
      for (const track of microphone.getTracks()) hidden.addTrack(track, microphone);
      await hidden.setLocalDescription();
      while (hidden.iceGatheringState !== "complete") {
        await new Promise((resolve) => hidden.addEventListener("icegatheringstatechange", resolve, { once: true }));
      }
      let names = 0;
      const body = hidden.localDescription.sdp.replace(/^(a=candidate:(?:\S+ ){4})\S+/gm, (_, head) => {
        names += 1;
        return `${head}${crypto.randomUUID()}.local`;
      });
      const response = await fetch(url, { method: "POST", headers: { "content-type": "application/sdp" }, body });
      await hidden.setRemoteDescription({ type: "answer", sdp: await response.text() });
      while (hidden.connectionState === "new" || hidden.connectionState === "connecting") {
        await new Promise((resolve) => hidden.addEventListener("connectionstatechange", resolve, { once: true }));
      }
      const state = hidden.connectionState;
      hidden.close();
      await fetch(response.headers.get("location"), { method: "DELETE" });
      return { names, state };
    },

    answerUfrag: () => /a=ice-ufrag:(\S+)/.exec(connection.remoteDescription.sdp)[1],
    connectionState: () => connection.connectionState,
  };
})();
