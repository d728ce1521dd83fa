/**
 * What werift sees of ICE: an `IceConnection` that is always the controlled side, has the ingress addresses for
 * candidates, and is connected once our agent has selected a path. It holds no protocol, that is ice-agent.ts, and no
 * client's datagram goes through it, that is dtls-transport.ts.
 */
import { Candidate, type CandidatePair, Event, type IceConnection, type IceOptions, type IceState } from "werift";
import type { IceCredentials } from "../ice-agent.ts";
import { hostPriority } from "../ice-fragment.ts";
import type { AddressPort } from "../trunk-end.ts";

export interface IceConnectionHost {
  /** Begins an ICE generation, and says our credentials in it. */
  newGeneration(): IceCredentials;
  /** The client's credentials of the newest generation. */
  setRemote(remote: IceCredentials): void;
  /** The ingress addresses to advertise, the preferred one first. */
  ingresses(): readonly AddressPort[];
  /** Sends to the selected path. */
  send(datagram: Buffer): void;
}

export class AgentConnection implements IceConnection {
  readonly iceLite = false;
  localUsername = "";
  localPassword = "";
  remoteUsername = "";
  remotePassword = "";
  remoteIsLite = false;
  localCandidates: Candidate[] = [];
  remoteCandidates: Candidate[] = [];
  checkList: CandidatePair[] = [];
  candidatePairs: CandidatePair[] = [];
  generation = -1;
  options = {} as IceOptions;
  remoteCandidatesEnd = false;
  localCandidatesEnd = true;
  state: IceState = "new";
  readonly onData: Event<[Buffer]> = new Event();
  readonly stateChanged: Event<[IceState]> = new Event();
  readonly onIceCandidate: Event<[Candidate]> = new Event();

  readonly #host: IceConnectionHost;
  #hasPath = false;
  #waiting: { resolve(): void; reject(error: Error): void }[] = [];

  constructor(host: IceConnectionHost) {
    this.#host = host;
    this.restart();
  }

  get iceControlling(): boolean {
    return false;
  }

  /** werift sets this for offers; we never make one. */
  set iceControlling(_controlling: boolean) {}

  restart(): void {
    const { ufrag, password } = this.#host.newGeneration();
    this.localUsername = ufrag;
    this.localPassword = password;
    this.remoteUsername = "";
    this.remotePassword = "";
    this.generation++;
    this.localCandidates = this.#host
      .ingresses()
      .map(
        ({ address, port }, index) =>
          new Candidate(`${index + 1}`, 1, "udp", hostPriority(index), address, port, "host"),
      );
    this.state = "new";
  }

  /** Which werift calls in place of `restart` when the last offer had an inactive m-line. */
  resetNominatedPair(): void {
    this.restart();
  }

  setRemoteParams(params: { iceLite: boolean; usernameFragment: string; password: string }): void {
    this.remoteIsLite = params.iceLite;
    this.remoteUsername = params.usernameFragment;
    this.remotePassword = params.password;
    this.#host.setRemote({ ufrag: params.usernameFragment, password: params.password });
  }

  async gatherCandidates(): Promise<void> {}

  /** We never dial out, so the client's candidates are of no use. */
  async addRemoteCandidate(): Promise<void> {}

  async connect(): Promise<void> {
    if (!this.#hasPath) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
      });
    }
    this.#setState("connected");
  }

  async send(datagram: Buffer): Promise<void> {
    if (this.state !== "closed") this.#host.send(datagram);
  }

  getDefaultCandidate(): Candidate | undefined {
    return this.localCandidates[0];
  }

  setIceServers(): void {}

  async close(): Promise<void> {
    if (this.state === "closed") return;
    this.#setState("closed");
    for (const { reject } of this.#waiting.splice(0)) reject(new Error("closed"));
    this.onData.complete();
    this.stateChanged.complete();
    this.onIceCandidate.complete();
  }

  /** The agent has selected the first path of a generation. */
  pathSelected(): void {
    this.#hasPath = true;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
    // After a restart werift does not ask to connect again.
    if (this.generation > 0) this.#setState("connected");
  }

  #setState(state: IceState): void {
    if (this.state === state) return;
    this.state = state;
    this.stateChanged.execute(state);
  }
}
