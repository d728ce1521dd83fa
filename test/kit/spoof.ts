/** Owns datagrams in somebody else's name: sends them through a raw socket, which needs root, on loopback only. */
import { buildLoadTools, runLoad } from "../../bench/load/load-tools.ts";

export interface Source {
  readonly host: string;
  readonly port: number;
}

/** To be called before a system is opened: the compiler would hold its event loop up. */
export function prepareSpoofing(): void {
  if (process.getuid?.() !== 0)
    throw new Error("raw sockets are needed to send in somebody else's name: run this as root");
  buildLoadTools();
}

/** Sends each of them to the port of 127.0.0.1 as if `source` had. */
export async function spoof(source: Source, port: number, ...datagrams: readonly Buffer[]): Promise<void> {
  const lines = datagrams.map((datagram) => `${source.host} ${source.port} ${datagram.toString("hex")}\n`);
  const { sent } = await runLoad<{ sent: number }>("spoof", { to: "127.0.0.1", port }, {}, lines.join(""));
  if (sent !== datagrams.length) throw new Error(`sent ${sent} of ${datagrams.length} spoofed datagrams`);
}
