/**
 * Floods of requests that are authenticated, or half so, against the control plane as it is, in simulated time. Each with its
 * negative control: the guard off, and the attack succeeds.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BUDGETS, PATHS_PER_UFRAG } from "../../src/relay/limits.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import {
  AdmissionScene,
  behindNat,
  type Credentials,
  type Fate,
  NO_BUDGETS,
  type SceneOptions,
  spoofed,
  tally,
} from "../kit/admission-scene.ts";
import { bindingRequest } from "../kit/datagrams.ts";

const HOME = pathBytes(1, "203.0.113.9", 40_000);
const CAFE = pathBytes(1, "192.0.2.77", 50_000);

interface Replay {
  readonly seconds: number;
  readonly perSecond: number;
  /** Time between what the victim's call sends him, ms. */
  readonly downlinkMs: number;
  /** How long nothing has been sent when the replays begin, ms. */
  readonly silentMs: number;
}

/** One request of a victim in a call, replayed from ever new addresses, while others come. */
function replay(options: SceneOptions, { seconds, perSecond, downlinkMs, silentMs }: Replay) {
  const scene = new AdmissionScene(options);
  const victim = scene.credentials();
  assert.equal(scene.ask(victim, HOME), "admitted");
  const attack: Fate[] = [];
  const others: Fate[] = [];
  const stepMs = 100;
  scene.pass(silentMs);
  for (let ms = 0; ms < seconds * 1_000; ms += stepMs) {
    if ((silentMs + ms) % downlinkMs === 0) scene.downlink(HOME);
    for (let n = 0; n < (perSecond * stepMs) / 1_000; n++) attack.push(scene.ask(victim, spoofed(attack.length)));
    others.push(scene.ask(scene.credentials(), behindNat(others.length)));
    scene.pass(stepMs);
  }
  const { flows } = scene.flows.counts();
  return { attack: tally(attack), others: tally(others), evicted: scene.evicted, flows, home: scene.state(HOME) };
}

const MEDIA = { seconds: 5, perSecond: 2_000, downlinkMs: 100, silentMs: 0 };
/** Only consent checks, as seldom as they may be, and one is just due. */
const SILENT = { seconds: 30, perSecond: 300, downlinkMs: 6_000, silentMs: 5_500 };

test("a request replayed from thousands of addresses takes 16 paths; the call goes on, and others get in", () => {
  const { attack, others, flows, home } = replay({}, MEDIA);
  assert.equal(home, "assured");
  assert.deepEqual(others, { admitted: 50 });
  assert.equal(flows, PATHS_PER_UFRAG + 50);
  const { token, assuredToken } = BUDGETS;
  const most = token.burst + assuredToken.burst + 5 * (token.perSecond + assuredToken.perSecond);
  assert.ok(attack.admitted! <= most, `${attack.admitted} of at most ${most}`);
  assert.equal(attack.admitted! + attack.miss_drop_budget_token!, 10_000);
});

test("so it does for a call that is silent but for its consent checks", () => {
  const { home, others } = replay({}, SILENT);
  assert.equal(home, "assured");
  assert.deepEqual(others, { admitted: 300 });
});

test("if a silent path did not count as in use, replays would push it out", () => {
  assert.equal(replay({ inUseMs: 0 }, SILENT).home, undefined);
});

test("a client in a call gets a new path beside replays that have gone on for a while, and keeps it", () => {
  const scene = new AdmissionScene();
  const victim = scene.credentials();
  scene.ask(victim, HOME);
  let n = 0;
  const replayFor = (ms: number, paths: readonly Buffer[]) => {
    for (let passed = 0; passed < ms; passed += 100) {
      for (const path of paths) scene.downlink(path);
      // As fast as the token's budget allows: else the client's own new path would have to be lucky.
      if (passed % 1_000 === 0) for (const _ of [1, 2]) scene.ask(victim, spoofed(n++));
      scene.pass(100);
    }
  };
  for (let i = 0; i < 100; i++) scene.ask(victim, spoofed(n++));
  replayFor(30_000, [HOME]);
  while (scene.ask(victim, CAFE) !== "admitted") scene.pass(100);
  replayFor(30_000, [CAFE]);
  assert.equal(scene.state(CAFE), "assured");
});

