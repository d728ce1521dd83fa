import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { verifyFingerprint, verifyMessageIntegrity } from "../../src/stun/stun-integrity.ts";
import {
  readStun,
  readXorAddress,
  STUN_ATTRIBUTE,
  STUN_CLASS,
  type StunMessage,
  stunAttribute,
} from "../../src/stun/stun-reader.ts";
import { errorCode, u32, u64, writeStun } from "../../src/stun/stun-writer.ts";
import { IceAgent, type IceHost, type IcePath } from "../../src/transceiver/ice-agent.ts";
import { CONSENT_TIMEOUT_MS, MAX_PATHS, SILENCE_MS } from "../../src/transceiver/limits.ts";
import { pathBytes, pathKey } from "../../src/trunk/path.ts";

const OURS = { ufrag: "o".repeat(32), password: "our-password/144-bits++" };
const THEIRS = { ufrag: "them", password: "their-password/22-chars" };
const OURS_2 = { ufrag: "p".repeat(32), password: "our-second-password+++++" };
const THEIRS_2 = { ufrag: "them2", password: "their-second-password++++" };
const OURS_3 = { ufrag: "q".repeat(32), password: "our-third-password++++++" };

const paths = new Map<string, IcePath>();

/** As the host does: one object for each path. */
function path(host: string, port = 5000): IcePath {
  const bytes = pathBytes(1, host, port);
  const key = pathKey(bytes);
  const known = paths.get(key) ?? { key, bytes };
  paths.set(key, known);
  return known;
}

const A = path("192.0.2.1");
const B = path("192.0.2.2");
const C = path("192.0.2.3");

interface RequestFields {
  readonly ours?: { ufrag: string; password: string };
  readonly theirs?: { ufrag: string; password: string };
  readonly useCandidate?: boolean;
  readonly username?: string;
  readonly password?: string | undefined;
  readonly fingerprint?: boolean;
  readonly attributes?: [number, Buffer][];
}

let transactions = 0;

/** A check as a browser sends it. */
function request(fields: RequestFields = {}): StunMessage {
  const { ours = OURS, theirs = THEIRS } = fields;
  const bytes = writeStun({
    class: STUN_CLASS.request,
    transactionId: Buffer.from(`client-${String(++transactions).padStart(5, "0")}`),
    attributes: [
      [STUN_ATTRIBUTE.username, Buffer.from(fields.username ?? `${ours.ufrag}:${theirs.ufrag}`)],
      [STUN_ATTRIBUTE.iceControlling, u64(7n)],
      [STUN_ATTRIBUTE.priority, u32(1)],
      ...(fields.useCandidate ? ([[STUN_ATTRIBUTE.useCandidate, Buffer.alloc(0)]] as const) : []),
      ...(fields.attributes ?? []),
    ],
    password: "password" in fields ? fields.password : ours.password,
    fingerprint: fields.fingerprint ?? true,
  });
  return readStun(bytes)!;
}

/** The client's answer to a check of ours. */
function answer(check: StunMessage, fields: { password?: string; class?: 2 | 3; transactionId?: Buffer } = {}) {
  const bytes = writeStun({
    class: fields.class ?? STUN_CLASS.success,
    transactionId: fields.transactionId ?? check.transactionId,
    attributes: fields.class === STUN_CLASS.error ? [[STUN_ATTRIBUTE.errorCode, errorCode(487, "Role Conflict")]] : [],
    password: fields.password ?? THEIRS.password,
  });
  return readStun(bytes)!;
}

/** The agent with everything around it simulated. */
class World {
  nowMs = 1_000_000;
  sent: { path: IcePath; message: StunMessage; bytes: Buffer }[] = [];
  readonly ufrags = new Set<string>();
  readonly transactions = new Set<string>();
  readonly held = new Set<IcePath>();
  readonly evicted: IcePath[] = [];
  readonly proved: [IcePath, string][] = [];
  readonly selections: [IcePath, boolean][] = [];
  readonly agent: IceAgent<IcePath>;
  #random = 0;

