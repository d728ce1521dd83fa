/** Owns the scene that most downlink tests are set in: one client, an assured flow, and its owner. */
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { rtpLike } from "../kit/datagrams.ts";
import { type EngineRig, type MakeEngine, withRig } from "../kit/engine-rig.ts";
import type { FakeClient } from "../kit/fake-client.ts";
import type { FakeTransceiver } from "../kit/fake-transceiver.ts";
import { rawFrame } from "../kit/trunk-datagrams.ts";

export interface Scene {
  readonly rig: EngineRig;
  readonly transceiver: FakeTransceiver;
  readonly client: FakeClient;
  /** A data frame that would be forwarded. */
  readonly frame: Buffer;
}

/** An assured flow with its owner. */
export function onAssuredFlow(make: MakeEngine, body: (scene: Scene) => Promise<void>): Promise<void> {
  return withRig(make, {}, async (rig) => {
    const transceiver = await rig.transceiver();
    const client = await rig.client();
    await rig.establish(client, transceiver);
    await body({ rig, transceiver, client, frame: rawFrame(FRAME_KIND.data, client.path, rtpLike()) });
  });
}
