/**
 * The life of a service in the foreground: started, upgraded by SIGUSR2, and stopped by SIGTERM, SIGINT or a failed start.
 * Ends the process with code 0 after a signal.
 */
export interface Service {
  start(): Promise<void>;
  /** Reports its own errors. Without it SIGUSR2 ends the process, as it would any other. */
  upgrade?(): Promise<void>;
  /** May be called while `start` is under way, and twice. */
  stop(): Promise<void>;
}

/** Resolves when the service was stopped by a signal. Rejects with the error of `start`, with everything stopped again. */
export async function runUntilSignal(service: Service): Promise<void> {
  const signalled = new Promise<"signal">((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve("signal"));
  });
  if (service.upgrade !== undefined) process.on("SIGUSR2", () => void service.upgrade?.().catch(() => {}));
  try {
    const started = service.start();
    // A start that is interrupted fails; that is then no error.
    if ((await Promise.race([signalled, started])) === "signal") started.catch(() => {});
    else await signalled;
  } finally {
    await service.stop();
  }
}