  constructor() {
    const host: IceHost<IcePath> = {
      random: (bytes) => {
        const buffer = Buffer.alloc(bytes);
        buffer.writeUInt16BE((++this.#random * 2_477) % 65_536, 0);
        return buffer;
      },
      send: (to, bytes) => this.sent.push({ path: to, message: readStun(bytes)!, bytes }),
      ufragAdded: (ufrag) => this.ufrags.add(ufrag),
      ufragRemoved: (ufrag) => assert.ok(this.ufrags.delete(ufrag)),
      transactionAdded: (id) => this.transactions.add(id),
      transactionRemoved: (id) => assert.ok(this.transactions.delete(id)),
      pathAdded: (added) => this.held.add(added),
      pathRemoved: (removed, why) => {
        assert.ok(this.held.delete(removed));
        if (why === "evicted") this.evicted.push(removed);
      },
      pathProved: (proved, ufrag) => this.proved.push([proved, ufrag]),
      pathSelected: (selected, restarted) => this.selections.push([selected, restarted]),
    };
    this.agent = new IceAgent(host, OURS);
    this.agent.setRemote(THEIRS);
  }

  /** Takes what has been sent since the last time. */
  take(): { path: IcePath; message: StunMessage; bytes: Buffer }[] {
    return this.sent.splice(0);
  }

  request(from: IcePath, fields: RequestFields = {}): string {
    return this.agent.request(request(fields), from, this.nowMs);
  }

  /** Sends a request and returns the check that it triggered. */
  triggered(from: IcePath, fields: RequestFields = {}): StunMessage {
    assert.equal(this.request(from, fields), "answered");
    const checks = this.take().filter(({ message }) => message.class === STUN_CLASS.request);
    assert.equal(checks.length, 1);
    return checks[0]!.message;
  }

  /** Goes through a whole proof. */
  prove(from: IcePath, fields: RequestFields = {}): void {
    const check = this.triggered(from, fields);
    const password = (fields.theirs ?? THEIRS).password;
    assert.equal(this.agent.response(answer(check, { password }), from, this.nowMs), "accepted");
  }

  /** Lets time pass in steps of a timer, and answers consent checks if `answering`. */
  pass(ms: number, answering: boolean): { checksAt: number[]; alive: boolean } {
    const start = this.nowMs;
    const checksAt: number[] = [];
    while (this.nowMs < start + ms) {
      this.nowMs += 250;
      if (!this.agent.tick(this.nowMs)) return { checksAt, alive: false };
      for (const { path: to, message } of this.take()) {
        checksAt.push(this.nowMs - start);
        if (answering) assert.equal(this.agent.response(answer(message), to, this.nowMs), "accepted");
      }
    }
    return { checksAt, alive: true };
  }
}

let world: World;

beforeEach(() => {
  world = new World();
});

describe("proving a path", () => {
  test("an authenticated request gets one check and one success response, and proves nothing yet", () => {
    assert.equal(world.request(A, { useCandidate: true }), "answered");
    const [check, response, ...more] = world.take();
    assert.equal(more.length, 0);
    assert.equal(check?.path, A);
    assert.equal(check.message.class, STUN_CLASS.request);
    assert.equal(stunAttribute(check.message, STUN_ATTRIBUTE.username)?.toString(), `${THEIRS.ufrag}:${OURS.ufrag}`);
    assert.equal(stunAttribute(check.message, STUN_ATTRIBUTE.iceControlled)?.length, 8);
    assert.equal(stunAttribute(check.message, STUN_ATTRIBUTE.priority)?.length, 4);
    assert.equal(stunAttribute(check.message, STUN_ATTRIBUTE.useCandidate), undefined);
    assert.ok(verifyMessageIntegrity(check.message, THEIRS.password));
    assert.ok(verifyFingerprint(check.message));
    assert.equal(response?.path, A);
    assert.equal(response.message.class, STUN_CLASS.success);
    const mapped = stunAttribute(response.message, STUN_ATTRIBUTE.xorMappedAddress)!;
    assert.deepEqual(readXorAddress(mapped, response.message.transactionId), { host: "192.0.2.1", port: 5000 });
    assert.ok(verifyMessageIntegrity(response.message, OURS.password));
    assert.ok(verifyFingerprint(response.message));
    assert.equal(world.agent.selected, undefined);
    assert.deepEqual(world.proved, []);
  });

  test("the answer to the check proves the path, and the first proved path is selected", () => {
    world.prove(A);
    assert.equal(world.agent.selected, A);
    assert.deepEqual(world.proved, [[A, OURS.ufrag]]);
    assert.deepEqual(world.selections, [[A, true]]);
    assert.equal(world.transactions.size, 0);
  });

  test("IPv6 clients learn their address", () => {
    const six = path("2001:db8::7", 6000);
    world.request(six);
    const response = world.take()[1]!.message;
    const mapped = stunAttribute(response, STUN_ATTRIBUTE.xorMappedAddress)!;
    assert.deepEqual(readXorAddress(mapped, response.transactionId), { host: "2001:db8::7", port: 6000 });
  });

  test("a proved path triggers no further checks while the proof is fresh", () => {
    world.prove(A);
    for (let i = 0; i < 5; i++) world.request(A);
    assert.deepEqual(
      world.take().map(({ message }) => message.class),
      [2, 2, 2, 2, 2],
    );
  });

  test("requests that come faster than answers share a transaction, so a slow answer still counts", () => {
    const first = world.triggered(A);
    world.nowMs += 700;
    const second = world.triggered(A);
    assert.deepEqual(second.bytes, first.bytes);
    world.nowMs += 700;
    assert.equal(world.agent.response(answer(first), A, world.nowMs), "accepted");
    assert.equal(world.agent.selected, A);
  });

  test("a check that has waited too long gives way to a new transaction", () => {
    const first = world.triggered(A);
    world.nowMs += 5_000;
    const second = world.triggered(A);
    assert.notDeepEqual(second.transactionId, first.transactionId);
    assert.equal(world.agent.response(answer(first), A, world.nowMs), "transaction");
    assert.equal(world.agent.response(answer(second), A, world.nowMs), "accepted");
  });

  test("before the client's credentials are known, requests are answered and nothing is checked", () => {
    world.agent.restart(OURS_2);
    assert.equal(world.request(A, { ours: OURS_2, theirs: THEIRS_2 }), "answered");
    assert.deepEqual(
      world.take().map(({ message }) => message.class),
      [STUN_CLASS.success],
    );
  });
});

describe("no reflection", () => {
  const silent: [name: string, fields: RequestFields, verdict: string][] = [
    ["wrong integrity", { password: "guess" }, "integrity"],
    ["the client's password instead of ours", { password: THEIRS.password }, "integrity"],
    ["no integrity", { password: undefined }, "integrity"],
    ["no fingerprint", { fingerprint: false }, "fingerprint"],
    ["another client's ufrag", { username: `${OURS.ufrag}:other` }, "username"],
    ["the client's ufrag with a tail", { username: `${OURS.ufrag}:${THEIRS.ufrag}x` }, "username"],
    ["another ufrag of ours", { username: `${OURS_2.ufrag}:${THEIRS.ufrag}` }, "ufrag"],
    ["no colon", { username: OURS.ufrag }, "ufrag"],
  ];
  for (const [name, fields, verdict] of silent) {
    test(`nothing is sent for a request with ${name}`, () => {
      assert.equal(world.request(A, fields), verdict);
      assert.deepEqual(world.take(), []);
      assert.equal(world.held.size, 0);
    });
  }

  test("nothing is sent for a request with any one byte changed", () => {
    const good = request().bytes;
    for (let at = 0; at < good.length; at++) {
      const bytes = Buffer.from(good);
      bytes[at]! ^= 1;
      const message = readStun(bytes);
      if (message?.class !== STUN_CLASS.request) continue;
      assert.notEqual(world.agent.request(message, A, world.nowMs), "answered", `byte ${at}`);
    }
    assert.deepEqual(world.take(), []);
    assert.equal(world.agent.request(readStun(good)!, A, world.nowMs), "answered");
  });

  test("an unproved path gets one response and one check for each request, whatever comes", () => {
    const replayed = request({ useCandidate: true });
    for (let i = 0; i < 50; i++) {
      world.agent.request(replayed, B, world.nowMs);
      const sent = world.take();
      assert.deepEqual(
        sent.map(({ message }) => message.class),
        [STUN_CLASS.request, STUN_CLASS.success],
      );
      assert.ok(sent.every(({ path: to }) => to === B));
      world.nowMs += 20;
    }
    assert.deepEqual(world.pass(60_000, false), { checksAt: [], alive: true });
  });
});

describe("answers that prove nothing", () => {
  const cases: [name: string, tamper: (check: StunMessage) => StunMessage, from: IcePath, verdict: string][] = [
    ["from another path", (check) => answer(check), B, "transaction"],
    ["with wrong integrity", (check) => answer(check, { password: "guess" }), A, "integrity"],
    ["with our own password", (check) => answer(check, { password: OURS.password }), A, "integrity"],
    ["with another transaction id", (check) => answer(check, { transactionId: Buffer.alloc(12, 7) }), A, "transaction"],
    ["that are errors", (check) => answer(check, { class: STUN_CLASS.error }), A, "accepted"],
  ];
  for (const [name, tamper, from, verdict] of cases) {
    test(`answers ${name}`, () => {
      const check = world.triggered(A);
      assert.equal(world.agent.response(tamper(check), from, world.nowMs), verdict);
      assert.equal(world.agent.selected, undefined);
      assert.deepEqual(world.proved, []);
    });
  }

  test("answers to a check from 30 s ago", () => {
    const check = world.triggered(A);
    world.nowMs += CONSENT_TIMEOUT_MS;
    assert.equal(world.agent.response(answer(check), A, world.nowMs), "transaction");
    assert.deepEqual(world.proved, []);
  });

  test("an answer counts once", () => {
    const check = world.triggered(A);
    assert.equal(world.agent.response(answer(check), A, world.nowMs), "accepted");
    assert.equal(world.agent.response(answer(check), A, world.nowMs), "transaction");
    assert.equal(world.proved.length, 1);
  });

  test("the same answer, untouched and from where the check went, proves", () => {
    assert.equal(world.agent.response(answer(world.triggered(A)), A, world.nowMs), "accepted");
    assert.equal(world.agent.selected, A);
  });

  test("a request replayed from another address moves nothing", () => {
    const captured = request({ useCandidate: true });
    world.agent.request(captured, A, world.nowMs);
    world.agent.response(answer(world.take()[0]!.message), A, world.nowMs);
    world.nowMs += 10_000;
    assert.equal(world.agent.request(captured, B, world.nowMs), "answered");
    assert.equal(world.agent.selected, A);
    // The negative control: who can answer there has the client's password, and is the client.
    const check = world.take().find(({ message }) => message.class === STUN_CLASS.request)!.message;
    world.agent.response(answer(check), B, world.nowMs);
    assert.equal(world.agent.selected, B);
  });
});

describe("refusals", () => {
  test("a client that thinks it is controlled is told 487, and triggers nothing", () => {
    assert.equal(world.request(A, { attributes: [[STUN_ATTRIBUTE.iceControlled, u64(9n)]] }), "refused");
    const [only, ...more] = world.take();
    assert.equal(more.length, 0);
    assert.equal(only?.message.class, STUN_CLASS.error);
    assert.deepEqual([...stunAttribute(only.message, STUN_ATTRIBUTE.errorCode)!.subarray(2, 4)], [4, 87]);
    assert.ok(verifyMessageIntegrity(only.message, OURS.password));
    assert.equal(world.held.size, 0);
  });

  test("unknown attributes that must be understood are named in a 420", () => {
    const attributes: [number, Buffer][] = [
      [0x0033, Buffer.alloc(4)],
      [0xc057, Buffer.alloc(4)],
      [0x7abc, Buffer.alloc(0)],
      [0x0033, Buffer.alloc(4)],
    ];
    assert.equal(world.request(A, { attributes }), "refused");
    const [only, ...more] = world.take();
    assert.equal(more.length, 0);
    assert.deepEqual([...stunAttribute(only!.message, STUN_ATTRIBUTE.errorCode)!.subarray(2, 4)], [4, 20]);
    const types = stunAttribute(only!.message, STUN_ATTRIBUTE.unknownAttributes)!;
    assert.deepEqual(types, Buffer.from([0x00, 0x33, 0x7a, 0xbc]));
  });

  test("neither refusal is given without integrity", () => {
    for (const attribute of [STUN_ATTRIBUTE.iceControlled, 0x0033]) {
      const attributes: [number, Buffer][] = [[attribute, u64(9n)]];
      assert.equal(world.request(A, { attributes, password: "guess" }), "integrity");
    }
    assert.deepEqual(world.take(), []);
  });

  test("unknown attributes that may be ignored are ignored", () => {
    const attributes: [number, Buffer][] = [
      [0xc057, Buffer.alloc(4)],
      [0xff00, Buffer.alloc(5)],
    ];
    assert.equal(world.request(A, { attributes }), "answered");
  });
});

describe("selection", () => {
  test("USE-CANDIDATE on a proved path moves it", () => {
    world.prove(A);
    world.prove(B);
    assert.equal(world.agent.selected, A);
    world.request(B, { useCandidate: true });
    assert.equal(world.agent.selected, B);
    assert.deepEqual(world.selections, [
      [A, true],
      [B, false],
    ]);
  });

  test("USE-CANDIDATE on an unproved path moves it only once that is proved", () => {
    world.prove(A);
    const check = world.triggered(B, { useCandidate: true });
    assert.equal(world.agent.selected, A);
    world.agent.response(answer(check), B, world.nowMs);
    assert.equal(world.agent.selected, B);
  });

  test("USE-CANDIDATE on a path whose proof is old waits for a new proof", () => {
    world.prove(A);
    world.prove(B);
    world.pass(20_000, true);
    const check = world.triggered(B, { useCandidate: true });
    assert.equal(world.agent.selected, A);
    world.agent.response(answer(check), B, world.nowMs);
    assert.equal(world.agent.selected, B);
  });

  const roaming: [name: string, silentMs: number, moves: boolean][] = [
    ["has been silent for 500 ms", SILENCE_MS, true],
    ["was heard a moment ago", SILENCE_MS - 1, false],
  ];
  for (const [name, silentMs, moves] of roaming) {
    test(`a newly proved path ${moves ? "takes over from" : "leaves"} a selected one that ${name}`, () => {
      world.prove(A);
      world.nowMs += 3_000;
      world.agent.received(A, world.nowMs);
      world.nowMs += silentMs;
      world.prove(B);
      assert.equal(world.agent.selected, moves ? B : A);
    });
  }

  test("a path that was proved before does not take over by being heard", () => {
    world.prove(A);
    world.prove(B);
    world.nowMs += 5_000;
    world.request(B);
    assert.equal(world.agent.selected, A);
  });
});

describe("consent", () => {
  test("is asked for on the selected path every 4 to 6 s, and lasts as long as it is given", () => {
    world.prove(A);
    const { checksAt, alive } = world.pass(3_600_000, true);
    assert.ok(alive);
    const gaps = checksAt.map((at, index) => at - (checksAt[index - 1] ?? 0));
    assert.ok(
      gaps.every((gap) => gap >= 4_000 && gap <= 6_250),
      `${Math.min(...gaps)}-${Math.max(...gaps)}`,
    );
    assert.ok(new Set(gaps).size > 3, "randomised");
  });

  test("ends 30 s after the last answer, whatever else the client sends", () => {
    world.prove(A);
    world.pass(60_000, true);
    const start = world.nowMs;
    let alive = true;
    while (alive) {
      world.nowMs += 250;
      world.agent.received(A, world.nowMs);
      alive = world.agent.tick(world.nowMs);
    }
    const lasted = world.nowMs - start;
    assert.ok(lasted > CONSENT_TIMEOUT_MS - 6_250 && lasted <= CONSENT_TIMEOUT_MS, `${lasted} ms`);
  });

  test("is not needed before there is a selected path", () => {
    world.request(A);
    world.take();
    assert.deepEqual(world.pass(120_000, false), { checksAt: [], alive: true });
  });

  test("each check has a new transaction", () => {
    world.prove(A);
    const seen = new Set<string>();
    for (let i = 0; i < 5; i++) {
      world.nowMs += 6_250;
      world.agent.tick(world.nowMs);
      const [check] = world.take();
      seen.add(check!.message.transactionId.toString("hex"));
      world.agent.response(answer(check!.message), A, world.nowMs);
    }
    assert.equal(seen.size, 5);
    assert.equal(world.transactions.size, 0);
  });
});

describe("ICE restart", () => {
  const second = { ours: OURS_2, theirs: THEIRS_2 };

  beforeEach(() => {
    world.prove(A);
    world.agent.restart(OURS_2);
    world.agent.setRemote(THEIRS_2);
    world.selections.length = 0;
    world.proved.length = 0;
  });

  test("the old path stays selected, and the old ufrag answered, until a path of the new generation is proved", () => {
    const check = world.triggered(B, second);
    assert.equal(stunAttribute(check, STUN_ATTRIBUTE.username)?.toString(), `${THEIRS_2.ufrag}:${OURS_2.ufrag}`);
    assert.equal(world.agent.selected, A);
    assert.equal(world.request(A), "answered");
    assert.equal(world.agent.response(answer(check, { password: THEIRS_2.password }), B, world.nowMs), "accepted");
    assert.equal(world.agent.selected, B);
    assert.deepEqual(world.selections, [[B, true]]);
    assert.deepEqual(world.proved, [[B, OURS_2.ufrag]]);
  });

  test("a path that was proved before has to be proved again", () => {
    const check = world.triggered(A, second);
    assert.deepEqual(world.selections, []);
    assert.equal(world.agent.response(answer(check), A, world.nowMs), "integrity");
    assert.equal(world.agent.response(answer(check, { password: THEIRS_2.password }), A, world.nowMs), "accepted");
    assert.deepEqual(world.selections, [[A, true]]);
  });

  test("mixed usernames of two generations are refused", () => {
    assert.equal(world.request(B, { ours: OURS_2, theirs: THEIRS }), "username");
    assert.equal(world.request(B, { ours: OURS, theirs: THEIRS_2 }), "username");
  });

  test("after the restart the old ufrag is answered, but neither proves nor moves anything", () => {
    world.prove(B, second);
    world.nowMs += 5_000;
    assert.equal(world.request(C, { useCandidate: true }), "answered");
    assert.deepEqual(
      world.take().map(({ message }) => message.class),
      [STUN_CLASS.success],
    );
    assert.ok(!world.held.has(C));
    assert.equal(world.agent.selected, B);
  });

  test("consent is asked for with the credentials of the selected path's generation", () => {
    const during = world.pass(7_000, true);
    assert.ok(during.checksAt.length > 0, "with the old credentials while the old path is selected");
    world.prove(B, second);
    world.nowMs += 6_250;
    world.agent.tick(world.nowMs);
    const [check] = world.take();
    assert.ok(verifyMessageIntegrity(check!.message, THEIRS_2.password));
  });

  test("one more restart forgets what was never used", () => {
    world.agent.restart(OURS_3);
    assert.deepEqual([...world.ufrags], [OURS.ufrag, OURS_3.ufrag]);
    assert.equal(world.request(A, second), "ufrag");
    assert.equal(world.agent.selected, A);
  });
});

describe("many paths", () => {
  const many = Array.from({ length: MAX_PATHS }, (_, i) => path("198.51.100.1", 1_000 + i));

  test("the oldest that is not proved gives way first", () => {
    world.prove(A);
    world.triggered(many[0]!);
    world.prove(many[1]!);
    for (const next of many.slice(2)) world.request(next);
    assert.deepEqual(world.evicted, [many[0]]);
    assert.equal(world.held.size, MAX_PATHS);
    world.request(B);
    assert.deepEqual(world.evicted, [many[0], many[2]]);
  });

  test("if all are proved, the one that was heard from longest ago gives way, but never the selected", () => {
    world.prove(A);
    for (const next of many.slice(1)) {
      world.nowMs += 1;
      world.prove(next);
    }
    world.nowMs += 1;
    world.agent.received(many[1]!, world.nowMs);
    world.prove(B);
    assert.deepEqual(world.evicted, [many[2]]);
    assert.equal(world.agent.selected, A);
  });

  test("a flood of replays costs no more than the paths it fills, and leaves the selected one alone", () => {
    world.prove(A);
    for (let i = 0; i < 500; i++) world.request(path("203.0.113.9", 2_000 + i));
    assert.equal(world.held.size, MAX_PATHS);
    assert.ok(world.transactions.size < MAX_PATHS);
    assert.equal(world.agent.selected, A);
  });

  test("closing forgets everything", () => {
    world.prove(A);
    for (const next of many) world.request(next);
    world.agent.restart(OURS_2);
    world.agent.close();
    assert.equal(world.ufrags.size + world.transactions.size + world.held.size, 0);
    assert.equal(world.agent.selected, undefined);
    assert.equal(world.request(A), "ufrag");
  });
});
