/** Owns a signalling server with transceivers in miniature behind it, to be asked by `inject`. */
import type { FastifyInstance } from "fastify";
import { type DestinationStream, pino } from "pino";
import { EarshotError } from "../../src/earshot-error.ts";
import { Calls } from "../../src/signalling/calls.ts";
import { FrontMetrics } from "../../src/signalling/front-metrics.ts";
import type { CallFacts, CallMaker, CallWish } from "../../src/signalling/open-calls.ts";
import { buildServer, type ServerOptions } from "../../src/signalling/server.ts";

export const CALLS = "/v1/realtime/calls";
export const WHIP = "/whip";
export const OFFER = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
export const ANSWER = "v=0\r\ns=answer\r\n";
export const SDP = { "content-type": "application/sdp" };

const FACTS: CallFacts = {
  state: "connected",
  createdMs: 0,
  connectedMs: 1500,
  backend: "echo",
  client: { address: "203.0.113.9", port: 4444 },
  frames: { received: 50, sent: 49 },
  messages: { received: 2, sent: 1 },
};

/** A transceiver in miniature: numbers its calls, restarts ICE for whatever fragment says "new", and fails when told to. */
export class FakeMaker implements CallMaker {
  failure: Error | undefined;
  readonly wishes: CallWish[] = [];
  readonly updates: string[] = [];
  readonly fragments: { fragment: string; mayRepeat: boolean }[] = [];
  readonly ended: string[] = [];
  /** Counts the ICE sessions of all calls. */
  #generation = 0;

  async createCall(wish: CallWish) {
    if (this.failure !== undefined) throw this.failure;
    this.wishes.push(wish);
    return { callId: `call-${this.wishes.length}`, answerSdp: ANSWER, ufrag: `ufrag-${this.#generation}` };
  }

  async updateCall(_callId: string, offerSdp: string) {
    if (this.failure !== undefined) throw this.failure;
    this.updates.push(offerSdp);
    return { answerSdp: ANSWER, ufrag: `ufrag-${this.#generation}` };
  }

  async takeFragment(_callId: string, fragment: string, mayRepeat: boolean) {
    if (this.failure !== undefined) throw this.failure;
    this.fragments.push({ fragment, mayRepeat });
    if (!fragment.includes("new")) return { fragment: undefined, ufrag: `ufrag-${this.#generation}` };
    this.#generation++;
    return { fragment: "a=ice-ufrag:fresh\r\n", ufrag: `ufrag-${this.#generation}` };
  }

  async describeCall(callId: string) {
    return this.ended.includes(callId) ? undefined : FACTS;
  }

  async endCall(callId: string) {
    this.ended.push(callId);
    return true;
  }
}

export interface SignallingWishes {
  readonly makers?: readonly CallMaker[];
  readonly maxNewCallsPerSecond?: number;
  readonly now?: () => number;
  readonly corsOrigin?: readonly string[];
  readonly links?: readonly string[];
  readonly reasons?: readonly string[];
  readonly log?: DestinationStream;
  readonly others?: readonly (() => Promise<string>)[];
  readonly more?: Partial<ServerOptions["calls"]>;
}

export interface SignallingServer {
  readonly app: FastifyInstance;
  /** The one transceiver, unless others were given. */
  readonly maker: FakeMaker;
  readonly calls: Calls;
}

export async function serveSignalling(wishes: SignallingWishes = {}): Promise<SignallingServer> {
  const { corsOrigin = ["*"], links = [], reasons = [], log, others = [], more = {} } = wishes;
  const maker = new FakeMaker();
  const calls = new Calls({
    makers: wishes.makers ?? [maker],
    maxNewCallsPerSecond: wishes.maxNewCallsPerSecond ?? Number.POSITIVE_INFINITY,
    ...(wishes.now && { now: wishes.now }),
  });
  const metrics = new FrontMetrics({ children: [], others, calls });
  const app = await buildServer({
    logger: pino({ level: log === undefined ? "silent" : "info" }, log ?? process.stderr),
    counters: metrics,
    operations: { metrics: () => metrics.text(), notReadyReasons: async () => reasons },
    calls: { service: calls, corsOrigin, links, ...more },
  });
  return { app, maker, calls };
}

export const post = (payload: string, headers: Record<string, string> = SDP, url = CALLS) =>
  ({ method: "POST", url, payload, headers }) as const;

export const overloaded = (): EarshotError => new EarshotError("OVERLOADED", "all calls are taken");
