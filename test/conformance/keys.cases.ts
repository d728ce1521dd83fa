/** What every engine does while fleet keys rotate under traffic: it loses nothing valid, and takes nothing that is retired. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { newSecret } from "../../src/keys/key-file.ts";
import { type DerivedKeys, KeyRing } from "../../src/keys/key-ring.ts";
import { KeySchedule } from "../../src/keys/key-schedule.ts";
import { rotateKeys } from "../../src/keys/rotation.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { bindingRequest, numberedRtp, rtpLike, tokenUfrag } from "../kit/datagrams.ts";
import { type EngineRig, type MakeEngine, withRig } from "../kit/engine-rig.ts";
import type { FakeClient } from "../kit/fake-client.ts";
import type { FakeTransceiver } from "../kit/fake-transceiver.ts";
import { rawFrame } from "../kit/trunk-datagrams.ts";
import { until } from "../kit/until.ts";

const ROTATIONS = 60;
const START = Date.parse("2026-11-21T00:00:00Z");
const HOUR = 3_600_000;
const SIGNS_IN_MS = 600_000;
const LONGEST_CALL_MS = 2 * HOUR;
/** Of each way, under each ring: so many that most changes of keys find some under way. */
const BURST = 30;
/** For sequences that a transceiver's own writer is far from. */
const FAR_SEQUENCE = 1_000_000n;

/** A token, as long as its call may last. */
interface Call {
  readonly ufrag: string;
  readonly signer: DerivedKeys;
  readonly untilMs: number;
}

export function keyCases(make: MakeEngine): void {
  test(`${ROTATIONS} rotations under traffic: no valid request is refused, and nothing is lost`, () =>
    withRig(make, {}, async (rig) => {
      let nowMs = START;
      let schedule = new KeySchedule(
        rig.ring.fleetKeys.map(({ id, secret }) => ({ id, secret, signsFromMs: START - HOUR, retiresMs: undefined })),
      );
      const transceiver = await rig.transceiver();
      const traffic = new Traffic(rig, transceiver, await rig.client());
      await traffic.begin();
      const calls: Call[] = [];
      const signers = new Set<number>();
      let retired = 0;
      let changes = 0;

      /** As when the file has changed or a date was reached, in the middle of a burst; either end may be the first. */
      const useKeys = async (): Promise<KeyRing> => {
        const ring = schedule.ringAt(nowMs);
        const ends = [() => rig.engine.setKeys(ring), () => transceiver.useKeys(ring)];
        if (++changes % 2 === 0) ends.reverse();
        await traffic.burst(() => {
          for (const use of ends) use();
          rig.control.useKeys(ring);
        });
        return ring;
      };

      for (let round = 0; round < ROTATIONS; round++) {
        const wish = { nowMs, signsInMs: SIGNS_IN_MS, longestCallMs: LONGEST_CALL_MS, secret: newSecret() };
        const { schedule: next, added } = rotateKeys(schedule, wish);
        schedule = next;
        await useKeys();
        nowMs = added.signsFromMs;
        const ring = await useKeys();
        assert.equal(ring.signing.id, added.id);
        signers.add(added.id);

        calls.push({
          ufrag: tokenUfrag(ring.signing, transceiver),
          signer: ring.signing,
          untilMs: nowMs + LONGEST_CALL_MS,
        });
        const valid = calls.filter(({ untilMs }) => untilMs >= nowMs);
        await admitted(rig, transceiver, valid);
        const gone = calls.filter(({ signer }) => !ring.all.some(({ tokenTag }) => tokenTag.equals(signer.tokenTag)));
        await refused(rig, transceiver, gone.slice(-2));
        retired = gone.length;
        nowMs += HOUR - SIGNS_IN_MS;
      }
      assert.ok(retired > ROTATIONS - 6, `${retired} keys have retired`);
      assert.ok(signers.size < 12, `ids are used again: ${[...signers]}`);
      rig.assertAddsUp();
    }));

  test("a retired key verifies nothing: its tokens are up_drop_tag, its trunk datagrams down_drop_key", () =>
    withRig(make, {}, async (rig) => {
      const transceiver = await rig.transceiver();
      const client = await rig.client();
      const ufrag = await rig.establish(client, transceiver);
      const [old] = rig.ring.fleetKeys;
      const other = { id: old!.id + 1, secret: newSecret(), signs: true };
      const both = new KeyRing([{ ...old!, signs: false }, other]);
      const frame = rawFrame(FRAME_KIND.data, client.path, rtpLike());
      const signedByOld = (sequence: bigint) => {
        transceiver.useKeys(rig.ring);
        const datagram = transceiver.sealRaw(frame, sequence);
        transceiver.useKeys(both);
        return datagram;
      };

      // The negative control: while it verifies, both are taken.
      rig.engine.setKeys(both);
      rig.control.useKeys(both);
      await transceiver.sendRaw([signedByOld(FAR_SEQUENCE)]);
      await rig.expect({ down_received: 1, down_accepted: 1, frame_received: 1, frame_forwarded: 1 });
      await admitted(rig, transceiver, [{ ufrag: rig.ufrag(transceiver) }]);

      const after = new KeyRing([other]);
      rig.engine.setKeys(after);
      rig.control.useKeys(after);
      await refused(rig, transceiver, [{ ufrag: rig.ufrag(transceiver) }, { ufrag }]);
      await transceiver.sendRaw([signedByOld(FAR_SEQUENCE + 1n)]);
      await rig.expect({ down_received: 1, down_drop_key: 1 });
      // What was admitted with it goes on, checks of the old token on its own path included, under the other key.
      transceiver.useKeys(after);
      await rig.up(client, transceiver, bindingRequest(ufrag), rtpLike());
      await transceiver.sendRaw([transceiver.sealRaw(frame, FAR_SEQUENCE + 2n)]);
      await rig.expect({ down_received: 1, down_accepted: 1, frame_received: 1, frame_forwarded: 1 });
    }));
}

