/**
 * werift's DTLS transport with the addon's DTLS and SRTP inside, always as the server (a=setup:passive). Everything of
 * werift's own that touches a key or a record is overridden. What a stranger sends is counted, and changes nothing.
 */
import {
  RTCDtlsTransport,
  type RTCIceTransport,
  type RtcpPacket,
  RtcpPacketConverter,
  type RtpHeader,
  RtpPacket,
} from "werift";
import { EARLY_DATAGRAMS } from "../limits.ts";
import {
  type DtlsFailure,
  dtlsFailure,
  FLAG,
  loadCrypto,
  type NativeSession,
  type SrtpRefusal,
  srtpRefusal,
  stateOf,
} from "./crypto-binding.ts";
import { dtlsInternals } from "./internals.ts";
import { type LocalCertificate, localCertificate } from "./local-certificate.ts";
import { mayReadRtcp, mayReadRtp } from "./rtp-check.ts";

export interface DtlsTransportHost {
  /** Sends to the selected path. */
  send(datagram: Buffer): void;
  /** A datagram came before DTLS was begun, and found no room. */
  earlyDropped(): void;
  /** A datagram held a DTLS record that was refused. */
  dtlsDropped(): void;
  /** An SRTP or SRTCP packet was not taken, or not sent. */
  srtpDropped(why: SrtpRefusal | "unreadable"): void;
  dtlsFailed(failure: DtlsFailure): void;
  fault(error: unknown): void;
}

/** RFC 7983, section 7: DTLS is below, SRTP and SRTCP above. */
const FIRST_BYTE_OF_MEDIA = 128;

/** RFC 5761, section 4: what tells RTCP from RTP. */
const isRtcp = (packet: Buffer): boolean => packet.length > 1 && packet[1]! >= 192 && packet[1]! <= 223;

const DTLS_1_2 = { major: 0xfe, minor: 0xfd };

