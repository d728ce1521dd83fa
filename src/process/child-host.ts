/**
 * The child's side of the channel to the front process: says when its modules are loaded, takes the init message, answers
 * requests, and ends when it is told to or when the front process is gone. Sealed, it stops what it hosts and waits for
 * another init message. Knows nothing of what it hosts.
 */
import type { Logger } from "pino";
import { EarshotError } from "../earshot-error.ts";
import { createLogger } from "./logger.ts";
import {
  type Calls,
  type ChildName,
  type ErrorMessage,
  type Events,
  SEAL,
  type ToChild,
  type ToFront,
} from "./messages.ts";

export interface Hosted<Ready, C extends Calls> {
  readonly ready: Ready;
  readonly answers: { readonly [N in keyof C]: (argument: C[N]["argument"]) => Promise<C[N]["reply"]> | C[N]["reply"] };
  /** Takes an error that nobody caught and that is known to be harmless. Without it, or if false, the process ends. */
  readonly absorbFault?: (error: unknown) => boolean;
  stop(): Promise<void>;
  /**
   * As stop, but what only one process may have comes first, and nothing else is waited for. Returns what kept it from handing over
   * what it was asked for: it has let go all the same.
   */
  letGo?(handOver: unknown): Promise<EarshotError | undefined>;
}

/** Opens what a child is to host. */
export type Open<Init, Ready, C extends Calls, E extends Events> = (
  init: Init,
  logger: Logger,
  emit: Emit<E>,
) => Promise<Hosted<Ready, C>>;

export type Emit<E extends Events> = <N extends keyof E & string>(name: N, value: E[N]) => void;

/** Longer than the front waits before it kills; it ends a child whose front was itself killed. */
const ORPHAN_STOP_MS = 2000;

/**
 * Waits for init, opens the service, says "ready" (or "failed", and exits with code 1), then answers until the end. `about` is
 * what the front is to know before it says init.
 */
export function hostChild<Init extends { logLevel: string }, Ready, C extends Calls, E extends Events>(
  name: ChildName,
  open: Open<Init, Ready, C, E>,
  about?: unknown,
): void {
  if (process.send === undefined) {
    process.stderr.write(
      `earshot: USAGE: the ${name} process is started by "earshot start" or "earshot transceiver"\n`,
    );
    process.exit(2);
  }
  let logger = createLogger("info", name);
  let hosted: Hosted<Ready, C> | undefined;
  let stopping = false;

  const stop = async () => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), ORPHAN_STOP_MS).unref();
    await hosted?.stop();
    process.exit(0);
  };
  const crash = (error: unknown) => {
    if (hosted?.absorbFault?.(error) === true) return;
    logger.fatal({ err: error }, "unexpected error: this process ends");
    process.exit(1);
  };

  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
  // Ctrl-C and a hang-up may reach the whole process group; the front process decides what follows from them.
  process.on("SIGINT", () => {});
  process.on("SIGHUP", () => {});
  process.on("SIGTERM", () => void stop().catch(crash));
  process.on("disconnect", () => void stop().catch(crash));
  process.on("message", (message: ToChild) => {
    if (message.type === "stop") stop().catch(crash);
    else if (message.type === "call") answer(message).catch(crash);
    else begin(message.init as Init).catch(fail);
  });
  tell({ type: "warm", about });

  async function begin(init: Init): Promise<void> {
    logger = createLogger(init.logLevel, name);
    const opened = await open(init, logger, (event, value) => tell({ type: "event", name: event, value }));
    // A stop that came in the meantime found nothing to stop.
    if (stopping) return opened.stop();
    hosted = opened;
    tell({ type: "ready", ready: opened.ready });
  }

  function fail(error: unknown): void {
    if (!(error instanceof EarshotError)) logger.error({ err: error }, "unexpected error at start");
    process.send?.({ type: "failed", error: errorMessage(error) } satisfies ToFront, () => process.exit(1));
  }

  async function answer({ id, name: call, argument }: ToChild & { type: "call" }): Promise<void> {
    try {
      if (call === SEAL) {
        const sealed = hosted;
        hosted = undefined;
        const why = await (sealed?.letGo === undefined ? sealed?.stop() : sealed.letGo(argument));
        tell({ type: "reply", id, value: why instanceof EarshotError ? errorMessage(why) : undefined });
        return;
      }
      const respond = hosted?.answers[call];
      if (respond === undefined) throw new EarshotError("CHILD_REQUEST", `the ${name} has no answer to "${call}"`);
      tell({ type: "reply", id, value: await respond(argument) });
    } catch (error) {
      if (!(error instanceof EarshotError)) logger.error({ err: error, call }, "unexpected error in a request");
      tell({ type: "refusal", id, error: errorMessage(error) });
    }
  }
}

/** Without a callback, a channel that the front has just closed would surface as an uncaught exception. */
function tell(message: ToFront): void {
  process.send?.(message, () => {});
}

function errorMessage(error: unknown): ErrorMessage {
  if (error instanceof EarshotError) return { code: error.code, message: error.message };
  return { code: "INTERNAL", message: error instanceof Error ? error.message : String(error) };
}
