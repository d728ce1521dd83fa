/** Choice of devices, mute and interruption: their elements, and what was chosen. Knows nothing of a call but its functions. */

const CHOSEN = { microphone: "earshot.microphone", speaker: "earshot.speaker" };

export class Controls {
  #elements;
  #on;
  /** Undefined outside of a call. @type {import("./call.js").Call | undefined} */
  #call;

  /**
   * @param elements microphone, speaker (selects), speakerControl, mute, interrupt
   * @param on speaker(deviceId), problem(Error), event(name, details)
   */
  constructor(elements, on) {
    this.#elements = elements;
    this.#on = on;
    const { microphone, speaker, mute, interrupt } = elements;
    microphone.addEventListener("change", () => this.#chooseMicrophone());
    speaker.addEventListener("change", () => this.#chooseSpeaker());
    mute.addEventListener("click", () => this.#mute(mute.ariaPressed !== "true"));
    interrupt.addEventListener("click", () => this.#call?.interrupt());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.refresh());
    this.refresh();
  }

  /** The chosen microphone, or undefined for the browser's own choice. */
  get microphone() {
    return this.#elements.microphone.value || undefined;
  }

  /** Names of devices are known once the microphone was allowed. */
  async refresh() {
    const { microphone, speaker, speakerControl } = this.#elements;
    const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    fill(microphone, "Default microphone", devices, "audioinput", localStorage.getItem(CHOSEN.microphone));
    const speakers = fill(speaker, "Default speaker", devices, "audiooutput", localStorage.getItem(CHOSEN.speaker));
    speakerControl.hidden = speakers === 0 || HTMLMediaElement.prototype.setSinkId === undefined;
    if (!speakerControl.hidden) this.#on.speaker(speaker.value);
  }

  /** @param {import("./call.js").Call | undefined} call */
  inCall(call) {
    this.#call = call;
    this.#elements.mute.disabled = call === undefined;
    if (call !== undefined) return;
    this.#elements.interrupt.hidden = true;
    this.#showMuted(false);
  }

  /** What there is to interrupt, if anything. */
  canInterrupt(can) {
    this.#elements.interrupt.hidden = !can;
  }

  async #chooseMicrophone() {
    localStorage.setItem(CHOSEN.microphone, this.#elements.microphone.value);
    try {
      await this.#call?.useMicrophone(this.microphone);
    } catch (error) {
      this.#on.problem(error);
    }
  }

  #chooseSpeaker() {
    localStorage.setItem(CHOSEN.speaker, this.#elements.speaker.value);
    this.#on.speaker(this.#elements.speaker.value);
  }

  #mute(muted) {
    this.#call?.mute(muted);
    this.#showMuted(muted);
  }

  #showMuted(muted) {
    this.#elements.mute.ariaPressed = String(muted);
    this.#elements.mute.textContent = muted ? "Muted" : "Mute";
  }
}

/** Fills a select with the devices of a kind, and says how many have a name of their own. */
function fill(select, defaultName, devices, kind, chosen) {
  const known = devices.filter((one) => one.kind === kind && one.deviceId !== "" && one.deviceId !== "default");
  const options = [
    new Option(defaultName, ""),
    ...known.map((one, n) => new Option(one.label || `${defaultName.split(" ")[1]} ${n + 1}`, one.deviceId)),
  ];
  const value = known.some((one) => one.deviceId === chosen) ? chosen : "";
  select.replaceChildren(...options);
  select.value = value;
  return known.length;
}
