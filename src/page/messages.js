/**
 * The text box: what was typed goes over the data channel, and what comes back is shown with the time it took. Events of a
 * service (JSON with a type, as the Realtime API has them) are shown if they are what somebody said.
 */

const KEPT = 100;

export class Messages {
  #list;
  #form;
  #input;
  #button;
  #channel;
  #waiting = [];

  constructor(list, form) {
    this.#list = list;
    this.#form = form;
    this.#input = form.querySelector("input");
    this.#button = form.querySelector("button");
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** @param {RTCDataChannel} channel */
  open(channel) {
    this.#channel = channel;
    this.#enable(true);
  }

  close() {
    this.#channel = undefined;
    this.#waiting = [];
    this.#enable(false);
  }

  /** @param {string} text */
  received(text) {
    const index = this.#waiting.findIndex((one) => one.text === text);
    if (index < 0) {
      const event = eventOf(text);
      if (event === undefined) this.#add(text, "received");
      else if (event.transcript)
        this.#add(event.transcript, event.type.startsWith("response.") ? "answer" : "you said");
      return;
    }
    const [{ note, at }] = this.#waiting.splice(index, 1);
    note.textContent = `returned after ${(performance.now() - at).toFixed(0)} ms`;
  }

  #send() {
    const text = this.#input.value.trim();
    if (text === "" || this.#channel?.readyState !== "open") return;
    this.#channel.send(text);
    this.#waiting.push({ text, note: this.#add(text, "sent"), at: performance.now() });
    this.#input.value = "";
  }

  #add(text, state) {
    const item = document.createElement("li");
    const words = document.createElement("span");
    const note = document.createElement("small");
    words.textContent = text;
    note.textContent = state;
    item.append(words, note);
    this.#list.append(item);
    while (this.#list.children.length > KEPT) this.#list.firstChild.remove();
    this.#list.scrollTop = this.#list.scrollHeight;
    return note;
  }

  #enable(enabled) {
    this.#input.disabled = !enabled;
    this.#button.disabled = !enabled;
    this.#input.placeholder = enabled ? "Type a message" : "Call first";
  }
}

/** An event of a service, or undefined for any other text. */
function eventOf(text) {
  if (!text.startsWith("{")) return undefined;
  try {
    const event = JSON.parse(text);
    return typeof event.type === "string" ? event : undefined;
  } catch {
    return undefined;
  }
}
