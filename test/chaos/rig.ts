/**
 * A fleet under load: relays as processes, as an operator runs them, an echo transceiver, and flows with real tokens and
 * passwords from the load generator. Everything is on loopback, or each part on a host of a site's. Whoever opens it closes it.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { stringify } from "yaml";
import { flowLines } from "../../bench/load/flow-lines.ts";
import {
  buildLoadTools,
  EchoTransceiver,
  type EstablishedResult,
  runEstablished,
} from "../../bench/load/load-tools.ts";
import { keyFileText, newSecret } from "../../src/keys/key-file.ts";
import { type DerivedKeys, deriveKeys } from "../../src/keys/key-ring.ts";
import { KeySchedule } from "../../src/keys/key-schedule.ts";
import { flowBody, RECORD_KIND, sealRecord } from "../../src/redis/record.ts";
import { sealToken } from "../../src/token/token.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { EarshotProcess, PROGRAM } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { freeUdpPort } from "../kit/free-udp-port.ts";
import type { Host } from "../kit/network.ts";
import type { ChaosOptions } from "./scenario.ts";
import { type Site, TRUNK_PORT, VIP, VIP_PORT } from "./site.ts";

const LOOPBACK = "127.0.0.1";
const CLUSTER = 1;
const TRANSCEIVER = 1;
const KEY = 1;
/** Of every relay, unless told otherwise. */
const INGRESS = 1;
const RECORD_MS = 3_600_000;
/** First octet of the clients' addresses: loopback needs no preparation, and a site has made its own. */
const LOOPBACK_CLIENTS = 127;
const SITE_CLIENTS = 10;

export interface ChaosRelay {
  readonly process: EarshotProcess;
  /** Of its one ingress. All relays of a rig have the same ingress id, as relays behind one address have. */
  readonly port: number;
}

export interface LoadOptions {
  readonly seconds: number;
  /** First ask to be let in. */
  readonly setUp?: boolean;
  /** Each flow sends a check that often, as browsers do. */
  readonly checkMs?: number;
  /** From then on all flows send to this port. */
  readonly moveAfterMs?: number;
  readonly moveToPort?: number;
  /** So long after the last datagram its echo may come. */
  readonly lingerMs?: number;
  /** So much longer while one is missing. */
  readonly missingMs?: number;
  /** From which all clients send. */
  readonly clientPort?: number;
}

export interface RigOptions {
  /** The transceiver answers no relay that asks about a path. */
  readonly forgetful?: boolean;
  /** Where all of it is; loopback if absent. */
  readonly site?: Site;
}

export class ChaosRig {
  readonly keysFile: string;
  readonly folder: string;
  readonly relays: ChaosRelay[] = [];
  readonly #options: ChaosOptions;
  readonly #rigOptions: RigOptions;
  readonly #keys: DerivedKeys;
  #echo: EchoTransceiver;
  #flowsFile: string;
  readonly #epoch: bigint;
  #generation = 0;
  #started = 0;

  private constructor(
    parts: {
      folder: string;
      keysFile: string;
      keys: DerivedKeys;
      echo: EchoTransceiver;
      flowsFile: string;
      epoch: bigint;
    },
    options: ChaosOptions,
    rigOptions: RigOptions,
  ) {
    this.folder = parts.folder;
    this.keysFile = parts.keysFile;
    this.#keys = parts.keys;
    this.#echo = parts.echo;
    this.#flowsFile = parts.flowsFile;
    this.#epoch = parts.epoch;
    this.#options = options;
    this.#rigOptions = rigOptions;
  }

  /** Runs `body` with a transceiver and no relay yet, and takes everything down after it. */
  static async with<Result>(
    options: ChaosOptions,
    rigOptions: RigOptions,
    body: (rig: ChaosRig) => Promise<Result>,
  ): Promise<Result> {
    buildLoadTools();
    const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-chaos-"));
    const secret = newSecret();
    const keysFile = path.join(folder, "keys.json");
    const signsFromMs = Math.floor(Date.now() / 1000) * 1000 - 1000;
    const schedule = new KeySchedule([{ id: KEY, secret, signsFromMs, retiresMs: undefined }]);
    writeFileSync(keysFile, keyFileText(schedule), { mode: 0o600 });
    const keys = deriveKeys({ id: KEY, secret, signs: true });
    const flowsFile = path.join(folder, "flows");
    const epoch = BigInt(Date.now());
    const echo = await startEcho(options, keys, flowsFile, epoch, rigOptions);
    const rig = new ChaosRig({ folder, keysFile, keys, echo, flowsFile, epoch }, options, rigOptions);
    try {
      return await body(rig);
    } finally {
      await Promise.all(rig.relays.map((relay) => relay.process.kill()));
      await rig.#echo.stop();
      rmSync(folder, { recursive: true });
    }
  }

