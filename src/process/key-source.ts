/**
 * Where a process gets its fleet keys while it runs: owns the key file, the clock and the timer, and says which ring is
 * right now. Once a second it looks at the dates, and reads the file again; SIGHUP reads it at once. Reading is the one
 * way that finds every change: inotify misses a moved link (Kubernetes moves one in the path) and disks of other hosts,
 * and modification times and inode numbers can come out equal. The file is small, and is read off the event loop.
 *
 * A file that cannot be used changes nothing but a log line and a metric. It must never end the process.
 */
import type { Logger } from "pino";
import { EarshotError } from "../earshot-error.ts";
import { namingFile, readKeyFile } from "../keys/key-file.ts";
import { type FleetKey, KeyRing } from "../keys/key-ring.ts";
import type { KeySchedule } from "../keys/key-schedule.ts";

/** Late by at most this much, keys begin to sign and retire; the dates of a rotation allow for far more. */
const POLL_MS = 1000;

export interface KeySourceOptions {
  readonly file: string;
  readonly logger: Logger;
  /** ms since 1970 */
  readonly now?: () => number;
  readonly pollMs?: number;
}

export class KeySource {
  readonly #options: KeySourceOptions;
  readonly #now: () => number;
  #schedule: KeySchedule;
  #ring: KeyRing;
  #onChange: (ring: KeyRing) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #ok = true;
  #failures = 0;
  /** The fault that was logged last, so that one that stays is logged once. */
  #logged: string | undefined;
  readonly #hangUp = () => void this.reload();

  private constructor(options: KeySourceOptions, now: () => number, schedule: KeySchedule) {
    this.#options = options;
    this.#now = now;
    this.#schedule = schedule;
    this.#ring = namingFile(options.file, () => schedule.ringAt(now()));
  }

  /** Reads the file. Throws what `readKeyFile` does, and KEYS_NO_SIGNER: at a start there are no keys to go on with. */
  static async open(options: KeySourceOptions): Promise<KeySource> {
    const now = options.now ?? Date.now;
    const schedule = await readKeyFile(options.file);
    namingFile(options.file, () => schedule.checkFrom(now()));
    return new KeySource(options, now, schedule);
  }

  /** The keys of now. */
  get ring(): KeyRing {
    return this.#ring;
  }

  /** Whether file and clock were fit for use when they were last looked at. */
  get ok(): boolean {
    return this.#ok;
  }

  /** How often it has turned out that they were not: a fault that stays counts once. */
  get failures(): number {
    return this.#failures;
  }

  /** From now on each other ring is told, until `stop`. */
  watch(onChange: (ring: KeyRing) => void): void {
    this.#onChange = onChange;
    this.#timer = setInterval(() => {
      this.#keepTime();
      // A disk that hangs holds up the file, but not the dates.
      if (this.#reading === undefined) void this.#read();
    }, this.#options.pollMs ?? POLL_MS);
    process.on("SIGHUP", this.#hangUp);
  }

  stop(): void {
    clearInterval(this.#timer);
    process.off("SIGHUP", this.#hangUp);
    this.#onChange = () => {};
  }

  /** Reads the file now, whatever reading is under way, and says in the log what came of it. */
  async reload(): Promise<void> {
    await this.#reading;
    // Whoever asks is told of a known fault too.
    this.#logged = undefined;
    await this.#read();
    if (this.#ok) this.#options.logger.info(this.#named(), "key file read again");
  }

  #read(): Promise<void> {
    const reading = this.#readOnce().finally(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
    this.#reading = reading;
    return reading;
  }

  async #readOnce(): Promise<void> {
    const { file } = this.#options;
    try {
      const schedule = await readKeyFile(file);
      namingFile(file, () => {
        schedule.checkFrom(this.#now());
        this.#refuseOtherSecrets(schedule);
      });
      this.#schedule = schedule;
      if (this.#logged !== undefined) this.#options.logger.info("the key file can be used again");
      this.#ok = true;
      this.#logged = undefined;
    } catch (error) {
      this.#fail(error);
    }
    this.#keepTime();
  }

  /** With the same id and another secret, every token of the key of before would be refused, and every trunk datagram. */
  #refuseOtherSecrets({ keys }: KeySchedule): void {
    for (const { id, secret } of this.#ring.fleetKeys) {
      const other = keys.find((key) => key.id === id);
      if (other === undefined || other.secret.equals(secret)) continue;
      const message = `key ${id} has another secret than before, while tokens of it may be in use: add new keys with "earshot keys rotate", or restart everything to use this file`;
      throw new EarshotError("KEYS_ID_REUSED", message);
    }
  }

  /** Makes the ring what the dates say. */
  #keepTime(): void {
    let keys: readonly FleetKey[];
    try {
      keys = namingFile(this.#options.file, () => this.#schedule.fleetKeysAt(this.#now()));
    } catch (error) {
      // Dates were checked from when the file was read on, so the clock was set back since.
      this.#fail(error);
      return;
    }
    if (sameKeys(keys, this.#ring.fleetKeys)) return;
    this.#ring = new KeyRing(keys);
    this.#options.logger.info(this.#named(), "fleet keys changed");
    this.#onChange(this.#ring);
  }

  #fail(error: unknown): void {
    const { code, message } = error as EarshotError;
    this.#ok = false;
    if (this.#logged === message) return;
    this.#logged = message;
    this.#failures++;
    this.#options.logger.error({ code, ...this.#named() }, `the fleet keys stay as they are: ${message}`);
  }

  #named(): { readonly signing: number; readonly verifying: readonly number[] } {
    return { signing: this.#ring.signing.id, verifying: this.#ring.all.map(({ id }) => id) };
  }
}

function sameKeys(some: readonly FleetKey[], others: readonly FleetKey[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ id, secret, signs }, index) => {
      const other = others[index]!;
      return other.id === id && other.signs === signs && other.secret.equals(secret);
    })
  );
}
