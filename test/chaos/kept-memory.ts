/** Damages the flow table that a front keeps, from outside, as a bug that writes where it must not would. */
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync, readSync, statSync, writeSync } from "node:fs";

/** Where native/core/kept_memory.h has the number of the layout. */
const LAYOUT_AT = 8;
/** The first bytes of a flow are its path's address (native/core/path.h); the ufrags of its owner follow the path. */
const UFRAGS_AFTER = 24;

export class KeptMemory {
  readonly #file: number;

  /** Of the front with this process id. */
  constructor(pid: number) {
    const folder = `/proc/${pid}/fd`;
    // Another one is for records, and empty.
    const name = readdirSync(folder).find(
      (fd) => readlinkSync(`${folder}/${fd}`).startsWith("/memfd:earshot") && statSync(`${folder}/${fd}`).size > 0,
    );
    if (name === undefined) throw new Error(`process ${pid} keeps no memory`);
    this.#file = openSync(`${folder}/${name}`, "r+");
  }

  /** Another program's. */
  makeForeign(): void {
    this.#flip(LAYOUT_AT);
  }

  /** One bit in each flow of these IPv4 clients. Returns how many there were. */
  tear(clients: readonly string[]): number {
    const bytes = Buffer.alloc(fstatSync(this.#file).size);
    readSync(this.#file, bytes, 0, bytes.length, 0);
    let torn = 0;
    for (const client of clients) {
      const address = Buffer.alloc(16);
      address.set(client.split(".").map(Number));
      for (let at = bytes.indexOf(address); at !== -1; at = bytes.indexOf(address, at + 1)) {
        if (at % 64 !== 0) continue;
        this.#flip(at + UFRAGS_AFTER);
        torn++;
      }
    }
    return torn;
  }

  close(): void {
    closeSync(this.#file);
  }

  #flip(at: number): void {
    const byte = Buffer.alloc(1);
    readSync(this.#file, byte, 0, 1, at);
    byte[0]! ^= 1;
    writeSync(this.#file, byte, 0, 1, at);
  }
}
