/**
 * The ICE agent of one session: full, controlled, and it gathers nothing (RFC 8445). It answers authenticated checks,
 * and believes in a path only once its own check there was answered: a request can be replayed from, or in the name of,
 * any address; an answer with a random transaction id and the client's integrity can come only from where the check
 * went. To a path that is not proved it sends at most one response and one check for each request.
 *
 * Pure protocol: no sockets, no timers. Time, randomness and the way out come from the host.
 */
import { verifyFingerprint, verifyMessageIntegrity } from "../stun/stun-integrity.ts";
import { localUfrag, STUN_ATTRIBUTE, STUN_CLASS, type StunMessage, stunAttribute } from "../stun/stun-reader.ts";
import {
  unknownAttributes,
  username,
  writeCheck,
  writeRoleConflict,
  writeSuccess,
  writeUnknownAttributes,
} from "./ice-messages.ts";
import {
  CHECK_LIFETIME_MS,
  CONSENT_INTERVAL_MAX_MS,
  CONSENT_INTERVAL_MIN_MS,
  CONSENT_TIMEOUT_MS,
  MAX_PATHS,
  PROOF_FRESH_MS,
  SILENCE_MS,
} from "./limits.ts";

export interface IceCredentials {
  readonly ufrag: string;
  readonly password: string;
}

/** Where a client can be reached. The host makes these: one object for each path. */
export interface IcePath {
  readonly key: string;
  /** Path bytes as in docs/trunk-protocol.md. */
  readonly bytes: Buffer;
}

/** What the agent asks of its surroundings. None of these may call back into the agent. */
export interface IceHost<Path extends IcePath> {
  random(bytes: number): Buffer;
  send(path: Path, datagram: Buffer): void;
  /** Requests to this ufrag are the agent's, until it is removed. */
  ufragAdded(ufrag: string): void;
  ufragRemoved(ufrag: string): void;
  /** Responses with this transaction id (as latin1) are the agent's, until it is removed. */
  transactionAdded(id: string): void;
  transactionRemoved(id: string): void;
  pathAdded(path: Path): void;
  pathRemoved(path: Path, why: "evicted" | "closed"): void;
  /** For the first time in its ICE generation; `ufrag` is our own of that generation. */
  pathProved(path: Path, ufrag: string): void;
  /** Everything goes here from now on. `restarted`: this is the first path of an ICE generation. */
  pathSelected(path: Path, restarted: boolean): void;
}

export type RequestVerdict = "answered" | "refused" | "ufrag" | "fingerprint" | "integrity" | "username";
export type ResponseVerdict = "accepted" | "transaction" | "fingerprint" | "integrity";

interface Generation {
  readonly number: number;
  readonly local: IceCredentials;
  remote: IceCredentials | undefined;
}

interface Check {
  readonly id: string;
  readonly generation: Generation;
  readonly startedMs: number;
  readonly bytes: Buffer;
}

interface Entry<Path> {
  readonly path: Path;
  /** Our ufrags that the client has used here, the newest first: the two that a relay remembers of a path. */
  ufrags: readonly string[];
  /** Number of the generation that it is proved in, or -1. */
  provedIn: number;
  /** When the last answer came that proved it. */
  provedMs: number;
  /** When anything last came from it. */
  seenMs: number;
  /** The client wants it selected as soon as it is proved. */
  nominated: boolean;
  /** The one check that may be answered. */
  check: Check | undefined;
}

const TRANSACTION_BYTES = 12;

export class IceAgent<Path extends IcePath> {
  readonly #host: IceHost<Path>;
  readonly #tieBreaker: bigint;
  /** The selected generation, if there is one, and the newest. */
  #generations: Generation[] = [];
  #nextGeneration = 0;
  /** In the order in which they were added. */
  readonly #entries = new Map<string, Entry<Path>>();
  #selected: Entry<Path> | undefined;
  #selectedGeneration = -1;
  #nextConsentMs = 0;

  constructor(host: IceHost<Path>, local: IceCredentials) {
    this.#host = host;
    this.#tieBreaker = host.random(8).readBigUInt64BE(0);
    this.restart(local);
  }

  /** Our credentials of the newest generation. None once it is closed. */
  get local(): IceCredentials | undefined {
    return this.#generations.at(-1)?.local;
  }

  /** Where to send to, if any path has been proved. */
  get selected(): Path | undefined {
    return this.#selected?.path;
  }

