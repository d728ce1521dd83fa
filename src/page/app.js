/** The page: one button that calls and hangs up, and what is shown meanwhile. Everything else is in its own module. */
import { Call } from "./call.js";
import { Controls } from "./controls.js";
import { serverFacts, showFacts } from "./facts.js";
import { showLevel } from "./level.js";
import { createMeter, createPinger } from "./measure.js";
import { Messages } from "./messages.js";
import { Figure } from "./plot.js";
import { browserProblem } from "./problem.js";

const element = (id) => document.getElementById(id);
const figures = {
  roundTrip: new Figure(element("figure-round-trip"), {
    unit: "ms",
    digits: 1,
    least: 20,
    lines: ["network", "data channel"],
  }),
  jitter: new Figure(element("figure-jitter"), { unit: "ms", digits: 1, least: 10, lines: ["received", "sent"] }),
  loss: new Figure(element("figure-loss"), { unit: "%", digits: 1, least: 4, lines: ["received", "sent"] }),
};
const echoAudio = new Audio();
echoAudio.autoplay = true;
const messages = new Messages(element("messages"), element("message-form"));
const controls = new Controls(
  {
    microphone: element("microphone"),
    speaker: element("speaker"),
    speakerControl: element("speaker-control"),
    mute: element("mute"),
    interrupt: element("interrupt"),
  },
  { speaker: (deviceId) => echoAudio.setSinkId(deviceId).catch(() => {}), problem: showProblem },
);
/** Figures come every second; the server is asked less often. */
const ASK_SERVER_EVERY = 2;
const ACCESS_TOKEN = "earshot.access-token";

/** State of a call -> [how it looks, what is said, what is said below it] */
const STATES = {
  microphone: ["connecting", "Waiting for the microphone", "Allow it where the browser asks."],
  calling: ["connecting", "Calling", "The offer is on its way to the server."],
  connecting: ["connecting", "Connecting", "The server has answered; looking for a path for the call."],
  connected: ["connected", "In a call", "Speak: your voice comes back as an echo."],
  interrupted: ["interrupted", "Interrupted", "Nothing comes from the server. The call goes on if that changes."],
  ended: ["idle", "Call ended", "Unless a service answers, you hear your own voice. Headphones avoid feedback."],
};

/** @type {Call | undefined} */
let call;
/** Of the call, or of the last one. @type {import("./trace.js").Trace | undefined} */
let trace;
/** Ends what runs from the first "connected" on, or undefined before that. @type {(() => void) | undefined} */
let stopMeasuring;
let pinger;
/** @type {(() => void) | undefined} */
let stopYourLevel;
/** Listens for the levels. @type {AudioContext | undefined} */
let audio;

element("call").addEventListener("click", () => {
  if (call !== undefined) {
    call.hangUp();
    return;
  }
  startCall();
});

element("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(ACCESS_TOKEN, element("access-token").value.trim());
  element("access-token").value = "";
  startCall();
});

element("trace").addEventListener("click", () => trace?.download());

function startCall() {
  showProblem(undefined);
  // Now, because browsers let only what a click has started run.
  audio = new AudioContext();
  call = new Call(
    { state: onState, echo: onEcho, channel: onChannel, microphone: onMicrophone },
    { microphone: controls.microphone, accessToken: sessionStorage.getItem(ACCESS_TOKEN) ?? undefined },
  );
  trace = call.trace;
  element("trace").disabled = false;
  call.start();
}

function onState(state, problem) {
  const [look, text, hint] = STATES[state];
  document.body.dataset.state = problem === undefined ? look : "failed";
  element("state").textContent = problem === undefined ? text : "Call failed";
  element("hint").textContent = problem === undefined ? hint : "";
  element("call-label").textContent = state === "ended" ? "Call" : "Hang up";
  document.title = look === "connected" ? "In a call - Earshot" : "Earshot";
  // It is "connected" again after an interruption; the figures then simply go on.
  if (state === "connected") stopMeasuring ??= startMeasuring(call);
  if (state === "calling") {
    // The names of devices are known from now on.
    controls.refresh();
    controls.inCall(call);
  }
  if (state !== "ended") return;
  stopMeasuring?.();
  stopMeasuring = undefined;
  controls.inCall(undefined);
  messages.close();
  echoAudio.srcObject = null;
  audio.close();
  call = undefined;
  showProblem(problem);
}

function onEcho(stream) {
  echoAudio.srcObject = stream;
}

function onMicrophone(stream) {
  if (stopYourLevel === undefined) return;
  stopYourLevel();
  stopYourLevel = showLevel(audio, stream, element("level-you"));
}

function onChannel(channel) {
  pinger = createPinger(channel);
  channel.onopen = () => messages.open(channel);
  channel.onmessage = ({ data }) => {
    if (typeof data === "string") messages.received(data);
    else pinger.answered(data);
  };
}

function startMeasuring(call) {
  const { connection, microphone } = call;
  for (const figure of Object.values(figures)) figure.clear();
  const started = Date.now();
  const meter = createMeter(connection, (report) => call.trace.snapshot(report));
  let server;
  let ticks = 0;
  let over = false;
  const ask = async () => {
    server = (await call.describe()) ?? server;
  };
  const tick = async () => {
    element("duration").textContent = durationText(Date.now() - started);
    pinger.ping();
    // Not waited for: figures of the network are wanted most when the server does not answer.
    if (ticks++ % ASK_SERVER_EVERY === 0) ask();
    const figure = await meter();
    if (over) return;
    figures.roundTrip.add([figure.roundTrip, pinger.take()]);
    figures.jitter.add([figure.jitterReceived, figure.jitterSent]);
    figures.loss.add([figure.lossReceived, figure.lossSent]);
    showServer(server);
    showFacts(element("facts"), [...figure.facts, ...serverFacts(server)]);
  };
  const timer = setInterval(tick, 1000);
  tick();

  stopYourLevel = showLevel(audio, microphone, element("level-you"));
  const stopAnswerLevel = showLevel(audio, echoAudio.srcObject, element("level-echo"));
  element("duration").hidden = false;
  return () => {
    over = true;
    clearInterval(timer);
    stopYourLevel();
    stopYourLevel = undefined;
    stopAnswerLevel();
    element("duration").hidden = true;
  };
}

function durationText(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Not everything that answers is an echo, and only what speaks by itself can be interrupted. */
function showServer(server) {
  if (server?.backend === undefined) return;
  const echoes = server.backend === "echo";
  controls.canInterrupt(!echoes);
  element("level-answer-label").textContent = echoes ? "Echo" : "Answer";
  if (!echoes && document.body.dataset.state === "connected") element("hint").textContent = "Speak, and listen.";
}

function showProblem(problem) {
  element("access").hidden = problem?.needsAccessToken !== true;
  element("problem").hidden = problem === undefined;
  element("problem-title").textContent = problem?.title ?? "";
  element("problem-text").textContent = problem?.text ?? "";
  element("problem-command").textContent = problem?.command ?? "";
  element("problem-command").hidden = problem?.command === undefined;
}

const unable = browserProblem();
if (unable !== undefined) {
  element("call").disabled = true;
  element("state").textContent = "No call from here";
  element("hint").textContent = "";
  showProblem(unable);
}
