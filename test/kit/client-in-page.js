/** Runs in a page: a client of its own beside the page's, as somebody else's app would have it. */
window.client = (() => {
  const ENDPOINT = "/v1/realtime/calls";
  /** Of tests on a machine that has much else to do: browsers themselves give up on ICE after some 15 s without a check. */
  const PATIENCE_MS = 40_000;
  const FRAGMENT = "application/trickle-ice-sdpfrag";
  const within = (ms) => AbortSignal.timeout(ms);
  const many = [];
  let connection;
  let channel;
  let location;
  let etag;
  let answerSdp;

  const heard = (target, event, until) =>
    new Promise((resolve, reject) => {
      const look = (detail) => until(detail) && resolve(detail);
      target.addEventListener(event, look, { signal: within(PATIENCE_MS) });
      within(PATIENCE_MS).addEventListener("abort", () => reject(new Error(`no ${event} that was waited for`)));
      look();
    });

  /** A picture that changes, so that there is something to encode. */
  function film() {
    const canvas = document.createElement("canvas");
    canvas.width = 160;
    canvas.height = 120;
    const context = canvas.getContext("2d");
    let hue = 0;
    setInterval(() => {
      hue += 7;
      context.fillStyle = `hsl(${hue} 80% 50%)`;
      context.fillRect(0, 0, canvas.width, canvas.height);
    }, 50);
    return canvas.captureStream(20);
  }

  async function patch(type, body) {
    const headers = { "content-type": type, "if-match": "*" };
    const response = await fetch(location, { method: "PATCH", headers, body });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} ${text}`);
    return text;
  }

  /** Each candidate in a PATCH of its own, as it is found. @returns {Promise<number[]>} the statuses */
  async function trickled(found) {
    const { sdp } = connection.localDescription;
    const head = ["ice-ufrag", "ice-pwd"].map((name) => `a=${name}:${line(sdp, name)}\r\n`).join("");
    const statuses = [];
    for (const { candidate, sdpMid } of found) {
      const last = candidate === "" ? "a=end-of-candidates" : `a=${candidate}`;
      const body = `${head}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:${sdpMid}\r\n${last}\r\n`;
      const headers = { "content-type": FRAGMENT, "if-match": etag };
      statuses.push((await fetch(location, { method: "PATCH", headers, body })).status);
    }
    return statuses;
  }

  const line = (sdp, name) => new RegExp(`^a=${name}:(.*?)\\r?$`, "m").exec(sdp)[1];
  const withLine = (sdp, name, value) => sdp.replace(new RegExp(`^a=${name}:.*$`, "gm"), `a=${name}:${value}`);

  return {
    async call({ video = false } = {}) {
      connection = new RTCPeerConnection({ iceServers: [] });
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      for (const track of microphone.getTracks()) connection.addTrack(track, microphone);
      const picture = video ? film() : undefined;
      for (const track of picture?.getTracks() ?? []) connection.addTrack(track, picture);
      channel = connection.createDataChannel("words");
      await connection.setLocalDescription();
      const response = await fetch(ENDPOINT, {
        method: "POST",
        headers: { "content-type": "application/sdp" },
        body: connection.localDescription.sdp,
      });
      location = response.headers.get("location");
      answerSdp = await response.text();
      await connection.setRemoteDescription({ type: "answer", sdp: answerSdp });
      await heard(channel, "open", () => channel.readyState === "open");
      return connection.connectionState;
    },

    /** As a WHIP client: one way, candidates as they come. */
    async publish() {
      connection = new RTCPeerConnection({ iceServers: [] });
      const found = [];
      connection.onicecandidate = ({ candidate }) => candidate && found.push(candidate);
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      connection.addTransceiver(microphone.getTracks()[0], { direction: "sendonly", streams: [microphone] });
      await connection.setLocalDescription();
      const { sdp: body } = connection.localDescription;
      const response = await fetch("/whip", { method: "POST", headers: { "content-type": "application/sdp" }, body });
      location = response.headers.get("location");
      etag = response.headers.get("etag");
      answerSdp = await response.text();
      await connection.setRemoteDescription({ type: "answer", sdp: answerSdp });
      await heard(connection, "connectionstatechange", () => connection.connectionState === "connected");
      return { status: response.status, answerSdp, trickled: await trickled(found) };
    },

    async audioSent() {
      const reports = [...(await connection.getStats()).values()];
      return reports.find((one) => one.type === "outbound-rtp")?.packetsSent ?? 0;
    },

    /** The status of the answer. */
    async stopPublishing() {
      const { status } = await fetch(location, { method: "DELETE" });
      connection.close();
      return status;
    },

    async echo(text) {
      const answer = heard(channel, "message", (message) => message?.data === text);
      channel.send(text);
      return (await answer).data;
    },

    /** Restarts ICE with a whole offer, or with a fragment and the answer of before. */
    async restart(how) {
      await connection.setLocalDescription(await connection.createOffer({ iceRestart: true }));
      const { sdp } = connection.localDescription;
      if (how === "offer") answerSdp = await patch("application/sdp", sdp);
      else {
        const ours = ["ice-ufrag", "ice-pwd"].map((name) => `a=${name}:${line(sdp, name)}\r\n`);
        const fragment = await patch(FRAGMENT, ours.join(""));
        for (const name of ["ice-ufrag", "ice-pwd"]) answerSdp = withLine(answerSdp, name, line(fragment, name));
      }
      await connection.setRemoteDescription({ type: "answer", sdp: answerSdp });
    },

    /** Calls at once, each of which says something of its own; what each hears. */
    async callMany(count) {
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      const call = async (_, n) => {
        const one = new RTCPeerConnection({ iceServers: [] });
        many.push(one);
        one.addTrack(microphone.getTracks()[0], microphone);
        const words = one.createDataChannel("words");
        await one.setLocalDescription();
        const headers = { "content-type": "application/sdp" };
        const response = await fetch(ENDPOINT, { method: "POST", headers, body: one.localDescription.sdp });
        await one.setRemoteDescription({ type: "answer", sdp: await response.text() });
        await heard(words, "open", () => words.readyState === "open");
        words.send(`this is caller ${n}`);
        return (await heard(words, "message", (message) => message !== undefined)).data;
      };
      return Promise.all(Array.from({ length: count }, call));
    },

    endMany() {
      for (const one of many.splice(0)) one.close();
    },

    async framesDecoded() {
      const reports = [...(await connection.getStats()).values()];
      return reports.find((one) => one.type === "inbound-rtp" && one.kind === "video")?.framesDecoded ?? 0;
    },

    async audioReceived() {
      const reports = [...(await connection.getStats()).values()];
      return reports.find((one) => one.type === "inbound-rtp" && one.kind === "audio")?.packetsReceived ?? 0;
    },

    /** As the server does when it ends a call: nothing is said on this side. */
    async endFromServer() {
      const closed = heard(channel, "close", () => channel.readyState === "closed");
      await fetch(location, { method: "DELETE" });
      await closed;
      connection.close();
    },

    hangUp() {
      connection.close();
    },
  };
})();
