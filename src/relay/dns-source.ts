/**
 * Transceivers by name: a template such as `transceiver-{id}.media:7000` and a range of ids, as a StatefulSet of Kubernetes
 * names its pods. Asks again and again. Owns the asking; what the answers are worth, the directory's sources say.
 */
import { lookup } from "node:dns/promises";
import type { DirectoryEntry } from "./directory.ts";
import { DNS_MS } from "./limits.ts";

export interface DnsTemplate {
  /** With `{id}` in it. */
  readonly host: string;
  readonly port: number;
  readonly firstId: number;
  readonly lastId: number;
}

/** Names that are asked for at a time: Node resolves them in four threads, which others need too. */
const AT_A_TIME = 2;

/** All that the names say now. A name that is not known, or cannot be resolved, names nobody. */
export async function resolveTemplate(
  { host, port, firstId, lastId }: DnsTemplate,
  family: 4 | 6,
  resolve: (name: string, family: 4 | 6) => Promise<string> = resolveName,
): Promise<readonly DirectoryEntry[]> {
  const entries: DirectoryEntry[] = [];
  let next = firstId;
  const worker = async () => {
    while (next <= lastId) {
      const id = next++;
      try {
        entries.push({ id, address: await resolve(host.replaceAll("{id}", String(id)), family), port });
      } catch {
        // It may not be there yet, or the resolver may be away: neither removes anybody.
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return entries;
}

const resolveName = async (name: string, family: 4 | 6): Promise<string> => (await lookup(name, { family })).address;

/** Asks at once, and then every DNS_MS, never twice at a time. Throws nothing. */
export class DnsSource {
  readonly #timer: NodeJS.Timeout;
  #isAsking = false;
  #stopped = false;

  constructor(template: DnsTemplate, family: 4 | 6, onEntries: (entries: readonly DirectoryEntry[]) => void) {
    const ask = async () => {
      if (this.#isAsking) return;
      this.#isAsking = true;
      const entries = await resolveTemplate(template, family);
      this.#isAsking = false;
      if (!this.#stopped) onEntries(entries);
    };
    this.#timer = setInterval(() => void ask(), DNS_MS);
    void ask();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }
}
