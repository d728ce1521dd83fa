/** Owns a DTLS ClientHello as clients send it: taken from a call, and good for any other. */
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { isDtls } from "./datagram-class.ts";
import type { System } from "./system.ts";
import { framesOf } from "./trunk-frames.ts";

export async function clientHello(system: System): Promise<Buffer> {
  const client = await system.call(0, { audio: false });
  const sent = framesOf(system.places[0]!.tap, "up").find(
    ({ kind, payload }) => kind === FRAME_KIND.data && isDtls(payload),
  );
  await client.close();
  if (sent === undefined) throw new Error("no ClientHello has gone by");
  return sent.payload;
}
