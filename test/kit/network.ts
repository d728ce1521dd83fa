/**
 * Owns hosts on a network of their own, each a network namespace, with this process as the router between them. It must be in a
 * namespace that was made for it: nothing here may touch the machine's own network. A host has no name and no owner but a
 * child that ends with us, so that nothing of it is left whatever becomes of us.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readlinkSync, writeFileSync } from "node:fs";
import { inNetwork } from "../../bench/load/seat.ts";

/** Third octet of the first host's link. */
const FIRST_LINK = 1;

export class Host {
  readonly name: string;
  /** Of its link to the router. */
  readonly address: string;
  /** Of a process in its network. */
  readonly pid: number;
  readonly #holder: ChildProcess;

  private constructor(name: string, link: number, holder: ChildProcess) {
    this.name = name;
    this.address = `10.0.${link}.2`;
    this.pid = holder.pid!;
    this.#holder = holder;
  }

  /** With a link to the router, which is its way to everywhere. */
  static async start(name: string, link: number): Promise<Host> {
    // It ends with its input, which is ours to give.
    const holder = spawn("unshare", ["--net", "sh", "-c", "echo; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
    holder.stdin.on("error", () => {});
    const failed = once(holder, "exit").then(() => {
      throw new Error(`no host ${name}: a network namespace needs root and unshare`);
    });
    await Promise.race([once(holder.stdout, "data"), failed]);
    failed.catch(() => {});
    const host = new Host(name, link, holder);
    ip(`link add ${name} type veth peer name eth0 netns ${host.pid}`);
    ip(`address add 10.0.${link}.1/24 dev ${name}`);
    ip(`link set ${name} up`);
    host.ip("link set lo up");
    host.ip(`address add ${host.address}/24 dev eth0`);
    host.plug();
    return host;
  }

  ip(command: string): void {
    runAll(inNetwork(this.pid, "ip", ...command.split(" ")));
  }

  /** Its link is gone: nothing comes in or out. */
  unplug(): void {
    this.ip("link set eth0 down");
  }
  plug(): void {
    this.ip("link set eth0 up");
    this.ip(`route replace default via ${this.address.replace(/2$/, "1")}`);
  }

  async close(): Promise<void> {
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return;
    // The rest of the network goes when the kernel has time for it; the name on the router has to be free at once.
    ip(`link delete ${this.name}`);
    const ended = once(this.#holder, "exit");
    this.#holder.stdin!.end();
    await ended;
  }
}

export class Network {
  readonly #hosts: Host[] = [];

  async host(name: string): Promise<Host> {
    const host = await Host.start(name, FIRST_LINK + this.#hosts.length);
    this.#hosts.push(host);
    return host;
  }

  async close(): Promise<void> {
    await Promise.all(this.#hosts.splice(0).map((host) => host.close()));
  }
}

/** Makes a router of this process's network, and sets its loopback up. Throws if it is not one of its own. */
export function useOwnNetwork(): void {
  if (readlinkSync("/proc/self/ns/net") === readlinkSync(`/proc/${process.ppid}/ns/net`)) {
    throw new Error("this network is not this process's own: start it with unshare --net, as npm run chaos does");
  }
  ip("link set lo up");
  const settings = {
    ip_forward: 1,
    // A link that is down is no way.
    "conf/all/ignore_routes_with_linkdown": 1,
    // Where there are several ways, ports decide too.
    fib_multipath_hash_policy: 1,
    // Answers come from where requests do not go, and no host may be told of a shorter way.
    "conf/all/rp_filter": 0,
    "conf/default/rp_filter": 0,
    "conf/all/send_redirects": 0,
    "conf/default/send_redirects": 0,
  };
  for (const [name, value] of Object.entries(settings)) writeFileSync(`/proc/sys/net/ipv4/${name}`, String(value));
}

/** On the router. */
export function ip(command: string): void {
  runAll(["ip", ...command.split(" ")]);
}

export function nft(command: string): void {
  runAll(["nft", command]);
}

function runAll(command: readonly string[]): void {
  const [program, ...args] = command as [string, ...string[]];
  // Debian keeps ip and nft where only root looks by default.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const { error, status, stderr } = spawnSync(program, args, { encoding: "utf8", env });
  if (error !== undefined) throw new Error(`${program}: ${error.message}; npm run setup -- --tests installs it`);
  if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr.trim()}`);
}
