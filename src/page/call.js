/**
 * One call, from the microphone to hanging up: offer and answer over HTTP, then a peer connection with audio and one
 * data channel. Touches no element of the page. All that goes wrong is a Problem.
 */
import {
  accessProblem,
  endedByServerProblem,
  lostProblem,
  microphoneProblem,
  noPathProblem,
  Problem,
  refusalProblem,
  unreachableProblem,
} from "./problem.js";
import { Trace } from "./trace.js";

const CALLS_URL = "/v1/realtime/calls";
const ANSWER_WITHIN_MS = 12_000;
/** A path is usually found within 100 ms; browsers themselves give up after some 15 s. */
const CONNECT_WITHIN_MS = 12_000;

/** The connection is kept so long for the server to hear that the call is over. */
const FORGET_WITHIN_MS = 1000;
const ASK_WITHIN_MS = 2000;

/** As the Realtime API has them: stop answering, and drop what is on its way to the loudspeaker. */
const INTERRUPTION = [{ type: "response.cancel" }, { type: "output_audio_buffer.clear" }];

/** @typedef {"microphone" | "calling" | "connecting" | "connected" | "interrupted" | "ended"} CallState */

export class Call {
  /** @type {MediaStream | undefined} */
  microphone;
  /** @type {RTCPeerConnection | undefined} */
  connection;
  /** @type {RTCDataChannel | undefined} */
  channel;
  /** What happened. */
  trace = new Trace();
  #options;
  #location;
  #answerSdp = "";
  #muted = false;
  #over = false;
  #timer;
  #pageLeft = new AbortController();
  #on;

  /**
   * @param on functions: state(CallState, Problem?), echo(MediaStream), channel(RTCDataChannel)
   * @param {{ microphone?: string, accessToken?: string }} [options] a device id; a bearer token
   */
  constructor(on, options = {}) {
    this.#on = on;
    this.#options = options;
    addEventListener("pagehide", () => this.hangUp(), { signal: this.#pageLeft.signal });
  }

  async start() {
    try {
      this.#enter("microphone");
      this.microphone = await openMicrophone(this.#options.microphone);
      if (this.#over) return stopTracks(this.microphone);
      this.#enter("calling");
      await this.#call(this.microphone);
      if (this.#over) return;
      this.#enter("connecting");
      this.#timer = setTimeout(() => this.#end(noPathProblem(this.#answerSdp)), CONNECT_WITHIN_MS);
    } catch (error) {
      this.#end(error instanceof Problem ? error : new Problem("The call failed.", error.message));
    }
  }

  hangUp() {
    this.#end();
  }

  /** Sends silence in place of the voice. */
  mute(muted) {
    this.#muted = muted;
    this.trace.event(muted ? "muted" : "unmuted");
    for (const track of this.microphone?.getTracks() ?? []) track.enabled = !muted;
  }

  /** Changes to another device while the call goes on. Throws a Problem, and keeps the one of before. */
  async useMicrophone(deviceId) {
    const stream = await openMicrophone(deviceId);
    if (this.#over) return stopTracks(stream);
    const [track] = stream.getTracks();
    track.enabled = !this.#muted;
    const sender = this.connection?.getSenders().find(({ track: sent }) => sent?.kind === "audio");
    await sender?.replaceTrack(track);
    stopTracks(this.microphone);
    this.microphone = stream;
    this.trace.event("microphone changed", { label: track.label });
    this.#on.microphone?.(stream);
  }

  /** Cuts off what the other side is saying. */
  interrupt() {
    if (this.channel?.readyState !== "open") return;
    this.trace.event("interrupted by the user");
    for (const event of INTERRUPTION) this.channel.send(JSON.stringify(event));
  }

  /** How the server sees the call, or undefined if it does not say. Also for a minute after the end. */
  async describe() {
    if (this.#location === undefined) return undefined;
    try {
      const response = await fetch(this.#location, { signal: AbortSignal.timeout(ASK_WITHIN_MS) });
      if (!response.ok) return undefined;
      const description = await response.json();
      this.trace.server(description);
      return description;
    } catch {
      return undefined;
    }
  }

  async #call(microphone) {
    const connection = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
    this.connection = connection;
    connection.onconnectionstatechange = () => this.#follow(connection.connectionState);
    connection.oniceconnectionstatechange = () => this.trace.event(`ICE ${connection.iceConnectionState}`);
    connection.ontrack = ({ track }) => {
      track.addEventListener("unmute", () => this.trace.event("first audio"), { once: true });
      this.#on.echo(new MediaStream([track]));
    };
    for (const track of microphone.getTracks()) connection.addTrack(track, microphone);
    this.channel = connection.createDataChannel("earshot");
    this.channel.binaryType = "arraybuffer";
    this.channel.addEventListener("open", () => this.trace.event("channel open"));
    this.channel.onclose = async () => {
      this.trace.event("channel closed");
      if (!this.#over) this.#end(endedByServerProblem((await this.describe())?.reason));
    };
    this.#on.channel(this.channel);

    // Nothing is gathered first: the server learns our addresses from our packets.
    await connection.setLocalDescription();
    this.trace.sdp("offer", connection.localDescription.sdp);
    const { location, answerSdp } = await exchange(connection.localDescription.sdp, this.#options.accessToken);
    this.#location = location;
    this.#answerSdp = answerSdp;
    this.trace.sdp("answer", answerSdp);
    if (this.#over) return this.#forget();
    await connection.setRemoteDescription({ type: "answer", sdp: answerSdp });
  }

  #follow(state) {
    if (this.#over) return;
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.#enter("connected");
    } else if (state === "disconnected") this.#enter("interrupted");
    else if (state === "failed") this.#end(lostProblem());
  }

  #enter(state) {
    this.trace.event(state);
    this.#on.state(state);
  }

  /** @param {Problem} [problem] none if it was the user's wish */
  #end(problem) {
    if (this.#over) return;
    this.#over = true;
    this.#pageLeft.abort();
    clearTimeout(this.#timer);
    stopTracks(this.microphone);
    this.trace.event("ended", problem && { problem: problem.title });
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

async function openMicrophone(deviceId) {
  const audio = { echoCancellation: true, noiseSuppression: true };
  try {
    if (deviceId !== undefined) audio.deviceId = { exact: deviceId };
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw microphoneProblem(error);
  }
}

async function exchange(offerSdp, accessToken) {
  const response = await fetch(CALLS_URL, {
    method: "POST",
    headers: {
      "content-type": "application/sdp",
      ...(accessToken && { authorization: `Bearer ${accessToken}` }),
    },
    body: offerSdp,
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  }).catch(() => {
    throw unreachableProblem();
  });
  if (response.status === 401) throw accessProblem(accessToken !== undefined);
  if (response.status !== 201) throw await refusalProblem(response);
  return { location: response.headers.get("location"), answerSdp: await response.text() };
}

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