/** Each is admitted from a path of its own, and reaches the transceiver. */
async function admitted(
  rig: EngineRig,
  transceiver: FakeTransceiver,
  calls: readonly { readonly ufrag: string }[],
): Promise<void> {
  for (const { ufrag } of calls) {
    const client = await rig.client();
    await rig.install(client, transceiver, ufrag);
    assert.ok(rig.engine.end(client.path, transceiver.slot, ufrag));
  }
}

async function refused(
  rig: EngineRig,
  transceiver: FakeTransceiver,
  calls: readonly { readonly ufrag: string }[],
): Promise<void> {
  for (const { ufrag } of calls) {
    const client = await rig.client();
    await client.send(bindingRequest(ufrag));
    await rig.expect({ up_received: 1, up_drop_tag: 1 });
    assert.equal(rig.engine.flow(client.path), undefined);
  }
  assert.equal(transceiver.frames.length, 0);
}

/** One call that is on all the time, both ways. */
class Traffic {
  readonly #rig: EngineRig;
  readonly #transceiver: FakeTransceiver;
  readonly #client: FakeClient;
  #sent = 0;

  constructor(rig: EngineRig, transceiver: FakeTransceiver, client: FakeClient) {
    this.#rig = rig;
    this.#transceiver = transceiver;
    this.#client = client;
  }

  async begin(): Promise<void> {
    await this.#rig.establish(this.#client, this.#transceiver);
    this.#client.received.length = 0;
  }

  /** Datagrams both ways, with `change` when half are sent. All arrive, in order, and are counted as forwarded. */
  async burst(change: () => void): Promise<void> {
    const all = Array.from({ length: BURST }, () => numberedRtp(0, this.#sent++));
    const sending: Promise<void>[] = [];
    for (const [index, datagram] of all.entries()) {
      if (index === BURST / 2) {
        // Some of the first half is in the engine by then, some in the kernel.
        await Promise.race(sending);
        change();
      }
      sending.push(this.#client.send(datagram), this.#transceiver.data(this.#client.path, datagram));
    }
    await Promise.all(sending);
    const { frames } = this.#transceiver;
    const { received } = this.#client;
    await until(
      () => frames.length === BURST && received.length === BURST,
      () => `${frames.length} up and ${received.length} down of ${BURST} arrived`,
    );
    assert.deepEqual(
      frames.splice(0).map(({ payload }) => payload),
      all,
    );
    assert.deepEqual(
      received.splice(0).map(({ payload }) => payload),
      all,
    );
    await this.#rig.expect({
      up_received: BURST,
      up_forwarded: BURST,
      down_received: BURST,
      down_accepted: BURST,
      frame_received: BURST,
      frame_forwarded: BURST,
    });
  }
}
