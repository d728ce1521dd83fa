/** Runs in a page: a client of its own beside the page's, as somebody else's app would have it. */
window.client = (() => {
  const ENDPOINT = "/v1/realtime/calls";
  const FRAGMENT = "application/trickle-ice-sdpfrag";
  const within = (ms) => AbortSignal.timeout(ms);
  let connection;
  let channel;
  let location;
  let answerSdp;

  const heard = (target, event, until) =>
    new Promise((resolve, reject) => {
      const look = (detail) => until(detail) && resolve(detail);
      target.addEventListener(event, look, { signal: within(15_000) });
      within(15_000).addEventListener("abort", () => reject(new Error(`no ${event} that was waited for`)));
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
