/** What can go wrong in a call, in words that say what to do. Pure: makes no call and touches no page. */

export class Problem extends Error {
  /** Whether a bearer token would help. */
  needsAccessToken = false;

  /**
   * @param {string} title what happened
   * @param {string} text what to do about it
   * @param {string} [command] a command that helps
   */
  constructor(title, text, command) {
    super(title);
    this.title = title;
    this.text = text;
    this.command = command;
  }
}

/** What keeps this browser from calling at all, or undefined. */
export function browserProblem() {
  if (!window.isSecureContext) {
    const port = location.port || "80";
    return new Problem(
      "This page is not in a secure context.",
      `Browsers give the microphone only to https and to localhost. Bring the page to localhost with the command below, then open http://localhost:${port}`,
      `ssh -L ${port}:${location.hostname}:${port} ${location.hostname}`,
    );
  }
  if (!window.RTCPeerConnection || !navigator.mediaDevices?.getUserMedia) {
    return new Problem("This browser has no WebRTC.", "Use a current Chromium, Firefox or Safari.");
  }
  return undefined;
}

const MICROPHONE_PROBLEMS = {
  NotAllowedError: ["The microphone was not allowed.", "Allow it for this page next to the address, then call again."],
  OverconstrainedError: ["The chosen microphone is not there any more.", "Choose another one, then call again."],
  NotFoundError: ["No microphone was found.", "Connect one, or enable it in the system's settings, then call again."],
  NotReadableError: [
    "The microphone cannot be opened.",
    "Another program may be using it. Close that, then call again.",
  ],
};

export function microphoneProblem(error) {
  const [title, text] = MICROPHONE_PROBLEMS[error.name] ?? ["The microphone cannot be used.", error.message];
  return new Problem(title, text);
}

export function unreachableProblem() {
  return new Problem(
    "The server cannot be reached.",
    "See whether Earshot is still running, and the tunnel if you use one, then call again.",
  );
}

/** What the server said instead of 201. */
export async function refusalProblem(response) {
  const { error } = await response.json().catch(() => ({ error: undefined }));
  const said = error === undefined ? `It answered ${response.status}.` : `${error.code}: ${error.message}.`;
  if (response.status === 503) {
    const seconds = response.headers.get("retry-after") ?? "a few";
    return new Problem("The server takes no call right now.", `${said} Call again in ${seconds} seconds.`);
  }
  return new Problem("The server refused the call.", said);
}

/** The answer came by HTTP, and then nothing by UDP. */
export function noPathProblem(answerSdp) {
  const targets = [...answerSdp.matchAll(/^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) /gim)].map(([, address, port]) =>
    address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`,
  );
  const where = [...new Set(targets)].join(", ") || "the server";
  return new Problem(
    "The server answered, but no packet of the call came through.",
    `UDP to ${where} has to be open. If the server is known by another address from here (NAT), start it with that address:`,
    "earshot start --advertise ADDRESS:3478",
  );
}

export function lostProblem() {
  return new Problem("The call was lost.", "Nothing came from the server for a while. Call again.");
}

const END_REASONS = {
  "max-duration": "The call was as long as the server allows.",
  idle: "Neither voice nor messages had come for long.",
  backend: "The service behind it has hung up.",
  stopped: "It was stopped. Call again once it is back.",
  "transceiver-gone": "The process that had the call has failed, and is started again. Call again.",
};

/** @param {string} [reason] as the server says it */
export function endedByServerProblem(reason) {
  const text = END_REASONS[reason] ?? "It may have been stopped. Call again.";
  return new Problem("The server ended the call.", text);
}

/** The server wants a bearer token. @param {boolean} given whether it has refused one */
export function accessProblem(given) {
  const problem = new Problem(
    given ? "The server does not accept this access token." : "The server asks for an access token.",
    "Whoever runs it can give you one.",
  );
  problem.needsAccessToken = true;
  return problem;
}
