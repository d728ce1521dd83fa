/**
 * What Earshot is measured against, each as a process of its own on loopback: the classical forwarders of this folder, nginx's
 * stream proxy where it is installed, and the plain echo that stands behind all of them.
 */
import { spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/package-root.ts";
import { LineProcess } from "../load/line-process.ts";
import { udpSockets } from "../load/proc.ts";
import { type Seat, seatedWith } from "../load/seat.ts";
import type { Missing } from "../report/result.ts";

export const RIVALS = ["classical JS", "classical native", "nginx"] as const;
export type RivalKind = (typeof RIVALS)[number];

export interface RivalOptions extends Seat {
  /** The first of consecutive ports of loopback that flows are spread over. */
  readonly upstreamPort: number;
  readonly upstreams?: number;
  /** As the kernel's limits allow; the native one ignores them, which needs root. */
  readonly receiveBufferBytes: number;
  /** Room for so many. */
  readonly flows: number;
}

export interface RivalCounts {
  readonly upReceived: number;
  readonly upForwarded: number;
  readonly downReceived: number;
  readonly downForwarded: number;
  readonly dropped: number;
}

export interface Rival {
  readonly kind: RivalKind;
  /** The process that forwards. */
  readonly pid: number;
  /** For clients, on loopback. */
  readonly port: number;
  /** undefined: it does not count. */
  counts(): Promise<RivalCounts | undefined>;
  stop(): Promise<void>;
}

const ADDRESS = "127.0.0.1";
const CLASSICAL = fileURLToPath(new URL("build/load/classical", packageRoot));
const PLAIN_ECHO = fileURLToPath(new URL("build/load/plain_echo", packageRoot));
const CLASSICAL_JS = fileURLToPath(new URL("classical-js.js", import.meta.url));
const NGINX = "/usr/sbin/nginx";
const NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so";
const NGINX_UP_WITHIN_MS = 5_000;
/** nginx opens a socket for each flow; this many are left for everything else that it opens. */
const NGINX_OTHER_FILES = 64;

/** Why a rival cannot be measured here, if it cannot. */
export function missingRival(kind: RivalKind): Missing | undefined {
  if (kind !== "nginx" || (existsSync(NGINX) && existsSync(NGINX_STREAM))) return undefined;
  return {
    what: "nginx's stream UDP proxy",
    why: "nginx with its stream module is not installed",
    remedy: "apt-get install -y --no-install-recommends nginx libnginx-mod-stream",
  };
}

/** Call `buildLoadTools()` first. */
export function startRival(kind: RivalKind, options: RivalOptions): Promise<Rival> {
  if (kind === "nginx") return startNginx(options);
  const own = [
    ...["--address", ADDRESS, "--upstream-port", String(options.upstreamPort)],
    ...["--upstreams", String(options.upstreams ?? 1), "--receive-buffer-bytes", String(options.receiveBufferBytes)],
  ];
  if (kind === "classical JS") return startClassical(kind, [process.execPath, CLASSICAL_JS, ...own], options);
  return startClassical(kind, [CLASSICAL, ...own, "--flows", String(options.flows)], options);
}

async function startClassical(kind: RivalKind, command: readonly string[], seat: Seat): Promise<Rival> {
  const running = await LineProcess.start<{ readonly port: number }, RivalCounts>(seatedWith(seat, ...command));
  return {
    kind,
    pid: running.pid,
    port: running.started.port,
    counts: () => running.ask(),
    stop: () => running.stop(),
  };
}

/** One process, no access log, a session for each client: what an operator would write, but for the number of connections. */
function nginxConfig(port: number, folder: string, options: RivalOptions): string {
  const { upstreamPort, upstreams = 1, receiveBufferBytes, flows } = options;
  const servers = Array.from({ length: upstreams }, (_, i) => `    server ${ADDRESS}:${upstreamPort + i};`);
  return `load_module ${NGINX_STREAM};
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile ${flows + NGINX_OTHER_FILES};
events { worker_connections ${2 * flows + NGINX_OTHER_FILES}; }
stream {
  access_log off;
  upstream echoes {
    hash $remote_addr$remote_port;
${servers.join("\n")}
  }
  server {
    listen ${ADDRESS}:${port} udp rcvbuf=${receiveBufferBytes};
    proxy_pass echoes;
    proxy_timeout 10m;
  }
}
`;
}

async function startNginx(options: RivalOptions): Promise<Rival> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-nginx-"));
  const port = await freePort();
  const file = path.join(folder, "nginx.conf");
  writeFileSync(file, nginxConfig(port, folder, options));
  const arguments_ = ["-p", folder, "-e", "stderr", "-c", file];
  // Alone among the rivals it has no input to end with.
  const mortal = ["setpriv", "--pdeathsig", "TERM", NGINX, ...arguments_];
  const [program, ...args] = seatedWith(options, ...mortal) as [string, ...string[]];
  const child = spawn(program, args, { stdio: ["ignore", "inherit", "inherit"] });
  const ended = once(child, "exit");
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const deadline = performance.now() + NGINX_UP_WITHIN_MS;
  while (child.exitCode === null && !udpSockets(child.pid!).some((socket) => socket.port === port)) {
    if (performance.now() > deadline) break;
    await sleep(20);
  }
  if (child.exitCode !== null || performance.now() > deadline) {
    await stop();
    const { stderr } = spawnSync(NGINX, ["-t", ...arguments_], { encoding: "utf8" });
    throw new Error(`nginx does not listen on ${ADDRESS}:${port}\n${stderr}`);
  }
  return { kind: "nginx", pid: child.pid!, port, counts: async () => undefined, stop };
}

/** Free for now; nginx cannot say which one the kernel has chosen. */
async function freePort(): Promise<number> {
  const socket = createSocket("udp4").bind(0, ADDRESS);
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  return port;
}

/** Sends everything back, or reads only. */
export class PlainEcho {
  readonly #process: LineProcess<{ readonly port: number }, { readonly received: number }>;

  private constructor(process: LineProcess<{ readonly port: number }, { readonly received: number }>) {
    this.#process = process;
  }

  static async start(options: Seat & { readonly ports?: number; readonly discard?: boolean } = {}): Promise<PlainEcho> {
    const command = [PLAIN_ECHO, "--ports", String(options.ports ?? 1)];
    if (options.discard === true) command.push("--discard");
    if (options.realtime === true) command.push("--realtime");
    return new PlainEcho(await LineProcess.start(command, options));
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The first of its ports. */
  get port(): number {
    return this.#process.started.port;
  }

  async received(): Promise<number> {
    return (await this.#process.ask()).received;
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }
}
