/**
 * What one call of each TypeScript codec costs, alone and warm, on one thread. It shows where the control plane's and the
 * transceiver's time goes for a packet; it does not show what a relay forwards, where sockets dominate.
 */
import { createHmac, randomBytes } from "node:crypto";
import { deriveKeys, KeyRing } from "../src/keys/key-ring.ts";
import { verifyFingerprint, verifyMessageIntegrity } from "../src/stun/stun-integrity.ts";
import { localUfrag, readStun, STUN_ATTRIBUTE, STUN_CLASS } from "../src/stun/stun-reader.ts";
import { u32, u64, writeStun } from "../src/stun/stun-writer.ts";
import { icePassword, openToken, sealToken } from "../src/token/token.ts";
import { DIRECTION, TrunkReader, TrunkWriter } from "../src/trunk/datagram.ts";
import { FRAME_KIND, readFrames } from "../src/trunk/frame.ts";
import { pathBytes } from "../src/trunk/path.ts";
import { siphash24 } from "../src/trunk/siphash.ts";
import { runPart } from "./report/part.ts";
import { type Timed, timeInRounds } from "./report/timed.ts";

/** Calls for each sample: reading the clock costs as much as the fastest of them. */
const CALLS = 100;
/** 20 ms of Opus at 32 kbit/s with its RTP header and SRTP tag is about this. */
const VOICE_BYTES = 120;
const FRAMES = 8;
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

const tasks: Timed[] = [];
function add(name: string, call: (n: number) => void, before?: () => void): void {
  const run = () => {
    for (let n = 0; n < CALLS; n++) call(n);
  };
  tasks.push({ name, calls: CALLS, run, ...(before && { before }) });
}

add("STUN: read a check and find its ufrag", () => void localUfrag(readStun(check)!));
add("STUN: verify MESSAGE-INTEGRITY", () => void verifyMessageIntegrity(checkMessage, password));
add("STUN: verify FINGERPRINT", () => void verifyFingerprint(checkMessage));
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

await runPart(
  {
    name: "micro",
    method: `tinybench, ${CALLS} calls per sample, warm caches, one thread; median of the rounds' medians.`,
    doesNotShow: ["What a relay forwards: there, sockets dominate. `npm run bench:pps` has that."],
  },
  async (report, { smoke }) => {
    const table = report.table("micro", "One call");
    const times = await timeInRounds(tasks, smoke ? { rounds: 1, timeMs: 20 } : { rounds: 5, timeMs: 100 });
    if (bytesRead === 0) throw new Error("no frame was read");
    for (const [i, { name }] of tasks.entries()) table.add({ call: name }, "JS", "ns", times[i]!.median);
  },
);