test("without the token's budget the replays keep the control plane busy", () => {
  const { attack, evicted, flows } = replay({ budgets: NO_BUDGETS }, MEDIA);
  assert.deepEqual(attack, { admitted: 10_000 });
  assert.equal(evicted, 10_000 + 1 - PATHS_PER_UFRAG);
  assert.equal(flows, PATHS_PER_UFRAG + 50);
});

test("without the limit of paths, either, they fill the table, and nobody else gets in", () => {
  const open = { budgets: NO_BUDGETS, pathsPerUfrag: 1_000_000, flowCapacity: 2_048 };
  const { flows, others } = replay(open, MEDIA);
  assert.equal(flows, 2_048);
  assert.ok(others.miss_drop_table_full! > 35, JSON.stringify(others));
});

/** Requests with an overheard ufrag, by somebody without its password; then the one whom it belongs to, and another. */
function guess(options: SceneOptions) {
  const scene = new AdmissionScene(options);
  const owner = scene.credentials();
  const forged = { ...owner, request: bindingRequest(owner.ufrag, { password: "x".repeat(24) }) };
  const fates: Fate[] = [];
  for (let ms = 0; ms < 1_000; ms++) {
    for (let n = 0; n < 5; n++) fates.push(scene.ask(forged, spoofed(fates.length)));
    scene.pass(1);
  }
  const other = scene.ask(scene.credentials(), CAFE);
  scene.pass(1_000);
  return { fates: tally(fates), other, owner: scene.ask(owner, HOME), flows: scene.flows.counts().flows };
}

test("guesses at a token's password cost a few HMACs, whatever their number; others are not touched", () => {
  const { token } = BUDGETS;
  const looked = token.burst + token.perSecond;
  assert.deepEqual(guess({}), {
    fates: { miss_drop_integrity: looked, miss_drop_budget_token: 5_000 - looked },
    other: "admitted",
    owner: "admitted",
    flows: 2,
  });
});

test("without the token's budget each guess costs an HMAC", () => {
  assert.deepEqual(guess({ budgets: NO_BUDGETS }).fates, { miss_drop_integrity: 5_000 });
});

/** Somebody has collected thousands of credentials, and uses them all at once from one prefix. */
function hoard(options: SceneOptions) {
  const scene = new AdmissionScene(options);
  const fates: Fate[] = [];
  for (let n = 0; n < 8_000; n++) fates.push(scene.ask(scene.credentials(), behindNat(n)));
  return { fates: tally(fates), other: scene.ask(scene.credentials(), CAFE) };
}

test("thousands of good tokens in one hand give one prefix no more than its budget", () => {
  const { burst } = BUDGETS.prefix;
  assert.deepEqual(hoard({}), {
    fates: { admitted: burst, miss_drop_budget_prefix: 8_000 - burst },
    other: "admitted",
  });
});

test("without the prefix's budget they take what room there is", () => {
  assert.deepEqual(hoard({ budgets: NO_BUDGETS, flowCapacity: 8_000, tentativeQuota: 8_000 }), {
    fates: { admitted: 8_000 },
    other: "miss_drop_table_full",
  });
});

/** 2,000 calls with two paths each, all of which this relay has just heard of for the first time. */
const comeBack = (scene: AdmissionScene, pathOf: (n: number) => Buffer): Partial<Record<Fate, number>> => {
  const calls = Array.from({ length: 2_000 }, () => scene.credentials());
  const ask = (path: number) => calls.map((call, n) => scene.ask(call, pathOf(2 * n + path)));
  return tally([...ask(0), ...ask(1)]);
};

for (const [where, pathOf] of [
  ["one carrier's NAT", behindNat],
  ["2,000 prefixes", (n: number) => pathBytes(1, `10.${n >> 9}.${(n >> 1) & 255}.9`, 6_000 + (n & 1))],
] as const) {
  test(`2,000 calls from ${where} come back at once after a failure`, () => {
    assert.deepEqual(comeBack(new AdmissionScene(), pathOf), { admitted: 4_000 });
  });
}

