/**
 * What one call of each codec, check and lookup costs, alone and warm, on one thread: in TypeScript, and in the native core
 * (bench/native/micro.cc) where it has the same step. Both in each round, one after the other.
 */
import { createHmac, randomBytes, randomInt } from "node:crypto";
import { fileURLToPath } from "node:url";
import { FlowTable } from "../src/engine/js/flow-table.ts";
import { deriveKeys, KeyRing } from "../src/keys/key-ring.ts";
import { packageRoot } from "../src/package-root.ts";
import { verifyFingerprint, verifyMessageIntegrity } from "../src/stun/stun-integrity.ts";
import { localUfrag, readStun, STUN_ATTRIBUTE, STUN_CLASS } from "../src/stun/stun-reader.ts";
import { u32, u64, writeStun } from "../src/stun/stun-writer.ts";
import { icePassword, openToken, sealToken } from "../src/token/token.ts";
import { Opus } from "../src/transceiver/audio/opus.ts";
import { DIRECTION, TrunkReader, TrunkWriter } from "../src/trunk/datagram.ts";
import { FRAME_KIND, readFrames } from "../src/trunk/frame.ts";
import { pathBytes, pathKey } from "../src/trunk/path.ts";
import { siphash24 } from "../src/trunk/siphash.ts";
import { LineProcess } from "./load/line-process.ts";
import { buildTools } from "./load/load-tools.ts";
import { type PartRun, type Report, runPart } from "./report/part.ts";
import { type Rounds, type Timed, timeInRounds } from "./report/timed.ts";

/** Calls for each sample: reading the clock costs as much as the fastest of them. */
const CALLS = 100;
/** 20 ms of Opus at 32 kbit/s with its RTP header and SRTP tag is about this. */
const VOICE_BYTES = 120;
const FRAMES = 8;
const FLOWS = [1_000, 100_000, 1_000_000];
const SMOKE_FLOWS = [1_000, 2_000, 4_000];
const EPOCH = 1_790_000_000_000n;

const ring = new KeyRing([{ id: 1, secret: randomBytes(32), signs: true }]);
const keys = ring.signing;

const tokenFields = { cluster: 1, transceiver: 7, epoch: EPOCH, expiresAtMs: Date.now() + 3_600_000, nonce: 42 };
const ufrag = sealToken(tokenFields, keys);
const password = icePassword(ufrag, keys);

/** A check as browsers send it. */
const check = writeStun({
  class: STUN_CLASS.request,
  transactionId: randomBytes(12),
  attributes: [
    [STUN_ATTRIBUTE.username, Buffer.from(`${ufrag}:abcd`)],
    [STUN_ATTRIBUTE.iceControlling, u64(1n)],
    [STUN_ATTRIBUTE.priority, u32(1_845_501_695)],
  ],
  password,
});
const checkMessage = readStun(check)!;
/** Its ufrag's tag is another. */
const forgedCheck = Buffer.from(check);
forgedCheck.write(ufrag.endsWith("A") ? "B" : "A", check.indexOf(ufrag) + ufrag.length - 1);

const path = pathBytes(1, "203.0.113.7", 50_000);
const voice = randomBytes(VOICE_BYTES);
const full = randomBytes(1_400);
const tag = Buffer.alloc(8);

const newWriter = (): TrunkWriter =>
  new TrunkWriter({
    direction: DIRECTION.up,
    cluster: 1,
    senderId: 0x101,
    targetId: 7,
    targetEpoch: 5,
    senderEpoch: EPOCH,
    keys: () => keys,
  });
const newReader = (): TrunkReader =>
  new TrunkReader({
    direction: DIRECTION.up,
    cluster: 1,
    targetId: 7,
    targetEpoch: 5,
    keys: () => ring,
    acceptSender: () => true,
  });

const writer = newWriter();
function pack(): readonly Buffer[] {
  for (let frame = 0; frame < FRAMES; frame++) writer.append(FRAME_KIND.data, path, voice);
  return writer.flush();
}

