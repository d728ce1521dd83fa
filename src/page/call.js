/**
 * One call, from the microphone to hanging up: offer and answer over HTTP, then a peer connection with audio and one
 * data channel. Touches no element of the page. All that goes wrong is a Problem.
 */
import {
  endedByServerProblem,
  lostProblem,
  microphoneProblem,
  noPathProblem,
  Problem,
  refusalProblem,
  unreachableProblem,
} from "./problem.js";

const CALLS_URL = "/v1/realtime/calls";
const ANSWER_WITHIN_MS = 12_000;
/** A path is usually found within 100 ms; browsers themselves give up after some 15 s. */
const CONNECT_WITHIN_MS = 12_000;

/** The connection is kept so long for the server to hear that the call is over. */
const FORGET_WITHIN_MS = 1000;

/** @typedef {"microphone" | "calling" | "connecting" | "connected" | "interrupted" | "ended"} CallState */

export class Call {
  /** @type {MediaStream | undefined} */
  microphone;
  /** @type {RTCPeerConnection | undefined} */
  connection;
  /** @type {RTCDataChannel | undefined} */
  channel;
  #location;
  #answerSdp = "";
  #over = false;
  #timer;
  #pageLeft = new AbortController();
  #on;

  /** @param on functions: state(CallState, Problem?), echo(MediaStream), channel(RTCDataChannel) */
  constructor(on) {
    this.#on = on;
    addEventListener("pagehide", () => this.hangUp(), { signal: this.#pageLeft.signal });
  }

  async start() {
    try {
      this.#on.state("microphone");
      this.microphone = await openMicrophone();
      if (this.#over) return stopTracks(this.microphone);
      this.#on.state("calling");
      await this.#call(this.microphone);
      if (this.#over) return;
      this.#on.state("connecting");
      this.#timer = setTimeout(() => this.#end(noPathProblem(this.#answerSdp)), CONNECT_WITHIN_MS);
    } catch (error) {
      this.#end(error instanceof Problem ? error : new Problem("The call failed.", error.message));
    }
  }

  hangUp() {
    this.#end();
  }

  async #call(microphone) {
    const connection = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
    this.connection = connection;
    connection.onconnectionstatechange = () => this.#follow(connection.connectionState);
    connection.ontrack = ({ track }) => this.#on.echo(new MediaStream([track]));
    for (const track of microphone.getTracks()) connection.addTrack(track, microphone);
    this.channel = connection.createDataChannel("earshot");
    this.channel.binaryType = "arraybuffer";
    this.channel.onclose = () => this.#end(endedByServerProblem());
    this.#on.channel(this.channel);

    // Nothing is gathered first: the server learns our addresses from our packets.
    await connection.setLocalDescription();
    const { location, answerSdp } = await exchange(connection.localDescription.sdp);
    this.#location = location;
    this.#answerSdp = answerSdp;
    if (this.#over) return this.#forget();
    await connection.setRemoteDescription({ type: "answer", sdp: answerSdp });
  }

  #follow(state) {
    if (this.#over) return;
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.#on.state("connected");
    } else if (state === "disconnected") this.#on.state("interrupted");
    else if (state === "failed") this.#end(lostProblem());
  }

  /** @param {Problem} [problem] none if it was the user's wish */
  #end(problem) {
    if (this.#over) return;
    this.#over = true;
    this.#pageLeft.abort();
    clearTimeout(this.#timer);
    stopTracks(this.microphone);
    // In this order, so that the server hears of it from us and not from the connection's end.
    this.#forget().finally(() => this.connection?.close());
    this.#on.state("ended", problem);
  }

  /** The page that goes away cannot wait for the answer; keepalive lets the request outlive it. */
  async #forget() {
    if (this.#location === undefined) return;
    const signal = AbortSignal.timeout(FORGET_WITHIN_MS);
    await fetch(this.#location, { method: "DELETE", keepalive: true, signal }).catch(() => {});
  }
}

async function openMicrophone() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
  } catch (error) {
    throw microphoneProblem(error);
  }
}

async function exchange(offerSdp) {
  const response = await fetch(CALLS_URL, {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: offerSdp,
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  }).catch(() => {
    throw unreachableProblem();
  });
  if (response.status !== 201) throw await refusalProblem(response);
  return { location: response.headers.get("location"), answerSdp: await response.text() };
}

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
