/** What a person may want to know of a call, as a list of names and texts. */

/**
 * @param {HTMLDListElement} list
 * @param {[name: string, text: string][]} facts
 */
export function showFacts(list, facts) {
  const items = facts.flatMap(([name, text]) => {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = name;
    description.textContent = text;
    return [term, description];
  });
  list.replaceChildren(...items);
}

/** @param {object | undefined} server as it describes the call (docs/signalling.md) */
export function serverFacts(server) {
  if (server === undefined) return [];
  const { state, createdAt, connectedAt, client, frames, messages: texts, backend } = server;
  const setUpMs = connectedAt === undefined ? undefined : Date.parse(connectedAt) - Date.parse(createdAt);
  const traffic = (one) => `${one.received.toLocaleString("en")} in, ${one.sent.toLocaleString("en")} out`;
  return [
    ["Answered by", backend],
    ["State at the server", setUpMs === undefined ? state : `${state}, ${setUpMs} ms after the offer`],
    ["Seen from there", client && place(client)],
    ["Frames there", frames && traffic(frames)],
    ["Messages there", texts && traffic(texts)],
  ].filter(([, text]) => text !== undefined);
}

function place({ address, port }) {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
