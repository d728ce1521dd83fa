/**
 * The front's view of the transceiver processes: one or several, each with an id and a trunk socket of its own, and the
 * calls that live in them. What the calls are made of stays in the children.
 */
import type { Logger } from "pino";
import type { AddressPort } from "../config/address-port.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { RedisSettings } from "../relay/relay.ts";
import { Calls } from "../signalling/calls.ts";
import type { CallMaker } from "../signalling/open-calls.ts";
import type { BackendSettings } from "../transceiver/backends/load-backend.ts";
import { tellKeys } from "./child-keys.ts";
import { waitUntilDrained } from "./drain.ts";
import { childEntry } from "./entry.ts";
import { mergeMetrics } from "./merged-metrics.ts";
import type { TransceiverCalls, TransceiverEvents, TransceiverInit, TransceiverReady } from "./messages.ts";
import { SupervisedChild } from "./supervised-child.ts";

/** A scrape or a readiness check is not to wait for a child that hangs. */
export const OPERATIONS_TIMEOUT_MS = 1000;

export interface TransceiverFrontOptions {
  readonly settings: {
    /** Of the first process; the others follow. */
    readonly id: number;
    readonly processes: number;
    readonly cluster: number;
    /** Of the first process; the others follow, unless the kernel chooses. */
    readonly trunk: AddressPort;
    readonly maxCalls: number;
    readonly maxNewCallsPerSecond: number;
    readonly maxCallSeconds: number;
    readonly maxIdleSeconds: number;
    readonly maxQueuedAudioSeconds: number;
    readonly logLevel: string;
  };
  /** Where the processes say that they are there. */
  readonly redis?: RedisSettings | undefined;
  readonly backend: BackendSettings;
  /** The keys of now. */
  readonly keys: () => KeyRing;
  readonly advertise: () => readonly AddressPort[];
  readonly logger: Logger;
  /** A process has started, or started again. */
  readonly onReady: () => void;
}

type TransceiverChild = SupervisedChild<TransceiverReady, TransceiverCalls, TransceiverEvents>;

interface Member {
  readonly id: number;
  readonly child: TransceiverChild;
  readonly maker: CallMaker;
  /** Since it was ready for the first time. */
  trunk: AddressPort | undefined;
}

export class TransceiverFront {
  readonly calls: Calls;
  readonly #options: TransceiverFrontOptions;
  readonly #members: readonly Member[];
  #draining = false;

  constructor(options: TransceiverFrontOptions) {
    this.#options = options;
    const { processes, maxNewCallsPerSecond } = options.settings;
    this.#members = Array.from({ length: processes }, (_, index) => this.#member(index));
    this.calls = new Calls({ makers: this.#members.map(({ maker }) => maker), maxNewCallsPerSecond });
  }

  get children(): readonly TransceiverChild[] {
    return this.#members.map(({ child }) => child);
  }

  /** What a relay's directory has to hold. Without those that have never been ready. */
  get directory(): (AddressPort & { readonly id: number })[] {
    return this.#members.flatMap(({ id, trunk }) => (trunk === undefined ? [] : [{ id, ...trunk }]));
  }

  /** Resolves when all are ready; rejects with the error of the first that cannot be. */
  async start(): Promise<void> {
    await Promise.all(this.children.map((child) => child.start()));
  }

  /** No further calls; resolves when those that are on have ended, or have had their time. */
  async drain(seconds: number): Promise<void> {
    this.#draining = true;
    await Promise.all(this.children.map(drainChild));
    const left = async () => (this.calls.count === 0 ? undefined : `${this.calls.count} calls`);
    await waitUntilDrained({ left, seconds, logger: this.#options.logger });
  }

  async stop(): Promise<void> {
    await Promise.all(this.children.map((child) => child.stop()));
  }

  /** Gives the children the keys of now. */
  readonly tellKeys = (): void => {
    for (const child of this.children) tellKeys(child, this.#options.keys(), this.#options.logger);
  };

  /** Gives the children what is to be advertised now. */
  async tellAdvertise(): Promise<void> {
    const told = this.children.filter(({ up }) => up);
    await Promise.all(told.map((child) => child.ask("setAdvertise", this.#options.advertise())));
  }

  /** Of all children in one text, each with its id for a label; one that does not answer is left out. */
  async metrics(): Promise<string> {
    const asked = this.#members.map(async ({ id, child }) => ({
      labels: { transceiver: String(id) },
      metrics: await child.ask("metrics", undefined, OPERATIONS_TIMEOUT_MS),
    }));
    const settled = await Promise.allSettled(asked);
    return mergeMetrics(settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : [])));
  }

  /** Undefined while at least one takes calls. */
  async notReadyReason(): Promise<string | undefined> {
    const asked = this.children.map((child) => healthReason(child.ask("health", undefined, OPERATIONS_TIMEOUT_MS)));
    const reasons = await Promise.all(asked);
    return reasons.includes(undefined) ? undefined : reasons[0];
  }

  #member(index: number): Member {
    const { settings, keys, advertise, logger } = this.#options;
    const id = settings.id + index;
    const place = settings.trunk;
    const child: TransceiverChild = new SupervisedChild({
      name: settings.processes === 1 ? "transceiver" : `transceiver-${id}`,
      entry: childEntry("transceiver"),
      logger,
      init: (): TransceiverInit => ({
        logLevel: settings.logLevel,
        fleetKeys: keys().fleetKeys,
        id,
        cluster: settings.cluster,
        trunk: { address: place.address, port: place.port === 0 ? 0 : place.port + index },
        advertise: advertise(),
        maxCalls: settings.maxCalls,
        maxCallMs: settings.maxCallSeconds * 1000,
        maxIdleMs: settings.maxIdleSeconds * 1000,
        maxQueuedAudioMs: settings.maxQueuedAudioSeconds * 1000,
        backend: this.#options.backend,
        ...(this.#options.redis !== undefined && { redis: this.#options.redis }),
      }),
      onReady: ({ trunk }) => {
        member.trunk = trunk;
        tellKeys(child, keys(), logger);
        if (this.#draining) void drainChild(child);
        this.#options.onReady();
      },
      onGone: () => this.calls.makerGone(member.maker),
      onEvent: (_callEnded, { callId, reason }) => this.calls.ended(member.maker, callId, reason),
    });
    const member: Member = { id, child, maker: makerOf(child), trunk: undefined };
    return member;
  }
}

/** One that is gone has no calls, and one that does not answer takes none. */
async function drainChild(child: TransceiverChild): Promise<void> {
  await child.ask("drain", undefined, OPERATIONS_TIMEOUT_MS).catch(() => {});
}

function makerOf(child: TransceiverChild): CallMaker {
  return {
    createCall: (wish) => child.ask("createCall", wish),
    updateCall: (callId, offerSdp) => child.ask("updateCall", { callId, offerSdp }),
    takeFragment: (callId, fragment, mayRepeat) => child.ask("takeFragment", { callId, fragment, mayRepeat }),
    describeCall: (callId) => child.ask("describeCall", callId),
    endCall: (callId) => child.ask("endCall", callId),
  };
}

/** A child that is gone or does not answer is not healthy, and its error says why. */
export async function healthReason(
  asked: Promise<{ readonly ok: boolean; readonly reason?: string }>,
): Promise<string | undefined> {
  try {
    const { ok, reason } = await asked;
    return ok ? undefined : (reason ?? "not ready");
  } catch (error) {
    return (error as Error).message;
  }
}
