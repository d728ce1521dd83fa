/**
 * The C++ and the TypeScript readers say the same of every input: STUN, tokens, trunk datagrams, sources. Whatever one
 * of them reads otherwise, an attacker could send.
 *
 *   npm run agree -- --millions 30 [--seed 7]     by hand, for as long as one likes
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { parseArgs } from "node:util";
import { deriveKeys, KeyRing } from "../../src/keys/key-ring.ts";
import { STUN_CLASS } from "../../src/stun/stun-reader.ts";
import { DIRECTION } from "../../src/trunk/frame.ts";
import { bindingRequest, stunMessage, tokenUfrag, tokenUfragOf } from "../kit/datagrams.ts";
import { Random } from "../kit/mutations.ts";
import { stunCorpus } from "../kit/stun-corpus.ts";
import { StunMutations } from "../kit/stun-mutations.ts";
import { TrunkMutations } from "../kit/trunk-mutations.ts";
import * as rfc5769 from "../vectors/rfc5769.ts";
import { NativeVerdicts, QUESTION, QUESTION_HEAD_BYTES } from "./native-verdicts.ts";
import { type Source, VERDICT_BYTES, Verdicts, type World } from "./verdicts.ts";

const { values: given } = parseArgs({ options: { millions: { type: "string" }, seed: { type: "string" } } });
const MUTATIONS = 1_000_000 * Number(given.millions ?? "1.5");
const SEED = Number(given.seed ?? "20260501");
/** Questions in a block. Each block begins with readers that have heard nothing, so that it can be repeated alone. */
const BLOCK = 8_192;
const LARGEST_DATAGRAM = 32_768;

const key = (id: number, fill: number) => ({ id, secret: Buffer.alloc(32, fill), signs: id === 3 });
const ring = new KeyRing([key(3, 1), key(60, 2)]);
const strangers = [key(3, 3), key(7, 4), key(63, 5)].map(deriveKeys);
const senders = [1, 2, 0xffff_fffe].map((id) => ({ id, epoch: 1_770_000_000_000n + BigInt(id) }));
const world: World = { cluster: 0x0102, targetId: 0xfffe_cd02, targetEpoch: 0x9c3a_8640, senders, ring };

const native = new NativeVerdicts();
after(() => native.close());

/** Questions side by side, and what our own readers said of them. */
class Block {
  readonly #bytes: Buffer;
  readonly #verdicts: Buffer;
  readonly #starts: number[] = [];
  readonly #readers = new Verdicts(world);
  #end = 0;

  constructor(bytes: Buffer, verdicts: Buffer) {
    this.#bytes = bytes;
    this.#verdicts = verdicts;
    native.begin(world);
  }

  get isFull(): boolean {
    const room = this.#bytes.length - this.#end;
    return this.#starts.length === BLOCK || room < QUESTION_HEAD_BYTES + LARGEST_DATAGRAM;
  }

  /** `write` puts the datagram into the buffer and returns where it ends. */
  add(kind: number, write: (out: Buffer, start: number) => number): void {
    const head = this.#end;
    const start = head + QUESTION_HEAD_BYTES;
    this.#end = write(this.#bytes, start);
    this.#bytes.writeUInt32BE(this.#end - start, head);
    this.#bytes[head + 4] = kind;
    this.#starts.push(start);
  }

  addSource(source: Source): void {
    this.add(QUESTION.source, (out, start) => {
      out.fill(0, start, start + 20);
      out[start] = source.ingressIsLoopback ? 1 : 0;
      out[start + 1] = source.address.length === 4 ? 4 : 6;
      out.writeUInt16BE(source.port, start + 2);
      source.address.copy(out, start + 4);
      return start + 20;
    });
    this.#readers.source(source, this.#verdicts, (this.#starts.length - 1) * VERDICT_BYTES);
  }

