/**
 * The clock of a sender's reports. werift writes the decimals of a second where RFC 3550, section 6.4.1, wants its 2^32ths,
 * so that clients could not play audio and video in step. It says when it has sent a packet by setting `ntpTimestamp`, and asks
 * for it as it reports.
 */
import type { SenderInternals } from "./internals.ts";

const SECONDS_1900_TO_1970 = 2_208_988_800;

/** RFC 3550, section 4: seconds since 1900 in the upper 32 bits, and 2^32ths of one in the lower. */
export function ntpTimestamp(unixMs: number): bigint {
  const seconds = Math.floor(unixMs / 1_000);
  const fraction = Math.floor(((unixMs - seconds * 1_000) / 1_000) * 2 ** 32);
  return (BigInt(seconds + SECONDS_1900_TO_1970) << 32n) | BigInt(fraction);
}

export class ReportClock {
  #sentAtMs = 0;

  constructor(sender: SenderInternals) {
    Object.defineProperty(sender, "ntpTimestamp", {
      get: () => ntpTimestamp(performance.timeOrigin + this.#sentAtMs),
      set: () => this.sent(),
    });
  }

  /** A packet is sent now. */
  sent(): void {
    this.#sentAtMs = performance.now();
  }
}
