/**
 * What the addon's DTLS and SRTP cost beside werift's, which they have replaced: one packet each way, and a handshake. Each is
 * measured at the boundary that a session uses, so the call from JavaScript into the addon is in it.
 */
import { DtlsClient, DtlsServer, RtpHeader, type SrtpProfile } from "werift";
import { loadCrypto } from "../src/transceiver/werift/crypto-binding.ts";
import { clientCertificate, DtlsPair, SRTP } from "../test/kit/dtls-pair.ts";
import { until } from "../test/kit/until.ts";
import { type PartRun, type Report, runPart } from "./report/part.ts";
import { type Timed, timeInRounds } from "./report/timed.ts";

/** Calls for each sample: reading the clock costs as much as a tenth of one. */
const CALLS = 100;
/** 20 ms of Opus at 32 kbit/s, and a packet of video. */
const PAYLOADS = [80, 1_100];
const PROFILE_NAMES: Readonly<Record<number, string>> = {
  [SRTP.gcm]: "AEAD_AES_128_GCM",
  [SRTP.sha1]: "AES128_CM_SHA1_80",
};

interface Task extends Timed {
  readonly row: { readonly profile: string; readonly payload: number; readonly step: string };
  readonly column: "werift" | "addon";
}

/** Both sides of one session: the addon's is the server's, werift's the client's. */
async function packetTasks(profile: SrtpProfile, payloadBytes: number): Promise<Task[]> {
  const pair = await DtlsPair.open({ profiles: [profile] });
  await pair.handshake();
  const { server } = pair;
  const { srtp } = pair.media();
  const room = loadCrypto().DtlsSession.srtpRoom;
  const payload = Buffer.alloc(payloadBytes, 1);
  // Each task has an SSRC of its own.
  const sequences = new Uint16Array(5);
  const header = (ssrc: number): RtpHeader => {
    // Wraps when it is stored.
    sequences[ssrc]!++;
    const sequence = sequences[ssrc]!;
    return new RtpHeader({ payloadType: 96, sequenceNumber: sequence, timestamp: sequence, ssrc });
  };
  const protect = (ssrc: number): Buffer => {
    const made = header(ssrc);
    const headerBytes = made.serializeSize;
    const packet = made.serialize(headerBytes + payloadBytes + room);
    payload.copy(packet, headerBytes);
    const length = server.protectRtp(packet, headerBytes + payloadBytes)!;
    if (length < 0) throw new Error(`own packet refused: ${length}`);
    return packet.subarray(0, length);
  };
  let sealed: Buffer[] = [];
  const sealAll = (seal: () => Buffer) => () => {
    sealed = Array.from({ length: CALLS }, seal);
  };
  const each = (call: (n: number) => void) => () => {
    for (let n = 0; n < CALLS; n++) call(n);
  };
  const task = (step: string, column: Task["column"], run: () => void, before?: () => void): Task => ({
    name: `${profile} ${payloadBytes} ${step} ${column}`,
    row: { profile: PROFILE_NAMES[profile]!, payload: payloadBytes, step },
    column,
    calls: CALLS,
    run,
    ...(before && { before }),
  });
  return [
    task(
      "protect",
      "werift",
      each(() => void srtp.encrypt(payload, header(1))),
    ),
    task(
      "protect",
      "addon",
      each(() => void protect(2)),
    ),
    task(
      "unprotect",
      "werift",
      each((n) => void srtp.decrypt(sealed[n]!)),
      sealAll(() => protect(3)),
    ),
    task(
      "unprotect",
      "addon",
      each((n) => {
        if (server.unprotectRtp(sealed[n]!)! < 0) throw new Error("own packet refused");
      }),
      sealAll(() => srtp.encrypt(payload, header(4))),
    ),
  ];
}

/** Client and server of werift's, on a link in memory. */
async function weriftHandshake(): Promise<void> {
  const { certPem, keyPem, signatureHash } = await clientCertificate();
  const ends = [0, 1].map(() => ({ onData: (_data: Buffer) => {} }));
  const transport = (own: 0 | 1) =>
    Object.assign(ends[own]!, {
      type: "memory",
      address: {},
      send: async (data: Buffer) => ends[1 - own]!.onData(Buffer.from(data)),
      close: async () => {},
    }) as unknown as ConstructorParameters<typeof DtlsClient>[0]["transport"];
  const options = { cert: certPem, key: keyPem, signatureHash, srtpProfiles: [SRTP.gcm], extendedMasterSecret: true };
  const server = new DtlsServer({ ...options, transport: transport(0), certificateRequest: true });
  const client = new DtlsClient({ ...options, transport: transport(1) });
  let connected = 0;
  for (const end of [server, client]) end.onConnect.subscribe(() => connected++);
  client.connect().catch(() => {});
  await until(
    () => connected >= 2,
    () => "no handshake of werift's",
  );
}

async function addonHandshake(): Promise<void> {
  const pair = await DtlsPair.open({ profiles: [SRTP.gcm] });
  await pair.handshake();
  if (pair.state !== "connected") throw new Error("no handshake of the addon's");
  pair.close();
}

/** CPU of one, in us. */
async function cpuOf(handshakes: number, handshake: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  for (let n = 0; n < handshakes; n++) await handshake();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / handshakes;
}

async function measure(report: Report, { smoke }: PartRun): Promise<void> {
  const rounds = smoke ? { rounds: 1, timeMs: 10 } : { rounds: 5, timeMs: 150 };
  const packets = report.table("srtp", "One packet");
  report.progress("dtls: packets");
  const tasks: Task[] = [];
  for (const profile of [SRTP.gcm, SRTP.sha1]) {
    for (const payload of PAYLOADS) tasks.push(...(await packetTasks(profile, payload)));
  }
  const times = await timeInRounds(tasks, rounds);
  for (const [i, { row, column }] of tasks.entries()) packets.add(row, column, "ns", times[i]!.median);

  const handshakes = report.table("handshake", "One handshake, CPU of both sides, the client being werift's");
  report.progress("dtls: handshakes");
  const count = smoke ? 3 : 50;
  const samples = { werift: [] as number[], addon: [] as number[] };
  for (let round = 0; round < rounds.rounds; round++) {
    samples.werift.push(await cpuOf(count, weriftHandshake));
    samples.addon.push(await cpuOf(count, addonHandshake));
  }
  for (const server of ["werift", "addon"] as const) {
    handshakes.add({ server }, "client and server", "us", samples[server]);
  }
}

await runPart(
  {
    name: "dtls",
    method:
      `tinybench, with ${CALLS} packets per sample; each figure is the median of the rounds' medians, and both sides are measured in ` +
      "each round. To protect begins with a payload and a header, as a sender has them. Handshakes: process.cpuUsage over 50 in a row.",
    doesNotShow: [
      "What a session costs: ICE, the trunk, RTP and the backend come on top.",
      "A handshake's CPU of the server alone: werift's client, in JavaScript, is in both rows, so the difference is what counts.",
      "Cold caches: one session, its keys in the first level of the cache.",
    ],
  },
  measure,
);
// werift's flights wait for their timers, though everything is over.
process.exit();
