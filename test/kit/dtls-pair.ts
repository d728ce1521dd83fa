/**
 * Owns a DTLS session of the addon's and a client of werift's on a link in memory. The client is honest as long as nobody
 * overrides what it signs; everything that it sends is kept, to be sent again.
 */
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import {
  CipherContext,
  DtlsClient,
  HashAlgorithm,
  NamedCurveAlgorithm,
  SignatureAlgorithm,
  SrtcpSession,
  type SrtpProfile,
  SrtpSession,
} from "werift";
import {
  dtlsFailure,
  FLAG,
  loadCrypto,
  type NativeIdentity,
  type NativeSession,
  stateOf,
} from "../../src/transceiver/werift/crypto-binding.ts";
import { until } from "./until.ts";
import "./werift-dtls.ts";

export const SRTP = { sha1: 1, gcm: 7 } as const;

interface ClientCertificate {
  readonly certPem: string;
  readonly keyPem: string;
  readonly signatureHash: { hash: 4; signature: 3 };
}

export interface DtlsPairOptions {
  readonly profiles?: readonly SrtpProfile[];
  /** What the offer would have said of the client's certificate, if not the truth. */
  readonly fingerprints?: readonly Buffer[];
  readonly needsSrtp?: boolean;
}

let identity: NativeIdentity | undefined;
let certificate: ClientCertificate | undefined;

export async function clientCertificate(): Promise<ClientCertificate> {
  certificate ??= (await CipherContext.createSelfSignedCertificateWithKey(
    { signature: SignatureAlgorithm.ecdsa_3, hash: HashAlgorithm.sha256_4 },
    NamedCurveAlgorithm.secp256r1_23,
  )) as ClientCertificate;
  return certificate;
}

export async function clientFingerprint(hash: "sha1" | "sha256" | "sha384" | "sha512"): Promise<Buffer> {
  const der = Buffer.from((await clientCertificate()).certPem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  return createHash(hash).update(der).digest();
}

export class DtlsPair {
  readonly server: NativeSession;
  readonly client: DtlsClient;
  readonly sent: Buffer[] = [];
  /** Messages that have arrived. */
  readonly atServer: Buffer[] = [];
  readonly atClient: Buffer[] = [];
  /** Datagrams of the server's with an alert that nobody has encrypted. */
  alerts = 0;
  clientConnected = false;
  /** What the last call into the server has returned. */
  flags = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #transport = {
    type: "memory",
    address: {},
    onData: (_data: Buffer) => {},
    send: async (data: Buffer) => {
      this.sent.push(Buffer.from(data));
      this.feed(data);
    },
    close: async () => {},
  };

  private constructor(own: ClientCertificate, allowed: readonly Buffer[], options: DtlsPairOptions) {
    const { DtlsIdentity, DtlsSession } = loadCrypto();
    identity ??= new DtlsIdentity();
    this.server = new DtlsSession(identity, allowed, options.needsSrtp ?? true);
    this.client = new DtlsClient({
      cert: own.certPem,
      key: own.keyPem,
      signatureHash: own.signatureHash,
      transport: this.#transport as unknown as ConstructorParameters<typeof DtlsClient>[0]["transport"],
      srtpProfiles: [...(options.profiles ?? [SRTP.gcm, SRTP.sha1])],
      extendedMasterSecret: true,
    });
    this.client.onConnect.subscribe(() => {
      this.clientConnected = true;
    });
    this.client.onData.subscribe((data) => this.atClient.push(data));
  }

  static async open(options: DtlsPairOptions = {}): Promise<DtlsPair> {
    const allowed = options.fingerprints ?? [await clientFingerprint("sha256")];
    return new DtlsPair(await clientCertificate(), allowed, options);
  }

  get state(): ReturnType<typeof stateOf> {
    return stateOf(this.flags);
  }
  get failure(): ReturnType<typeof dtlsFailure> {
    return dtlsFailure(this.server.details().failure);
  }

  /** Resolves when the server has connected or failed; the client goes on by itself. */
  async handshake(): Promise<void> {
    // It rejects when nobody answers, which is what some of the tests are about.
    this.client.connect().catch(() => {});
    await until(
      () => this.state !== "handshaking" && (this.state !== "connected" || this.clientConnected),
      () => `the server is ${this.state}`,
    );
  }

  /** One datagram to the server. Returns whether it refused a record of it. */
  feed(datagram: Buffer): boolean {
    return this.#after(this.server.feed(datagram));
  }
  send(message: Buffer): void {
    this.#after(this.server.send(message));
  }
  close(): void {
    clearTimeout(this.#timer);
    this.#after(this.server.close());
  }

  /** Messages go both ways. */
  async talks(mark: string): Promise<boolean> {
    await this.client.send(Buffer.from(`${mark} up`));
    this.send(Buffer.from(`${mark} down`));
    const has = (all: readonly Buffer[], text: string) => all.some((message) => message.toString() === text);
    return has(this.atServer, `${mark} up`) && has(this.atClient, `${mark} down`);
  }

  /** The client's half of SRTP, werift's. */
  media(): { readonly srtp: SrtpSession; readonly srtcp: SrtcpSession } {
    const profile = this.client.srtp.srtpProfile!;
    const keys = this.client.extractSessionKeys(16, profile === SRTP.gcm ? 12 : 14);
    const config = {
      profile,
      keys: {
        localMasterKey: keys.localKey,
        localMasterSalt: keys.localSalt,
        remoteMasterKey: keys.remoteKey,
        remoteMasterSalt: keys.remoteSalt,
      },
    };
    return { srtp: new SrtpSession(config), srtcp: new SrtcpSession(config) };
  }

  /** The client does not have the key of its certificate. */
  forgeCertificateVerify(): void {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    this.client.cipher.signatureData = (data, hash) => sign(hash, data, privateKey);
  }
  /** The client has not seen the same handshake. */
  forgeFinished(): void {
    this.client.cipher.verifyData = () => Buffer.alloc(12, 1);
  }

  #after(flags: number): boolean {
    this.flags = flags;
    clearTimeout(this.#timer);
    if ((flags & FLAG.messages) !== 0) this.atServer.push(...this.server.takeMessages());
    if ((flags & FLAG.datagrams) !== 0) {
      for (const datagram of this.server.takeDatagrams()) {
        if (datagram[0] === 21 && datagram.readUInt16BE(3) === 0) this.alerts++;
        this.#transport.onData(datagram);
      }
    }
    const ms = this.server.timeoutMs();
    if (ms >= 0) this.#timer = setTimeout(() => this.#after(this.server.onTimeout()), ms);
    return (flags & FLAG.refused) !== 0;
  }
}
