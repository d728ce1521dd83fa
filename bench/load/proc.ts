/** What /proc says of a process under load: its UDP sockets, with what the kernel dropped there, and its CPU time. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface UdpSocket {
  readonly port: number;
  /** Datagrams that found no room, since it was opened. */
  readonly drops: number;
  /** Bytes of datagrams that have not been read, with the kernel's bookkeeping. */
  readonly waiting: number;
}

/** IPv4 only. The process must be in this network namespace. */
export function udpSockets(pid: number): readonly UdpSocket[] {
  const own = inodes(pid);
  const [, ...lines] = readFileSync("/proc/net/udp", "latin1").trim().split("\n");
  return lines.flatMap((line) => {
    // sl, local address, remote address, state, tx:rx queue, tr:when, retransmits, uid, timeout, inode, ref, pointer, drops
    const fields = line.trim().split(/\s+/);
    if (!own.has(fields[9]!)) return [];
    return [
      {
        port: Number.parseInt(fields[1]!.split(":")[1]!, 16),
        drops: Number(fields[12]),
        waiting: Number.parseInt(fields[4]!.split(":")[1]!, 16),
      },
    ];
  });
}

function inodes(pid: number): ReadonlySet<string> {
  const found = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? [];
      if (inode !== undefined) found.add(inode);
    } catch {
      // Closed meanwhile.
    }
  }
  return found;
}

/**
 * Datagrams that this machine lost on the way to any socket, because a CPU's backlog was full: senders count them as sent, and no
 * socket counts them as dropped. All namespaces together.
 */
export function backlogDrops(): number {
  const lines = readFileSync("/proc/net/softnet_stat", "latin1").trim().split("\n");
  return lines.reduce((sum, line) => sum + Number.parseInt(line.split(" ")[1]!, 16), 0);
}

/** The ids of the process's threads whose name is like that. */
export function threadsNamed(pid: number, name: RegExp): readonly number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.filter((id) => name.test(readFileSync(`/proc/${pid}/task/${id}/comm`, "utf8").trim())).map(Number);
}

/** CPU time of a thread, in ns. */
export function threadCpuNs(pid: number, thread: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
}