  /** Throws at the first datagram on which they differ. Otherwise each verdict goes to `onVerdict`. */
  async compare(what: string, onVerdict: (verdict: Buffer) => void): Promise<void> {
    const count = this.#starts.length;
    const answer = native.ask(this.#bytes.subarray(0, this.#end), count);
    for (let i = 0; i < count; i += 1) this.#judge(i);
    const theirs = await answer;
    const ours = this.#verdicts.subarray(0, count * VERDICT_BYTES);
    for (let i = 0, same = theirs.equals(ours); i < count; i += 1) {
      const at = i * VERDICT_BYTES;
      const verdict = ours.subarray(at, at + VERDICT_BYTES);
      if (!same) {
        const datagram = this.#datagram(i).toString("hex");
        const about = `${what}, question ${i} of the block (kind ${this.#kind(i)}): ${datagram}`;
        assert.equal(theirs.toString("hex", at, at + VERDICT_BYTES), verdict.toString("hex"), about);
      }
      onVerdict(verdict);
    }
  }

  #kind(index: number): number {
    return this.#bytes[this.#starts[index]! - 1]!;
  }

  #datagram(index: number): Buffer {
    const next = this.#starts[index + 1];
    return this.#bytes.subarray(this.#starts[index], next === undefined ? this.#end : next - QUESTION_HEAD_BYTES);
  }

  #judge(index: number): void {
    const kind = this.#kind(index);
    const at = index * VERDICT_BYTES;
    if (kind === QUESTION.clientDatagram) {
      this.#readers.clientDatagram(this.#datagram(index), this.#verdicts, at);
    } else if (kind !== QUESTION.source) {
      const direction = kind === QUESTION.trunkUp ? DIRECTION.up : DIRECTION.down;
      this.#readers.trunkDatagram(this.#datagram(index), direction, this.#verdicts, at);
    }
  }
}

const blockBytes = Buffer.alloc(BLOCK * 256 + LARGEST_DATAGRAM);
const blockVerdicts = Buffer.alloc(BLOCK * VERDICT_BYTES);

/** Asks about `count` inputs, block by block, of which `fill` adds one at a time. */
async function compareAll(
  what: string,
  count: number,
  fill: (block: Block, random: Random) => void,
  onVerdict: (verdict: Buffer) => void,
): Promise<void> {
  for (let done = 0, number = 0; done < count; number += 1) {
    const random = new Random(SEED + number);
    const block = new Block(blockBytes, blockVerdicts);
    for (; !block.isFull && done < count; done += 1) fill(block, random);
    await block.compare(`${what}, seed ${SEED}, block ${number}`, onVerdict);
  }
}

/** How often each value of a verdict's byte came. A value that never came was never compared. */
class Reached {
  readonly #counts = new Map<string, number>();

