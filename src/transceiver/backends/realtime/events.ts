/**
 * The events of a Realtime service that Earshot itself reads or writes, as text and as values. Every other event goes
 * through as it came. Pure, and nothing in here throws on what a service or a client sends.
 */
import type { AudioFormat } from "../backend.ts";

export interface RealtimeEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Undefined for what is no event: not JSON, not an object, or without a type. */
export function readEvent(text: string): RealtimeEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("type" in value) || typeof value.type !== "string") {
    return undefined;
  }
  return value as RealtimeEvent;
}

/** A piece of what the service says. */
export interface SpokenAudio {
  readonly audio: Buffer;
  readonly response: string;
  readonly item: string;
  readonly content: number;
}

/** Their names have changed once; services use both. */
const AUDIO_DELTAS = new Set(["response.output_audio.delta", "response.audio.delta"]);

export const isAudioDelta = ({ type }: RealtimeEvent): boolean => AUDIO_DELTAS.has(type);

/** Undefined if there is no audio in it. What is left out is empty, or the first. */
export function readAudioDelta(event: RealtimeEvent): SpokenAudio | undefined {
  const { delta, response_id: response, item_id: item, content_index: content } = event;
  if (typeof delta !== "string" || delta === "") return undefined;
  const audio = Buffer.from(delta, "base64");
  if (audio.length === 0) return undefined;
  return {
    audio,
    response: typeof response === "string" ? response : "",
    item: typeof item === "string" ? item : "",
    content: Number.isSafeInteger(content) ? (content as number) : 0,
  };
}

export function appendEvent(audio: Uint8Array): string {
  const base64 = Buffer.from(audio.buffer, audio.byteOffset, audio.byteLength).toString("base64");
  // Base64 needs no escaping, and this is written 50 times a second in each call.
  return `{"type":"input_audio_buffer.append","audio":"${base64}"}`;
}

/** The session that the operator wants, with the formats in which audio goes to and fro. */
export function sessionUpdateEvent(session: RealtimeEvent["session"], audio: AudioFormat): string {
  const given = objectOf(session);
  const givenAudio = objectOf(given.audio);
  const format =
    audio === "packets"
      ? { type: "audio/opus" }
      : { type: "audio/pcm", rate: audio === "pcm16-24000" ? 24_000 : 48_000 };
  return JSON.stringify({
    type: "session.update",
    session: {
      type: "realtime",
      ...given,
      audio: {
        ...givenAudio,
        input: { ...objectOf(givenAudio.input), format },
        output: { ...objectOf(givenAudio.output), format },
      },
    },
  });
}

/** What the caller has not heard of an item, the service is to forget. */
export function truncateEvent({ item, content }: SpokenAudio, playedMs: number): string {
  return JSON.stringify({
    type: "conversation.item.truncate",
    item_id: item,
    content_index: content,
    audio_end_ms: Math.round(playedMs),
  });
}

/** A line that somebody typed, and the wish for an answer. */
export function saidInText(text: string): [string, string] {
  const item = { type: "message", role: "user", content: [{ type: "input_text", text }] };
  return [JSON.stringify({ type: "conversation.item.create", item }), JSON.stringify({ type: "response.create" })];
}

/** What a browser is told about its playback, as it is where a Realtime service speaks WebRTC itself. */
export function playbackEvent(what: "started" | "stopped" | "cleared", response: string): string {
  return JSON.stringify({ type: `output_audio_buffer.${what}`, response_id: response });
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
