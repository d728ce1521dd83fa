/** The text box: what was typed goes over the data channel, and what comes back is shown with the time it took. */

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
    for (const { note } of this.#waiting) note.textContent = "sent, not returned";
    this.#waiting = [];
    this.#enable(false);
  }

  /** @param {string} text */
  received(text) {
    const index = this.#waiting.findIndex((one) => one.text === text);
    if (index < 0) {
      this.#add(text, "received");
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