  /** The paths that it remembers, each with up to two ufrags of ours that the client has used there, the newest first. */
  *paths(): Generator<{ path: Path; ufrags: readonly string[]; proved: boolean }> {
    for (const { path, ufrags, provedIn } of this.#entries.values()) yield { path, ufrags, proved: provedIn >= 0 };
  }

  /** Begins an ICE generation. The old one is answered, and its path sent to, until the new one has a proved path. */
  restart(local: IceCredentials): void {
    const kept = this.#generations.filter(({ number }) => number === this.#selectedGeneration);
    for (const old of this.#generations) if (!kept.includes(old)) this.#host.ufragRemoved(old.local.ufrag);
    this.#generations = [...kept, { number: this.#nextGeneration++, local, remote: undefined }];
    this.#host.ufragAdded(local.ufrag);
  }

  /** The client's credentials of the newest generation. */
  setRemote(remote: IceCredentials): void {
    this.#generations.at(-1)!.remote = remote;
  }

  /** A well-formed Binding Request. */
  request(message: StunMessage, path: Path, nowMs: number): RequestVerdict {
    const ufrag = localUfrag(message);
    const generation = this.#generations.find(({ local }) => local.ufrag === ufrag);
    if (generation === undefined) return "ufrag";
    const { local, remote } = generation;
    if (!verifyFingerprint(message)) return "fingerprint";
    if (!verifyMessageIntegrity(message, local.password)) return "integrity";
    if (remote !== undefined && username(message) !== `${local.ufrag}:${remote.ufrag}`) return "username";

    const unknown = unknownAttributes(message);
    if (unknown.length > 0) {
      this.#host.send(path, writeUnknownAttributes(message, unknown, local.password));
      return "refused";
    }
    if (stunAttribute(message, STUN_ATTRIBUTE.iceControlled) !== undefined) {
      this.#host.send(path, writeRoleConflict(message, local.password));
      return "refused";
    }

    // A finished restart has replaced this generation: it is answered, but proves and moves nothing any more.
    if (generation.number >= this.#selectedGeneration) this.#requested(message, generation, path, nowMs);
    // After the check, so that a client answers that before it thinks that it may send DTLS.
    this.#host.send(path, writeSuccess(message, path.bytes, local.password));
    return "answered";
  }

  /** A well-formed Binding success or error response. */
  response(message: StunMessage, path: Path, nowMs: number): ResponseVerdict {
    const entry = this.#entries.get(path.key);
    const check = entry?.check;
    if (entry === undefined || check === undefined) return "transaction";
    if (check.id !== message.transactionId.toString("latin1")) return "transaction";
    if (nowMs - check.startedMs >= CONSENT_TIMEOUT_MS) return "transaction";
    if (!verifyMessageIntegrity(message, check.generation.remote!.password)) return "integrity";
    const hasFingerprint = stunAttribute(message, STUN_ATTRIBUTE.fingerprint) !== undefined;
    if (hasFingerprint && !verifyFingerprint(message)) return "fingerprint";
    entry.seenMs = nowMs;
    this.#dropCheck(entry);
    if (message.class === STUN_CLASS.success) this.#proved(entry, check.generation, nowMs);
    return "accepted";
  }

  /** Anything else came from this path. */
  received(path: Path, nowMs: number): void {
    if (this.#selected?.path === path) {
      this.#selected.seenMs = nowMs;
      return;
    }
    const entry = this.#entries.get(path.key);
    if (entry !== undefined) entry.seenMs = nowMs;
  }

  /** Sends the consent check if it is due. False when consent has run out: nothing more may be sent. */
  tick(nowMs: number): boolean {
    const selected = this.#selected;
    if (selected === undefined) return true;
    if (nowMs - selected.provedMs >= CONSENT_TIMEOUT_MS) return false;
    if (nowMs >= this.#nextConsentMs) this.#askConsent(selected, nowMs);
    return true;
  }

  /** Forgets everything; nothing may be called after that but `selected` and `paths`, which are empty. */
  close(): void {
    for (const { local } of this.#generations) this.#host.ufragRemoved(local.ufrag);
    this.#generations = [];
    this.#selected = undefined;
    for (const entry of this.#entries.values()) this.#remove(entry, "closed");
  }

  #requested(message: StunMessage, generation: Generation, path: Path, nowMs: number): void {
    const entry = this.#entries.get(path.key) ?? this.#add(path, nowMs);
    const { ufrag } = generation.local;
    entry.seenMs = nowMs;
    if (entry.ufrags[0] !== ufrag) entry.ufrags = [ufrag, ...entry.ufrags.slice(0, 1)];
    const nominates = stunAttribute(message, STUN_ATTRIBUTE.useCandidate) !== undefined;
    if (this.#isProved(entry, generation, nowMs)) {
      if (nominates && generation.number === this.#selectedGeneration) this.#select(entry, generation, nowMs);
      return;
    }
    entry.nominated ||= nominates;
    this.#check(entry, generation, nowMs);
  }

  #isProved(entry: Entry<Path>, generation: Generation, nowMs: number): boolean {
    return entry.provedIn === generation.number && nowMs - entry.provedMs < PROOF_FRESH_MS;
  }

  /**
   * Sends a check, and with it a new transaction unless one is young enough to be repeated: requests may come faster
   * than answers, and each answer has to find its transaction.
   */
  #check(entry: Entry<Path>, generation: Generation, nowMs: number): void {
    const { remote } = generation;
    if (remote === undefined) return;
    let check = entry.check;
    if (check?.generation !== generation || nowMs - check.startedMs >= CHECK_LIFETIME_MS) {
      this.#dropCheck(entry);
      const transactionId = this.#host.random(TRANSACTION_BYTES);
      check = {
        id: transactionId.toString("latin1"),
        generation,
        startedMs: nowMs,
        bytes: writeCheck({
          transactionId,
          username: `${remote.ufrag}:${generation.local.ufrag}`,
          password: remote.password,
          tieBreaker: this.#tieBreaker,
        }),
      };
      entry.check = check;
      this.#host.transactionAdded(check.id);
    }
    this.#host.send(entry.path, check.bytes);
  }

  #dropCheck(entry: Entry<Path>): void {
    if (entry.check === undefined) return;
    this.#host.transactionRemoved(entry.check.id);
    entry.check = undefined;
  }

  #proved(entry: Entry<Path>, generation: Generation, nowMs: number): void {
    const { number, local } = generation;
    const isNews = !this.#isProved(entry, generation, nowMs);
    const isFirstProof = entry.provedIn < number;
    entry.provedIn = Math.max(entry.provedIn, number);
    entry.provedMs = nowMs;
    if (isFirstProof) this.#host.pathProved(entry.path, local.ufrag);
    if (number > this.#selectedGeneration) {
      this.#select(entry, generation, nowMs);
    } else if (number === this.#selectedGeneration && isNews) {
      const silent = nowMs - (this.#selected?.seenMs ?? 0) >= SILENCE_MS;
      if (entry.nominated || silent) this.#select(entry, generation, nowMs);
    }
    entry.nominated = false;
  }

  #select(entry: Entry<Path>, generation: Generation, nowMs: number): void {
    const restarted = generation.number > this.#selectedGeneration;
    if (this.#selected === entry && !restarted) return;
    this.#selected = entry;
    this.#selectedGeneration = generation.number;
    if (entry.provedMs === nowMs) this.#planConsent(nowMs);
    else this.#askConsent(entry, nowMs);
    this.#host.pathSelected(entry.path, restarted);
  }

  /** A check of its own transaction, with the credentials that the path was proved with. */
  #askConsent(entry: Entry<Path>, nowMs: number): void {
    const generation = this.#generations.find(({ number }) => number === entry.provedIn);
    if (generation !== undefined) {
      this.#dropCheck(entry);
      this.#check(entry, generation, nowMs);
    }
    this.#planConsent(nowMs);
  }

  #planConsent(nowMs: number): void {
    const share = this.#host.random(2).readUInt16BE(0) / 0x1_0000;
    const spread = CONSENT_INTERVAL_MAX_MS - CONSENT_INTERVAL_MIN_MS;
    this.#nextConsentMs = nowMs + CONSENT_INTERVAL_MIN_MS + share * spread;
  }

  #add(path: Path, nowMs: number): Entry<Path> {
    if (this.#entries.size >= MAX_PATHS) this.#evict();
    const entry: Entry<Path> = {
      path,
      ufrags: [],
      provedIn: -1,
      provedMs: Number.NEGATIVE_INFINITY,
      seenMs: nowMs,
      nominated: false,
      check: undefined,
    };
    this.#entries.set(path.key, entry);
    this.#host.pathAdded(path);
    return entry;
  }

  /** The oldest that is not proved, else the one that was heard from longest ago; never the selected. */
  #evict(): void {
    let victim: Entry<Path> | undefined;
    for (const entry of this.#entries.values()) {
      if (entry === this.#selected) continue;
      if (entry.provedIn < 0) {
        victim = entry;
        break;
      }
      if (victim === undefined || entry.seenMs < victim.seenMs) victim = entry;
    }
    if (victim !== undefined) this.#remove(victim, "evicted");
  }

  #remove(entry: Entry<Path>, why: "evicted" | "closed"): void {
    this.#dropCheck(entry);
    this.#entries.delete(entry.path.key);
    this.#host.pathRemoved(entry.path, why);
  }
}