export class NativeDtlsTransport extends RTCDtlsTransport {
  /** As werift calls it for SCTP. Datagrams may be lost, so one for nobody is. */
  override readonly sendData = async (data: Buffer): Promise<void> => {
    if (this.#session !== undefined) this.#after(this.#session.send(data));
  };

  readonly #host: DtlsTransportHost;
  readonly #needsSrtp: boolean;
  readonly #local: LocalCertificate;
  /** Bytes that SRTP wants behind a packet. */
  readonly srtpRoom: number;
  /** Takes the decrypted packets that werift need not see, and says whether it has taken this one. */
  takeRtp: (packet: Buffer) => boolean = () => false;
  #session: NativeSession | undefined;
  #early: Buffer[] = [];
  #timer: NodeJS.Timeout | undefined;
  #starting: { resolve(): void; reject(error: Error): void } | undefined;

  /** `needsSrtp`: whether a client without SRTP is of no use. */
  constructor(
    host: DtlsTransportHost,
    config: ConstructorParameters<typeof RTCDtlsTransport>[0],
    transport: RTCIceTransport,
    needsSrtp: boolean,
  ) {
    const local = localCertificate();
    super(config, transport, local.certificate);
    this.#host = host;
    this.#needsSrtp = needsSrtp;
    this.#local = local;
    this.srtpRoom = loadCrypto().DtlsSession.srtpRoom;
    this.role = "server";
  }

  /** Once there is a path. Resolves when DTLS is up. */
  override async start(): Promise<void> {
    if (this.state !== "new") throw new Error(`expected a new DTLS transport, got one that is ${this.state}`);
    // The offer's reader has let nothing else through than digests of SHA-256, SHA-384 and SHA-512.
    const allowed = (dtlsInternals(this).remoteParameters?.fingerprints ?? []).map(({ value }) =>
      Buffer.from(value.replaceAll(":", ""), "hex"),
    );
    this.#session = new (loadCrypto().DtlsSession)(this.#local.identity, allowed, this.#needsSrtp);
    this.#change("connecting");
    const started = new Promise<void>((resolve, reject) => {
      this.#starting = { resolve, reject };
    });
    for (const datagram of this.#early.splice(0)) this.receive(datagram);
    await started;
  }

  /** DTLS, SRTP or SRTCP from a proved path. SRTP is decrypted where it stands. */
  receive(datagram: Buffer): void {
    const session = this.#session;
    if (session === undefined) {
      if (this.state === "new" && this.#early.length < EARLY_DATAGRAMS) this.#early.push(datagram);
      else this.#host.earlyDropped();
    } else if (datagram[0]! < FIRST_BYTE_OF_MEDIA) {
      const flags = session.feed(datagram);
      if ((flags & FLAG.refused) !== 0) this.#host.dtlsDropped();
      this.#after(flags);
    } else {
      this.#receiveMedia(session, datagram);
    }
  }

  override async sendRtp(payload: Buffer, header: RtpHeader): Promise<number> {
    const headerBytes = header.serializeSize;
    const packet = header.serialize(headerBytes + payload.length + this.srtpRoom);
    payload.copy(packet, headerBytes);
    return this.sendRtpPacket(packet, headerBytes + payload.length);
  }

  /** A whole packet, with `srtpRoom` behind it; changes it. Gives what has been sent, in bytes: 0 if it could not be. */
  sendRtpPacket(packet: Buffer, length: number): number {
    return this.#session === undefined ? 0 : this.#sendMedia(packet, this.#session.protectRtp(packet, length));
  }

  override async sendRtcp(packets: RtcpPacket[]): Promise<number | undefined> {
    if (this.#session === undefined) return undefined;
    const plain = Buffer.concat(packets.map((packet) => packet.serialize()));
    const packet = Buffer.concat([plain, Buffer.alloc(this.srtpRoom)]);
    return this.#sendMedia(packet, this.#session.protectRtcp(packet, plain.length));
  }

  /** Says goodbye while there is a path to say it on. */
  override async stop(): Promise<void> {
    this.#end();
    await super.stop();
  }

  override updateSrtpSession(): never {
    throw new Error("SRTP is in the addon");
  }
  override startSrtp(): never {
    throw new Error("SRTP is in the addon");
  }

  #receiveMedia(session: NativeSession, datagram: Buffer): void {
    const isControl = isRtcp(datagram);
    const length = isControl ? session.unprotectRtcp(datagram) : session.unprotectRtp(datagram);
    if (length === undefined || length < 0) {
      this.#host.srtpDropped(srtpRefusal(length));
      return;
    }
    this.bytesReceived += datagram.length;
    this.packetsReceived++;
    const packet = datagram.subarray(0, length);
    if (!(isControl ? mayReadRtcp(packet) : mayReadRtp(packet))) {
      this.#host.srtpDropped("unreadable");
      return;
    }
    try {
      if (isControl) for (const each of RtcpPacketConverter.deSerialize(packet)) this.onRtcp.execute(each);
      else if (!this.takeRtp(packet)) this.onRtp.execute(RtpPacket.deSerialize(packet));
    } catch (error) {
      this.#host.fault(error);
    }
  }

  #sendMedia(packet: Buffer, length: number | undefined): number {
    if (length === undefined || length < 0) {
      this.#host.srtpDropped(srtpRefusal(length));
      return 0;
    }
    this.bytesSent += length;
    this.packetsSent++;
    this.#host.send(packet.subarray(0, length));
    return length;
  }

  /** Does what a call into the session has brought about. */
  #after(flags: number): void {
    const session = this.#session;
    if (session === undefined) return;
    if ((flags & FLAG.datagrams) !== 0) for (const datagram of session.takeDatagrams()) this.#host.send(datagram);
    const state = stateOf(flags);
    if (state === "handshaking") this.#await(session);
    else if (state === "failed") this.#fail(session);
    else if (this.state === "connecting") this.#connected(session);
    if ((flags & FLAG.messages) !== 0) this.#deliver(session);
    if (state === "closed" && this.#session === session) {
      this.#end();
      this.#change("closed");
    }
  }

  #await(session: NativeSession): void {
    clearTimeout(this.#timer);
    const ms = session.timeoutMs();
    if (ms >= 0) this.#timer = setTimeout(() => this.#after(session.onTimeout()), ms);
  }

  #connected(session: NativeSession): void {
    clearTimeout(this.#timer);
    const { srtpProfile, cipher, certificate } = session.details();
    dtlsInternals(this).dtls = {
      dtls: { version: DTLS_1_2 },
      cipher: { cipher: { name: cipher } },
      srtp: { srtpProfile },
      remoteCertificate: certificate,
    };
    this.srtpStarted = srtpProfile !== 0;
    this.#change("connected");
    this.#starting?.resolve();
  }

  #fail(session: NativeSession): void {
    const failure = dtlsFailure(session.details().failure);
    this.#end();
    this.#host.dtlsFailed(failure);
    this.#change("failed");
  }

  #deliver(session: NativeSession): void {
    for (const message of session.takeMessages()) {
      // One may have ended the call.
      if (this.#session !== session) return;
      try {
        this.dataReceiver(message);
      } catch (error) {
        this.#host.fault(error);
      }
    }
  }

  /** Nothing is received or sent after this, and no key is left. */
  #end(): void {
    clearTimeout(this.#timer);
    this.#early = [];
    const session = this.#session;
    this.#session = undefined;
    if (session !== undefined && (session.close() & FLAG.datagrams) !== 0) {
      for (const datagram of session.takeDatagrams()) this.#host.send(datagram);
    }
    this.#starting?.reject(new Error("DTLS has ended"));
    this.#starting = undefined;
  }

  #change(state: RTCDtlsTransport["state"]): void {
    dtlsInternals(this).setState(state);
  }
}
