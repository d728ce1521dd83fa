/** How long the audio of one packet lasts, from its first bytes or its length; nothing is decoded. Pure. */
import type { MediaCodec } from "../backends/backend.ts";

/** RFC 6716, section 3.1: the frame sizes of each group of four configurations. */
const SILK_MS = [10, 20, 40, 60] as const;
const HYBRID_MS = [10, 20] as const;
const CELT_MS = [2.5, 5, 10, 20] as const;
/** RFC 6716, section 3.4: what is longer is malformed. */
const MAX_OPUS_MS = 120;

/** Undefined for a packet that is malformed. */
export function opusMs(packet: Uint8Array): number | undefined {
  const [toc, second] = packet;
  if (toc === undefined) return undefined;
  const configuration = toc >> 3;
  const frameMs =
    configuration < 12
      ? SILK_MS[configuration & 3]!
      : configuration < 16
        ? HYBRID_MS[configuration & 1]!
        : CELT_MS[configuration & 3]!;
  const code = toc & 3;
  const frames = code === 0 ? 1 : code < 3 ? 2 : (second ?? 0) & 63;
  const ms = frames * frameMs;
  return ms > 0 && ms <= MAX_OPUS_MS ? ms : undefined;
}

/** One byte of G.711, and of G.722 at 64 kbit/s, is an eighth of a millisecond. */
const BYTES_PER_MS = 8;
const BY_LENGTH = new Set(["audio/pcmu", "audio/pcma", "audio/g722"]);

/** Undefined for a packet that is malformed, or of a codec that is not known here. */
export function packetMs(codec: MediaCodec, packet: Uint8Array): number | undefined {
  if (codec.mimeType === "audio/opus") return opusMs(packet);
  if (!BY_LENGTH.has(codec.mimeType) || packet.length === 0) return undefined;
  return packet.length / BYTES_PER_MS;
}