  count(name: string, value: number): void {
    const key = `${name} ${value}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  toString(): string {
    return [...this.#counts]
      .sort()
      .map((each) => each.join(": "))
      .join(", ");
  }

  check(name: string, values: readonly number[]): void {
    for (const value of values) {
      assert.ok((this.#counts.get(`${name} ${value}`) ?? 0) > 0, `${name} ${value} was never reached`);
    }
  }
}

function usernames(): Buffer[] {
  const transceiver = { id: 0x0a0b0c0d, epoch: 1_770_000_000_000n, cluster: 0x0102 };
  const block = Buffer.alloc(16, 0x5a);
  const ufrags = [
    ...[...ring.all, ...ring.all, ...strangers].map((keys) => tokenUfrag(keys, transceiver)),
    ...ring.all.map((keys) => tokenUfragOf(keys, block)),
    ...[1, 2, 3].map((version) => tokenUfragOf(ring.signing, block, version)),
    "A".repeat(31),
    "A".repeat(33),
    "short",
    "",
  ];
  return [...ufrags.map((ufrag) => `${ufrag}:peer`), ...ufrags, ":", "no colon"].map((text) => Buffer.from(text));
}

function seeds(): Buffer[] {
  const { SAMPLE_REQUEST, SAMPLE_IPV4_RESPONSE, SAMPLE_IPV6_RESPONSE, SAMPLE_LONG_TERM_REQUEST } = rfc5769;
  const requests = usernames().map((username) =>
    bindingRequest("", { username: username.toString("latin1"), password: "a password of no matter" }),
  );
  return [
    ...[SAMPLE_REQUEST, SAMPLE_IPV4_RESPONSE, SAMPLE_IPV6_RESPONSE, SAMPLE_LONG_TERM_REQUEST],
    ...requests,
    ...Object.values(STUN_CLASS).map((each) => stunMessage(each)),
    ...stunCorpus(),
  ];
}

test("the STUN readers agree on every part of every message of the corpora", async () => {
  const parts = seeds().flatMap((seed) => Array.from({ length: seed.length + 1 }, (_, end) => seed.subarray(0, end)));
  let next = 0;
  await compareAll(
    "parts of the corpora",
    parts.length,
    (block) => {
      const part = parts[next++]!;
      block.add(QUESTION.clientDatagram, (out, start) => start + part.copy(out, start));
    },
    () => {},
  );
});

test("the STUN readers and the token checks agree on mutated requests", async (t) => {
  const reached = new Reached();
  let mutations: { random: Random; of: StunMutations } | undefined;
  const all = seeds();
  await compareAll(
    "mutated STUN",
    Math.ceil(MUTATIONS * 0.6),
    (block, random) => {
      if (mutations?.random !== random) mutations = { random, of: new StunMutations(random, all, usernames()) };
      const { of } = mutations;
      block.add(QUESTION.clientDatagram, (out, start) => of.write(out, start));
    },
    (verdict) => {
      reached.count("class", verdict[0]!);
      reached.count("stun", verdict[1]!);
      reached.count("token", verdict[6]!);
    },
  );
  t.diagnostic(reached.toString());
  reached.check("class", [0, 1, 2, 3, 0xff]);
  reached.check("stun", [0, 1, 2, 3, 4, 5]);
  reached.check("token", [0, 1, 2, 3]);
});

test("the trunk readers agree on mutated datagrams of both directions", async (t) => {
  const reached = new Reached();
  let mutations: { random: Random; of: TrunkMutations } | undefined;
  await compareAll(
    "mutated trunk datagrams",
    Math.floor(MUTATIONS * 0.4),
    (block, random) => {
      if (mutations?.random !== random) {
        mutations = { random, of: new TrunkMutations(random, { ...world, keys: ring.all, strangers }) };
      }
      const { of } = mutations;
      const [kind, direction] = random.chance(50)
        ? ([QUESTION.trunkUp, DIRECTION.up] as const)
        : ([QUESTION.trunkDown, DIRECTION.down] as const);
      block.add(kind, (out, start) => of.write(out, start, direction));
    },
    (verdict) => {
      reached.count("rejected", verdict[0]!);
      reached.count("malformed frames", verdict[1]!);
      reached.count("frames", verdict.readUInt16BE(2));
    },
  );
  t.diagnostic(reached.toString());
  reached.check("rejected", [0, 1, 2, 3, 4, 5, 6]);
  reached.check("malformed frames", [0, 1]);
  reached.check("frames", [0, 1, 2, 3, 4, 5]);
});

/** Every first octet, the ends of every special block, and one step to either side of them. */
const EDGES = [
  ...Array.from({ length: 256 }, (_, first) => Buffer.from([first, 0, 0, 1])),
  ...["00", "7f00", "7fffff", "e000", "efffff", "ffffffff"].map((hex) => Buffer.alloc(4, hex, "hex")),
  ...[
    "00000000000000000000000000000000",
    "00000000000000000000000000000001",
    "00000000000000000000000000000002",
    "00000000000000000000000001020304",
    "00000000000000000000ffff01020304",
    "00000000000000000000ffff7f000001",
    "000000000000000000010000ffff0001",
    "0000000000000000ffff000001020304",
    "0064ff9b000000000000000001020304",
    "20010db8000000000000000000000001",
    "fc000000000000000000000000000001",
    "fe7fffffffffffffffffffffffffffff",
    "fe800000000000000000000000000001",
    "febfffffffffffffffffffffffffffff",
    "fec00000000000000000000000000001",
    "feffffffffffffffffffffffffffffff",
    "ff000000000000000000000000000000",
    "ff020000000000000000000000000001",
  ].map((hex) => Buffer.from(hex, "hex")),
];

test("both engines take the same sources for a client's", async (t) => {
  const reached = new Reached();
  await compareAll(
    "sources",
    Math.ceil(MUTATIONS / 20),
    (block, random) => {
      const address = Buffer.from(random.pick(EDGES));
      if (random.chance(60)) address[random.below(address.length)]! ^= 1 << random.below(8);
      if (random.chance(10)) for (let i = 0; i < address.length; i += 1) address[i] = random.below(256);
      const port = random.chance(10) ? 0 : random.pick([1, 255, 256, 3478, 0x7fff, 0xffff]);
      block.addSource({ ingressIsLoopback: random.chance(50), port, address });
    },
    (verdict) => reached.count("plausible", verdict[0]!),
  );
  t.diagnostic(reached.toString());
  reached.check("plausible", [0, 1]);
});
