/**
 * The life of a service in the foreground: started, upgraded by SIGUSR2, drained and stopped by SIGTERM, stopped at once by
 * SIGINT, by a second signal, or by a failed start. Ends the process with code 0 after a signal.
 */
export interface Service {
  start(): Promise<void>;
  /** Reports its own errors. Without it SIGUSR2 ends the process, as it would any other. */
  upgrade?(): Promise<unknown>;
  /** Takes nothing new, and resolves when what is on has ended, or has had its time. Without it SIGTERM stops at once. */
  drain?(): Promise<void>;
  /** May be called while `start` or `drain` is under way, and twice. */
  stop(): Promise<void>;
}

const SIGNALS = ["SIGTERM", "SIGINT"] as const;
type Signal = (typeof SIGNALS)[number];

/** Resolves when the service was stopped by a signal. Rejects with the error of `start`, with everything stopped again. */
export async function runUntilSignal(service: Service): Promise<void> {
  let heard: (signal: Signal) => void = () => {};
  const onSignal = (signal: Signal) => heard(signal);
  const nextSignal = () =>
    new Promise<Signal>((resolve) => {
      heard = resolve;
    });
  for (const signal of SIGNALS) process.on(signal, onSignal);
  if (service.upgrade !== undefined) process.on("SIGUSR2", () => void service.upgrade?.().catch(() => {}));
  try {
    const signalled = nextSignal();
    const started = service.start();
    const first = await Promise.race([signalled, started]);
    if (first !== undefined) {
      // A start that is interrupted fails; that is then no error.
      started.catch(() => {});
      return;
    }
    if ((await signalled) === "SIGTERM") await Promise.race([service.drain?.(), nextSignal()]);
  } finally {
    // From now on a further signal ends the process, whatever hangs.
    for (const signal of SIGNALS) process.off(signal, onSignal);
    await service.stop();
  }
}