const sealed = Array.from({ length: CALLS }, () => pack()[0]!);
let reader = newReader();
let bytesRead = 0;
function unpack(datagram: Buffer): void {
  const header = reader.open(datagram);
  if (typeof header === "string") throw new Error(`own datagram refused: ${header}`);
  readFrames(datagram, header.framesStart, header.framesEnd, DIRECTION.up, (_kind, _path, payload) => {
    bytesRead += payload.length;
  });
}

const codecs: Timed[] = [];
function add(name: string, call: (n: number) => void, before?: () => void): void {
  const run = () => {
    for (let n = 0; n < CALLS; n++) call(n);
  };
  codecs.push({ name, calls: CALLS, run, ...(before && { before }) });
}

add("STUN: read a check and find its ufrag", () => void localUfrag(readStun(check)!));
add("STUN: verify MESSAGE-INTEGRITY", () => void verifyMessageIntegrity(checkMessage, password));
add("STUN: verify FINGERPRINT", () => void verifyFingerprint(checkMessage));
add("request with a forged token: refuse", () => {
  const opened = openToken(localUfrag(readStun(forgedCheck)!)!, ring);
  if (opened.ok || opened.reason !== "tag") throw new Error("a forged token passed");
});
add("token: seal", (n) => void sealToken({ ...tokenFields, nonce: n }, keys));
add("token: open", () => void openToken(ufrag, ring));
add("token: derive the ICE password", () => void icePassword(ufrag, keys));
add("miss: read, open, derive, verify both", () => {
  const message = readStun(check)!;
  const opened = openToken(localUfrag(message)!, ring);
  if (!opened.ok || !verifyFingerprint(message)) throw new Error("own check refused");
  verifyMessageIntegrity(message, icePassword(ufrag, opened.keys));
});
add("keys: derive all of a fleet key", () => void deriveKeys(ring.fleetKeys[0]!));
add("SipHash-2-4: 17 bytes", () => siphash24(keys.tokenTag, full, 0, 17, tag, 0));
add("SipHash-2-4: 1,400 bytes", () => siphash24(keys.trunkUp, full, 0, 1_400, tag, 0));
add("HMAC-SHA256 of node:crypto: 1,400 bytes", () => void createHmac("sha256", keys.trunkUp).update(full).digest());
add(`trunk: pack ${FRAMES} voice frames and seal`, () => void pack());
add(
  `trunk: open and read ${FRAMES} voice frames`,
  (n) => unpack(sealed[n]!),
  () => {
    // A reader takes each datagram once.
    reader = newReader();
  },
);

/** Two seconds of something like a voice: a pitch that moves, its overtones, syllables and breath. */
const RATE = 24_000;
const FRAME_SAMPLES = RATE / 50;
const speech = Array.from({ length: 100 }, (_, frame) => {
  const pcm = new Int16Array(FRAME_SAMPLES);
  for (let n = 0; n < FRAME_SAMPLES; n++) {
    const time = (frame * FRAME_SAMPLES + n) / RATE;
    const phase = 2 * Math.PI * (140 * time + 3 * Math.sin(2 * time));
    const voiced = Math.sin(phase) + Math.sin(2 * phase) / 2 + Math.sin(5 * phase) / 4 + Math.sin(9 * phase) / 8;
    const syllable = Math.max(0, Math.sin(2 * Math.PI * 4 * time));
    pcm[n] = 8_000 * syllable * voiced + randomInt(-300, 300);
  }
  return new Uint8Array(pcm.buffer);
});
const opus = await Opus.open(RATE);
const packets = speech.map((pcm) => opus.encode(pcm));
add("Opus: encode 20 ms at 24 kHz", (n) => void opus.encode(speech[n % speech.length]!));
add("Opus: decode 20 ms at 24 kHz", (n) => void opus.decode(packets[n % packets.length]!));

/** In a full table of the JS engine, over all its paths in random order. */
function lookup(flows: number): Timed {
  const table = new FlowTable({ capacity: flows, tentativeQuota: flows, now: () => 0, isRetired: () => false });
  const order = new Uint32Array(flows);
  const one = Buffer.from(path);
  const setPath = (n: number) => one.writeUInt32BE(0x0a00_0000 + n, 5);
  for (let n = 0; n < flows; n++) {
    setPath(n);
    table.admit(one, 1, ufrag);
    const other = randomInt(n + 1);
    order[n] = order[other]!;
    order[other] = n;
  }
  let next = 0;
  const run = () => {
    for (let n = 0; n < CALLS; n++) {
      setPath(order[next]!);
      if (table.get(pathKey(one)) === undefined) throw new Error("a flow is not in its table");
      next = (next + 1) % flows;
    }
  };
  return { name: lookupName(flows), calls: CALLS, run };
}
/** As micro.cc calls it. */
const lookupName = (flows: number): string => `flow lookup: ${flows}`;