/** Somebody spends thousands of good tokens in fifty prefixes; calls from twenty others begin meanwhile. */
function crowd(options: SceneOptions) {
  const scene = new AdmissionScene({ flowCapacity: 200_000, ...options });
  const hoarded = Array.from({ length: 2_000 }, () => scene.credentials());
  const attack: Fate[] = [];
  const others: Fate[] = [];
  for (let ms = 0; ms < 500; ms += 2) {
    for (let n = 0; n < 200; n++) {
      const path = pathBytes(1, `10.0.${n % 50}.1`, 1_024 + attack.length);
      attack.push(scene.ask(hoarded[attack.length % 2_000]!, path));
    }
    others.push(scene.ask(scene.credentials(), pathBytes(1, `192.0.${others.length % 20}.7`, 5_000 + others.length)));
    scene.pass(2);
  }
  return { attack: tally(attack), others: tally(others) };
}

test("calls from other networks begin while fifty prefixes use up what there is for all", () => {
  const { attack, others } = crowd({});
  assert.deepEqual(others, { admitted: 250 });
  assert.ok(attack.miss_drop_budget_total! > 10_000, JSON.stringify(attack));
});

test("without the reserve they are shut out", () => {
  const { others } = crowd({ budgets: { ...BUDGETS, total: { ...BUDGETS.total, reserve: 0 } } });
  assert.ok(others.miss_drop_budget_total! > 50, JSON.stringify(others));
});

test("a client in a call changes its network although its new prefix has used up its budget", () => {
  const scene = new AdmissionScene();
  const call = scene.credentials();
  scene.ask(call, HOME);
  for (let n = 0; n < BUDGETS.prefix.burst; n++) scene.ask(scene.credentials(), behindNat(n));
  assert.equal(scene.ask(scene.credentials(), behindNat(5_000)), "miss_drop_budget_prefix");
  assert.equal(scene.ask(call, behindNat(5_001)), "admitted");
});

test("a client in a call changes its network although somebody guesses at its password", () => {
  const scene = new AdmissionScene();
  const call = scene.credentials();
  scene.ask(call, HOME);
  const forged = { ...call, request: bindingRequest(call.ufrag, { password: "x".repeat(24) }) };
  for (let n = 0; n < BUDGETS.token.burst; n++) scene.ask(forged, spoofed(n));
  assert.equal(scene.ask(forged, spoofed(99)), "miss_drop_integrity");
  assert.equal(scene.ask(call, CAFE), "admitted");
});

/** Good tokens of a transceiver that does not answer, beside 100 calls that are on. */
function unanswered(options: SceneOptions) {
  const scene = new AdmissionScene({ flowCapacity: 1_000, ...options });
  const calls: { readonly call: Credentials; readonly path: Buffer }[] = [];
  for (let n = 0; n < 100; n++) {
    const [call, path] = [scene.credentials(), spoofed(n)];
    scene.ask(call, path);
    calls.push({ call, path });
  }
  scene.answers = false;
  const fates: Fate[] = [];
  for (let n = 0; n < 2_000; n++) fates.push(scene.ask(scene.credentials(), behindNat(n)));
  const restart = scene.ask(scene.credentials(), calls[0]!.path);
  const during = calls.filter(({ path }) => scene.state(path) === "assured").length;
  const room = 1_000 - scene.flows.counts().flows;
  scene.pass(5_100);
  scene.answers = true;
  return { fates: tally(fates), restart, during, room, after: scene.ask(scene.credentials(), CAFE) };
}

test("flows that nobody answers take their quota for five seconds, and never the place of an assured one", () => {
  assert.deepEqual(unanswered({}), {
    fates: { admitted: 250, miss_drop_quota: 1_750 },
    restart: "admitted",
    during: 100,
    room: 650,
    after: "admitted",
  });
});

test("without the quota they take the whole table", () => {
  const { fates, during, room } = unanswered({ tentativeQuota: 1_000 });
  assert.deepEqual(
    { fates, during, room },
    {
      fates: { admitted: 900, miss_drop_table_full: 1_100 },
      during: 100,
      room: 0,
    },
  );
});
