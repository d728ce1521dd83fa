/** Owns one call's link to a backend without a call: what the client would send goes in, what it would get is kept. */
import { Ticker } from "../../src/transceiver/audio/ticker.ts";
import type { Backend, DataChannel, MediaFrame, MediaLine } from "../../src/transceiver/backends/backend.ts";
import { BackendLink } from "../../src/transceiver/backends/backend-link.ts";
import { TransceiverCounters } from "../../src/transceiver/counters.ts";
import { SimulatedClock } from "./simulated-clock.ts";
import { until } from "./until.ts";

export const OPUS_LINE: MediaLine = {
  line: "0",
  kind: "audio",
  sends: true,
  codecs: [{ payloadType: 111, mimeType: "audio/opus", clockRate: 48_000, channels: 2 }],
};
export const EVENTS: DataChannel = { id: 1, label: "events" };

export class BackendCallRig {
  readonly clock: SimulatedClock;
  readonly counters: TransceiverCounters;
  readonly frames: MediaFrame[] = [];
  readonly messages: (string | Buffer)[] = [];
  readonly failures: string[] = [];
  readonly link: BackendLink;
  hangUps = 0;
  takesMessages = true;
  #sequence = 100;

  constructor(
    backend: Backend,
    options: { counters?: TransceiverCounters; lines?: readonly MediaLine[]; id?: string } = {},
  ) {
    this.counters = options.counters ?? new TransceiverCounters();
    this.clock = new SimulatedClock();
    this.link = new BackendLink(backend, {
      id: options.id ?? "call-1",
      count: this.counters.count,
      ticker: new Ticker(this.clock),
      maxQueuedMs: 10_000,
      remote: () => "203.0.113.7:50000",
      lines: () => options.lines ?? [OPUS_LINE],
      sendFrame: (frame) => this.frames.push(frame),
      sendMessage: (_channel, data) => {
        if (this.takesMessages) this.messages.push(data);
        return this.takesMessages;
      },
      requestKeyframe: () => {},
      hangUp: () => {
        this.hangUps++;
      },
      failed: (error) => {
        this.failures.push((error as Error).message);
        this.link.ended("backend");
      },
    });
  }

  /** One packet of the client; the next in order. */
  hear(payload: Buffer, kind: MediaFrame["kind"] = "audio"): void {
    this.#sequence++;
    const timestamp = this.#sequence * 960;
    const header = { line: "0", kind, payloadType: 111, sequence: this.#sequence, timestamp, marker: false };
    this.link.frame({ ...header, payload });
  }

  /** What was sent to the client as text, parsed. */
  get events(): Record<string, unknown>[] {
    return this.messages.map((message) => JSON.parse(String(message)));
  }

  async failed(): Promise<string> {
    await until(
      () => this.failures.length > 0,
      () => "the backend has not failed",
    );
    return this.failures[0]!;
  }
}