type NativeTimes = Readonly<Record<string, number>>;

async function startNative(flows: readonly number[], milliseconds: number): Promise<LineProcess<unknown, NativeTimes>> {
  buildTools("bench/native");
  const [few, more, most] = flows;
  const options = ["--few-flows", few, "--more-flows", more, "--most-flows", most, "--milliseconds", milliseconds];
  const program = fileURLToPath(new URL("build/bench-native/micro", packageRoot));
  return LineProcess.start([program, ...options.map(String)], {}, check.toString("hex"));
}

/** Rounds of both sides, in turn. */
async function inTurn(
  tasks: readonly Timed[],
  native: LineProcess<unknown, NativeTimes>,
  { rounds, timeMs }: Rounds,
): Promise<{ js: number[][]; native: NativeTimes[] }> {
  const js: number[][] = tasks.map(() => []);
  const natives: NativeTimes[] = [];
  for (let round = 0; round < rounds; round++) {
    const times = await timeInRounds(tasks, { rounds: 1, timeMs });
    for (const [i, { median }] of times.entries()) js[i]!.push(...median);
    natives.push(await native.ask());
  }
  return { js, native: natives };
}

/** What only the worker does, and only it. */
const ONLY_NATIVE = ", batch";

async function measure(report: Report, { smoke }: PartRun): Promise<void> {
  const rounds = smoke ? { rounds: 1, timeMs: 10 } : { rounds: 5, timeMs: 100 };
  const flows = smoke ? SMOKE_FLOWS : FLOWS;
  const native = await startNative(flows, smoke ? 2 : 20);
  try {
    const table = report.table("micro", "One call");
    report.progress("micro: codecs and checks");
    const first = await inTurn(codecs, native, rounds);
    const nativeNames = new Set(Object.keys(first.native[0]!));
    for (const [i, { name }] of codecs.entries()) {
      table.add({ call: name }, "JS", "ns", first.js[i]!);
      if (nativeNames.delete(name))
        table.add(
          { call: name },
          "native",
          "ns",
          first.native.map((times) => times[name]!),
        );
    }
    report.progress("micro: flow lookups");
    const lookups = flows.map(lookup);
    const second = await inTurn(lookups, native, rounds);
    for (const [i, { name }] of lookups.entries()) {
      const row = { call: `flow lookup: ${flows[i]!.toLocaleString("en")} flows, random order` };
      table.add(row, "JS", "ns", second.js[i]!);
      table.add(
        row,
        "native",
        "ns",
        second.native.map((times) => times[name]!),
      );
      table.add(
        row,
        "native, 256 prefetched",
        "ns",
        second.native.map((times) => times[name + ONLY_NATIVE]!),
      );
      nativeNames.delete(name);
      nativeNames.delete(name + ONLY_NATIVE);
    }
    if (nativeNames.size > 0)
      throw new Error(`measured natively, and nowhere to show it: ${[...nativeNames].join("; ")}`);
  } finally {
    await native.stop();
  }
  if (bytesRead === 0) throw new Error("no frame was read");
}

await runPart(
  {
    name: "micro",
    method:
      `tinybench for JS, with ${CALLS} calls per sample, and steady_clock around as many calls in C++; each figure is the median of ` +
      "the rounds' medians, and both sides are measured in each round. The native core is built as the addon is, without Node.",
    doesNotShow: [
      "What a relay forwards: there, sockets dominate. `npm run bench:pps` has that.",
      "Cold caches, but in the lookups in large tables; and the price of calling from JS into the addon, which no packet pays.",
      "MESSAGE-INTEGRITY natively: the worker checks the token's tag alone, and leaves the rest to the control plane.",
    ],
  },
  measure,
);
