/**
 * A process of its own that makes one call after the other with credentials of its own, and in each sends what no client would:
 * mutated RTP, RTCP, SCTP and data-channel messages, well encrypted. Its own werift may break on what comes back; that is
 * why it is a process. Prints how many of each kind it has sent, as JSON.
 *
 *   node hostile-caller.js CALLS-URL SEED MESSAGES-PER-CALL
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { RTCDtlsTransport, RtpHeader } from "werift";
import { mutated, Random } from "./mutations.ts";
import { WeriftClient } from "./werift-client.ts";

process.on("uncaughtException", () => {});
process.on("unhandledRejection", () => {});

const [url, seed, messages] = process.argv.slice(2);
const random = new Random(Number(seed));
const MESSAGES = Number(messages);
/** So many, then a pause, or the sockets overflow and nothing but that is tested. */
const BURST = 16;
const PAUSE_MS = 2;

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

/** Each a whole RTCP packet (RFC 3550, RFC 4585, RFC 5104, REMB, transport-cc), of the SSRC that it is sent for. */
function rtcpSeeds(ssrc: number): Buffer[] {
  const id = ssrc.toString(16).padStart(8, "0");
  return [
    hex(
      `81c8000c ${id} e5e5e5e5 00000000 00000001 00000002 00000003 ${id} 00000000 00000001 00000000 00000000 00000000`,
    ),
    hex(`81c90007 ${id} ${id} 00000000 00000001 00000000 00000000 00000000`),
    hex(`81ca0003 ${id} 0102 6162 0000 0000`),
    hex(`81cb0001 ${id}`),
    hex(`81cd0003 ${id} ${id} 00010000`),
    hex(`81ce0002 ${id} ${id}`),
    hex(`84ce0004 ${id} ${id} ${id} 01000000`),
    hex(`8fce0005 ${id} 00000000 52454d42 0103ffff ${id}`),
    hex(`8fcd0005 ${id} ${id} 00010002 00000000 20020000`),
    hex(`80cc0003 ${id} 61626364 00000000`),
    hex(`80cf0002 ${id} 04000000`),
  ];
}

const DATA_CHANNEL_OPENS = [
  hex("03000000 00000000 00010000 61"),
  hex("03010000 00000005 00020001 616263"),
  hex("0382ffff ffffffff ffff ffff"),
  hex("02"),
];

interface Caller {
  readonly client: WeriftClient;
  readonly dtls: RTCDtlsTransport;
  /** Plain SCTP packets that the client has sent by itself. */
  readonly sctpSeen: readonly Buffer[];
}

async function call(): Promise<Caller> {
  const client = new WeriftClient();
  const sctpSeen: Buffer[] = [];
  const offer = await client.offer();
  const dtls = client.connection.dtlsTransports[0]!;
  const { sendData } = dtls;
  (dtls as { sendData: typeof sendData }).sendData = async (data) => {
    if (sctpSeen.length < 200) sctpSeen.push(Buffer.from(data));
    await sendData(data);
  };
  const response = await fetch(url!, { method: "POST", headers: { "content-type": "application/sdp" }, body: offer });
  if (!response.ok) throw new Error(`no call: ${response.status} ${await response.text()}`);
  await client.accept(await response.text());
  await client.connected();
  for (const text of ["a", "b".repeat(3_000), ""]) client.channel!.send(text);
  client.sendAudio({ payload: Buffer.from("audio"), timestamp: 0 });
  await sleep(50);
  return { client, dtls, sctpSeen };
}

const KINDS: Record<string, (caller: Caller) => Promise<unknown>> = {
  async rtp({ client, dtls }) {
    const header = Buffer.alloc(28);
    header.writeUInt8(0x90);
    header.writeUInt8(96, 1);
    header.writeUInt16BE(random.below(65_536), 2);
    header.writeUInt32BE(client.ssrc, 8);
    header.writeUInt32BE(0xbede0002, 12);
    header.write("1061", 16, "hex");
    const bytes = mutated(random, header, [header]);
    // The keys' stream is that of the bytes where they still tell, so that it decrypts.
    const ssrc = bytes.length >= 12 ? bytes.readUInt32BE(8) : client.ssrc;
    const sequenceNumber = bytes.length >= 4 ? bytes.readUInt16BE(2) : 0;
    const raw = { ssrc, sequenceNumber, serializeSize: bytes.length, serialize: () => bytes } as unknown as RtpHeader;
    await dtls.iceTransport.connection.send(dtls.srtp.encrypt(Buffer.alloc(random.below(40), 7), raw));
  },
  async rtcp({ client, dtls }) {
    const seeds = rtcpSeeds(client.ssrc);
    const bytes = mutated(random, Buffer.concat([random.pick(seeds), random.pick(seeds)]), seeds);
    if (bytes.length >= 8) await dtls.iceTransport.connection.send(dtls.srtcp.encrypt(bytes));
  },
  async sctp({ dtls, sctpSeen }) {
    const bytes = mutated(random, Buffer.from(random.pick(sctpSeen)), sctpSeen);
    if (bytes.length >= 12 && random.chance(95)) bytes.writeUInt32LE(crc32c(bytes), 8);
    if (bytes.length > 0) await dtls.dtls?.send(bytes);
  },
  async message({ client }) {
    const bytes = mutated(random, Buffer.from(random.pick(DATA_CHANNEL_OPENS)), DATA_CHANNEL_OPENS);
    const protocol = random.pick([50, 50, 50, 51, 53, 56, 57, 52, 54, 0, 0xffffffff]);
    const stream = random.pick([0, 1, 2, 3, 65_534, 65_535]);
    await client.connection.sctpTransport!.sctp.send(stream, protocol, bytes);
  },
};

/** RFC 9260, appendix A: with the checksum's own bytes as zeros. */
function crc32c(packet: Buffer): number {
  let crc = 0xffffffff;
  for (let i = 0; i < packet.length; i++) {
    crc ^= i >= 8 && i < 12 ? 0 : packet[i]!;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

const sent: Record<string, number> = {};
for (const [kind, send] of Object.entries(KINDS)) {
  sent[kind] = 0;
  while (sent[kind] < MESSAGES) {
    const caller = await call();
    // A call may end at any of them, which is its own loss; then another one is made.
    for (let n = 0; n < MESSAGES / 4 && sent[kind] < MESSAGES; n++) {
      await Promise.race([send(caller).catch(() => {}), sleep(5)]);
      sent[kind] += 1;
      if (n % BURST === 0) await sleep(PAUSE_MS);
    }
    await caller.client.close().catch(() => {});
  }
}
console.log(JSON.stringify(sent));
process.exit(0);
