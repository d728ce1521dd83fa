/**
 * The front's view of the transceiver process: makes and ends calls there, and knows which Location stands for which
 * call. What the calls are made of stays in the child.
 */
import type { Logger } from "pino";
import type { AddressPort } from "../config/address-port.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { CallService } from "../signalling/call-routes.ts";
import { type CallMaker, OpenCalls } from "../signalling/open-calls.ts";
import { tellKeys } from "./child-keys.ts";
import { childEntry } from "./entry.ts";
import type { TransceiverCalls, TransceiverEvents, TransceiverInit, TransceiverReady } from "./messages.ts";
import { SupervisedChild } from "./supervised-child.ts";

/** A scrape or a readiness check is not to wait for a child that hangs. */
export const OPERATIONS_TIMEOUT_MS = 1000;

export interface TransceiverFrontOptions {
  readonly settings: {
    readonly id: number;
    readonly cluster: number;
    readonly trunk: AddressPort;
    readonly maxCalls: number;
    readonly maxCallSeconds: number;
    readonly logLevel: string;
  };
  /** The keys of now. */
  readonly keys: () => KeyRing;
  readonly advertise: () => readonly AddressPort[];
  readonly logger: Logger;
  readonly onReady: (ready: TransceiverReady) => void;
}

export class TransceiverFront implements CallService {
  readonly child: SupervisedChild<TransceiverReady, TransceiverCalls, TransceiverEvents>;
  /** Gives the child the keys of now. */
  readonly tellKeys: () => void;
  readonly #calls = new OpenCalls();
  readonly #maker: CallMaker = {
    createCall: (offerSdp) => this.child.ask("createCall", offerSdp),
    endCall: (callId) => this.child.ask("endCall", callId),
  };

  constructor({ settings, keys, advertise, logger, onReady }: TransceiverFrontOptions) {
    this.child = new SupervisedChild({
      name: "transceiver",
      entry: childEntry("transceiver"),
      logger,
      init: (): TransceiverInit => ({
        logLevel: settings.logLevel,
        fleetKeys: keys().fleetKeys,
        id: settings.id,
        cluster: settings.cluster,
        trunk: settings.trunk,
        advertise: advertise(),
        maxCalls: settings.maxCalls,
        maxCallMs: settings.maxCallSeconds * 1000,
      }),
      onReady: (ready) => {
        this.tellKeys();
        onReady(ready);
      },
      onGone: () => this.#calls.makerGone(this.#maker),
      onEvent: (_callEnded, callId) => this.#calls.ended(this.#maker, callId),
    });
    this.tellKeys = () => tellKeys(this.child, keys(), logger);
  }

  get openCalls(): number {
    return this.#calls.count;
  }

  create(offerSdp: string): Promise<{ secret: string; answerSdp: string }> {
    return this.#calls.create(this.#maker, offerSdp);
  }

  end(secret: string): Promise<boolean> {
    return this.#calls.end(secret);
  }

  metrics(): Promise<string> {
    return this.child.ask("metrics", undefined, OPERATIONS_TIMEOUT_MS);
  }

  /** Undefined while all is well. */
  async notReadyReason(): Promise<string | undefined> {
    return healthReason(this.child.ask("health", undefined, OPERATIONS_TIMEOUT_MS));
  }
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