  /** Records of as many flows of this transceiver as a relay would have written, by path. */
  flowRecords(count: number): Map<string, Buffer> {
    const records = new Map<string, Buffer>();
    for (let i = 0; i < count; i++) {
      const at = clientPath(i);
      records.set(at.toString("hex"), this.#record(at, i, { cluster: CLUSTER, epoch: this.#epoch }));
    }
    return records;
  }

  /**
   * As many values of which none may be used, each kind as often as any other: a bit of a true record flipped, nonsense, a true record
   * at another's path, one of another cluster, one of a transceiver that is gone.
   */
  poisonedRecords(count: number): Map<string, Buffer> {
    const records = new Map<string, Buffer>();
    const ours = { cluster: CLUSTER, epoch: this.#epoch };
    for (let i = 0; i < count; i++) {
      const at = clientPath(i);
      const kinds = [
        () => flipped(this.#record(at, i, ours), i),
        () => randomBytes(1 + (i % 200)),
        () => this.#record(clientPath(i + 1), i, ours),
        () => this.#record(at, i, { ...ours, cluster: CLUSTER + 1 }),
        () => this.#record(at, i, { ...ours, epoch: this.#epoch - 1n }),
      ];
      records.set(at.toString("hex"), kinds[i % kinds.length]!());
    }
    return records;
  }

  #record(at: Buffer, nonce: number, { cluster, epoch }: { cluster: number; epoch: bigint }): Buffer {
    const expiresAtMs = Date.now() + RECORD_MS;
    const ufrag = sealToken({ cluster, transceiver: TRANSCEIVER, epoch, expiresAtMs, nonce }, this.#keys);
    const body = flowBody({ transceiver: TRANSCEIVER, epoch, ufrags: [ufrag] });
    return sealRecord(this.#keys, cluster, at, { kind: RECORD_KIND.flow, timeMs: Date.now(), body });
  }

  get echo(): EchoTransceiver {
    return this.#echo;
  }

  /** A relay that knows the transceiver and takes flows. `settings` are those of its configuration file. `host`: of the site's. */
  async startRelay(
    settings: Readonly<Record<string, unknown>> = {},
    host?: Host,
    program = PROGRAM,
  ): Promise<ChaosRelay> {
    const port = host === undefined ? await freeUdpPort() : VIP_PORT;
    const own = host?.address ?? LOOPBACK;
    const file = path.join(this.folder, `relay-${this.#started++}.yaml`);
    const config = {
      listen: `${host === undefined ? LOOPBACK : VIP}:${port}`,
      http: `${own}:0`,
      trunk: `${own}:0`,
      workers: 1,
      logLevel: "error",
      directory: [
        { id: TRANSCEIVER, address: this.#rigOptions.site?.transceiver.address ?? LOOPBACK, port: this.#echo.port },
      ],
      ...settings,
    };
    writeFileSync(file, stringify(config));
    const args = ["relay", "--keys", this.keysFile, "--config", file];
    const started =
      host === undefined ? EarshotProcess.run(program, ...args) : EarshotProcess.startOn(host.pid, ...args);
    const relay = { process: await started, port };
    this.relays.push(relay);
    await eventually(
      "a relay that is ready",
      () => fetch(`${relay.process.url}/readyz`),
      ({ status }) => status === 200,
    );
    return relay;
  }

  /** The transceiver is killed; another process of the same id takes its port. Flows are new ones. */
  async replaceTransceiver(): Promise<void> {
    const { port } = this.#echo;
    await this.#echo.kill();
    this.#generation++;
    this.#flowsFile = path.join(this.folder, `flows-${this.#generation}`);
    this.#echo = await startEcho(this.#options, this.#keys, this.#flowsFile, BigInt(Date.now()), {
      ...this.#rigOptions,
      port,
    });
  }

  /** Flows that were made before the transceiver was replaced that many times. */
  flowsOf(generation: number): string {
    return path.join(this.folder, generation === 0 ? "flows" : `flows-${generation}`);
  }

  /** All flows send to this relay, and what they send comes back. */
  load(relay: ChaosRelay, options: LoadOptions, flowsFile = this.#flowsFile): Promise<EstablishedResult> {
    const { seconds, clientPort, ...others } = options;
    const { site } = this.#rigOptions;
    const to = site === undefined ? LOOPBACK : VIP;
    const target = { to, port: relay.port, flowsFile, ...(clientPort !== undefined && { clientPort }) };
    return runEstablished(target, seconds, { ...others, rate: this.#options.rate }, { networkOf: site?.client.pid });
  }
}

async function startEcho(
  { flows }: ChaosOptions,
  keys: DerivedKeys,
  flowsFile: string,
  epoch: bigint,
  options: RigOptions & { readonly port?: number },
): Promise<EchoTransceiver> {
  const transceiver = { cluster: CLUSTER, id: TRANSCEIVER, epoch };
  const { forgetful, port = 0, site } = options;
  const clients = site === undefined ? LOOPBACK_CLIENTS : SITE_CLIENTS;
  writeFileSync(flowsFile, flowLines(flows, clients, keys, transceiver), { mode: 0o600 });
  const place =
    site === undefined
      ? { port }
      : { port: TRUNK_PORT, address: site.transceiver.address, networkOf: site.transceiver.pid };
  return EchoTransceiver.start({ ...transceiver, keys, forgetful, ...place });
}

const clientPath = (n: number): Buffer =>
  pathBytes(INGRESS, `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`, 40_000);

/** With another bit for each `n`. */
function flipped(bytes: Buffer, n: number): Buffer {
  bytes[n % bytes.length]! ^= 1 << (n & 7);
  return bytes;
}
