/**
 * The paths that sessions know, one object for each path, shared by all sessions that have heard from it. Owns which
 * relay port a path last came from, which other relays may know it too, and which session may get what is not STUN. Says
 * nothing about whether to believe.
 */
import type { StunMessage } from "../stun/stun-reader.ts";
import { pathOfKey } from "../trunk/path.ts";
import type { IcePath, RequestVerdict, ResponseVerdict } from "./ice-agent.ts";
import { MAX_OTHER_RELAYS } from "./limits.ts";
import { controlPortOf } from "./relay-watch.ts";
import type { RelayPort } from "./trunk-end.ts";

/** What a session does with what is its. */
export interface DatagramTaker {
  request(message: StunMessage, path: ClientPath, nowMs: number): RequestVerdict;
  response(message: StunMessage, path: ClientPath, nowMs: number): ResponseVerdict;
  /** DTLS, SRTP or SRTCP from a path that this session has proved. */
  media(datagram: Buffer, path: ClientPath, nowMs: number): void;
  /** The relay behind this port does not know a path of ours any more: tells it whose it is. */
  assertPath(path: ClientPath, to: RelayPort): void;
}

export interface ClientPath extends IcePath {
  /** Where the last authentic datagram of this path came from, and so where answers go. */
  relayPort: RelayPort;
  /** Control ports of the other relays that may have a flow for it, those of the past; the last one is the latest. */
  otherRelays: readonly RelayPort[];
  /** The session that was the last to prove this path. */
  owner: DatagramTaker | undefined;
  /** How many sessions hold it. */
  holders: number;
}

const NO_OTHERS: readonly RelayPort[] = [];

export class PathBook {
  readonly #paths = new Map<string, ClientPath>();

  /** Held paths. */
  get size(): number {
    return this.#paths.size;
  }

  /** The path of a datagram that has just come in by `relayPort`: a held one, or a new one that nobody holds yet. */
  arrival(key: string, relayPort: RelayPort): ClientPath {
    const held = this.#paths.get(key);
    if (held !== undefined) {
      if (held.relayPort !== relayPort) move(held, relayPort);
      return held;
    }
    return { key, bytes: pathOfKey(key), relayPort, otherRelays: NO_OTHERS, owner: undefined, holders: 0 };
  }

  /** The path if any session holds it. */
  find(key: string): ClientPath | undefined {
    return this.#paths.get(key);
  }

  hold(path: ClientPath): void {
    path.holders++;
    this.#paths.set(path.key, path);
  }

  release(path: ClientPath, holder: DatagramTaker): void {
    path.holders--;
    if (path.owner === holder) path.owner = undefined;
    if (path.holders === 0) this.#paths.delete(path.key);
  }
}

/** The path now comes by another port. */
function move(path: ClientPath, to: RelayPort): void {
  const from = path.relayPort;
  path.relayPort = to;
  if (controlPortOf(from) !== controlPortOf(to)) mayKnow(path, from);
}

/** The relay that has this port may have a flow for the path. */
export function mayKnow(path: ClientPath, port: RelayPort): void {
  const [present, relay] = [controlPortOf(path.relayPort), controlPortOf(port)];
  const others = path.otherRelays.filter((other) => other !== present && other !== relay);
  if (relay !== present) others.push(relay);
  path.otherRelays = others.slice(-MAX_OTHER_RELAYS);
}
