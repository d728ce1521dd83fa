/**
 * Every counter of a transceiver, declared once with its help, and the metrics that come from them. Those of the trunk,
 * which C++ counts too, are declared in native/core/trunk_end_counters.def. The prefix is the stage. At quiescence:
 *   trunk_received  = trunk_accepted + every trunk_drop_*
 *   frame_received  = frame_data + frame_unknown_path + frame_ping
 *   frame_data      = client_request_answered + client_request_refused + client_response_accepted + client_delivered
 *                     + every client_drop_*
 * The part of client_delivered that DTLS or SRTP do not get is in session_drop_*.
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { KeyRing } from "../keys/key-ring.ts";
import { TRUNK_COUNTER_HELP, TRUNK_COUNTERS } from "./trunk-counters.ts";

export const COUNTER_HELP = {
  ...TRUNK_COUNTER_HELP,
  client_request_answered: "authenticated binding requests answered with success",
  client_request_refused: "authenticated binding requests answered with an error: role conflict or unknown attribute",
  client_response_accepted: "authenticated answers to our own checks",
  client_delivered: "DTLS, SRTP and SRTCP datagrams of proved paths, handed to their session",
  client_drop_class: "first byte of no class that a session uses (RFC 7983)",
  client_drop_stun_malformed: "STUN class, but not a well-formed STUN message",
  client_drop_stun_method: "STUN methods other than Binding, and indications",
  client_drop_ufrag: "binding requests without USERNAME, or with a ufrag of no session here",
  client_drop_fingerprint: "FINGERPRINT absent or wrong",
  client_drop_integrity: "MESSAGE-INTEGRITY absent or wrong",
  client_drop_username: "USERNAME that does not end in the client's own ufrag",
  client_drop_transaction: "binding responses to no check of ours that is waiting on that path",
  client_drop_unproved: "anything but STUN from a path that no session here has proved",

  ice_transactions: "checks begun, each sent once or more: triggered checks and consent checks",
  ice_paths_proved: "checks that proved a path for the first time in an ICE generation",
  ice_paths_evicted: "paths forgotten because their session had too many",
  ice_selections: "times that a session began to send on another path",

  session_drop_early: "datagrams that came before DTLS was begun and found no room, or after its end",
  session_drop_dtls:
    "datagrams with a DTLS record that was refused: malformed, forged, replayed, or unencrypted in mid-session",
  session_drop_srtp_keyless: "SRTP and SRTCP packets before the handshake was over, or without a profile for SRTP",
  session_drop_srtp_malformed: "SRTP and SRTCP packets that are none",
  session_drop_srtp_forged: "SRTP and SRTCP packets whose tag is wrong",
  session_drop_srtp_replayed: "SRTP and SRTCP packets that were received before, or that are too late to know",
  session_drop_srtp_ssrcs: "SRTP and SRTCP packets of an SSRC beyond those that a session has room for",
  session_drop_srtp_unreadable: "authentic SRTP and SRTCP packets in which the RTP or RTCP is malformed",
  session_drop_srtp_reused: "packets not sent, because another one has been sent with their sequence number",
  session_drop_srtp_unable: "packets not sent, because no index is left for them",
  session_drop_sctp: "SCTP packets that are malformed, or far from what the association's state allows",
  session_drop_unsendable: "datagrams that had no path to be sent on",
  session_drop_media: "media frames of a backend for an m-line that does not send, or with a payload type of no codec",
  session_drop_message: "messages of a backend for a channel that is closed, or holds too much that is unsent",

  audio_in_received: "packets decoded for a backend that takes samples",
  audio_in_concealed: "packets that were lost or malformed, and that the decoder made something up for",
  audio_in_silence: "20 ms of silence given to a backend for time in which the client sent nothing",
  audio_in_drop_codec: "audio for a backend that takes samples, but not Opus, or of a further m-line",
  audio_in_drop_malformed: "audio packets that Opus cannot read",
  audio_in_drop_late: "audio packets that came after their turn",
  audio_in_drop_duplicate: "audio packets that had come before",
  audio_in_drop_flood: "audio packets that came faster than anybody speaks",
  audio_out_sent: "audio packets sent for a backend at the pace at which they are heard",
  audio_out_flushed: "times that a backend cut its own speech off",
  audio_out_drop_full: "writes of a backend that the queue had no room for, or not for all of it",
  audio_out_drop_malformed: "writes of a backend that were no packet of the call's codec",
  audio_out_drop_unheard: "writes of a backend to a call in which no m-line takes them",
  backend_drop_busy: "frames and messages that a backend was too slow for",
  backend_failures: "errors of a backend, each of which ended its call",

  service_connections: "connections to a service that were opened, again or for the first time",
  service_retries: "attempts to connect that follow on one that failed or was lost",
  service_drop_audio: "pieces of a caller's audio that a service was too slow or too long away for",
  service_drop_event: "events of a service that cannot be read, and events that it could not be sent",
  service_drop_client_event: "events of a client that are too large for a service",

  dtls_failed_profile: "DTLS that failed because the client offers no SRTP profile that is ours",
  dtls_failed_certificate: "DTLS that failed because the client sent no certificate",
  dtls_failed_fingerprint: "DTLS that failed because the client's certificate is not the one that its offer announces",
  dtls_failed_signature: "DTLS that failed because the client does not have the key of its certificate",
  dtls_failed_timeout: "DTLS that failed because the client fell silent in the handshake",
  dtls_failed_handshake: "DTLS that failed because of anything else in the handshake",
  dtls_failed_record: "DTLS that failed later: a fatal alert, or an authentic record that breaks the protocol",

  calls_created: "offers answered",
  calls_refused_invalid: "offers refused because they are malformed",
  calls_refused_unsupported: "offers refused because they ask for what is not supported",
  calls_refused_overloaded: "offers refused for want of room",
  werift_faults: "errors that werift threw or left unhandled; each one is confined to its datagram or task",
} as const;

export type CounterName = keyof typeof COUNTER_HELP;

/** Why a call ended; the label of `earshot_transceiver_calls_ended_total`. */
export const END_REASONS = [
  "hang-up",
  "end-call",
  "backend",
  "consent-expired",
  "dtls-failed",
  "overflow",
  "setup-timeout",
  "idle",
  "max-duration",
  "stopped",
] as const;
export type EndReason = (typeof END_REASONS)[number];

export interface TransceiverGauges {
  readonly calls: Readonly<Record<"new" | "connecting" | "connected", number>>;
  readonly paths: number;
  readonly lookups: number;
  readonly relayPorts: number;
  /** Undefined where that cannot be read. */
  readonly trunkKernelDrops: number | undefined;
  readonly keys: KeyRing;
}

export class TransceiverCounters {
  /** Those of the trunk, in the order of TRUNK_COUNTERS: the memory that the native end counts in. */
  readonly trunk = new Float64Array(TRUNK_COUNTERS.length);
  /** Incremented in place; reading them costs nothing. */
  readonly count: Record<CounterName, number> = this.#counts();
  readonly ended: Record<EndReason, number> = Object.fromEntries(END_REASONS.map((reason) => [reason, 0])) as Record<
    EndReason,
    number
  >;

  /** Connections of the websocket backend, by state; those that are closed are not counted. */
  readonly services = { connecting: 0, open: 0, waiting: 0 };

  /** One number for each counter; those of the trunk are views. */
  #counts(): Record<CounterName, number> {
    const count: Record<string, number> = {};
    for (const name of Object.keys(COUNTER_HELP)) count[name] = 0;
    for (const [index, name] of TRUNK_COUNTERS.entries()) {
      Object.defineProperty(count, name, {
        enumerable: true,
        get: () => this.trunk[index],
        set: (value: number) => {
          this.trunk[index] = value;
        },
      });
    }
    return count as Record<CounterName, number>;
  }

  /** The metrics of one transceiver. `gauges` is asked at each scrape. */
  registry(gauges: () => TransceiverGauges): Registry {
    const registry = new Registry();
    for (const [name, help] of Object.entries(COUNTER_HELP)) {
      const value = () => this.count[name as CounterName];
      new Counter({
        name: `earshot_transceiver_${name}_total`,
        help,
        registers: [registry],
        collect() {
          this.reset();
          this.inc(value());
        },
      });
    }
    const ended = this.ended;
    new Counter({
      name: "earshot_transceiver_calls_ended_total",
      help: "calls that have ended, by reason",
      labelNames: ["reason"],
      registers: [registry],
      collect() {
        this.reset();
        for (const reason of END_REASONS) this.inc({ reason }, ended[reason]);
      },
    });
    new Counter({
      name: "earshot_transceiver_trunk_kernel_drops_total",
      help: "datagrams that the kernel dropped because the trunk's receive buffer was full; not among the received",
      registers: [registry],
      collect() {
        this.reset();
        const drops = gauges().trunkKernelDrops;
        if (drops !== undefined) this.inc(drops);
      },
    });
    new Gauge({
      name: "earshot_transceiver_calls",
      help: "calls that have not ended, by state",
      labelNames: ["state"],
      registers: [registry],
      collect() {
        for (const [state, calls] of Object.entries(gauges().calls)) this.set({ state }, calls);
      },
    });
    const { services } = this;
    new Gauge({
      name: "earshot_transceiver_services",
      help: "calls of the websocket backend by the state of their service: connecting, open, or waiting to connect again",
      labelNames: ["state"],
      registers: [registry],
      collect() {
        for (const [state, calls] of Object.entries(services)) this.set({ state }, calls);
      },
    });
    new Gauge({
      name: "earshot_transceiver_paths",
      help: "paths that sessions remember, proved or not",
      registers: [registry],
      collect() {
        this.set(gauges().paths);
      },
    });
    new Gauge({
      name: "earshot_transceiver_lookups",
      help: "ufrags and ICE transactions that datagrams are looked up by",
      registers: [registry],
      collect() {
        this.set(gauges().lookups);
      },
    });
    new Gauge({
      name: "earshot_transceiver_relay_ports",
      help: "relay ports heard in the last 3 s",
      registers: [registry],
      collect() {
        this.set(gauges().relayPorts);
      },
    });
    new Gauge({
      name: "earshot_transceiver_fleet_key",
      help: "fleet keys that verify, by id: 1 for the one that signs, 0 for the others",
      labelNames: ["id"],
      registers: [registry],
      collect() {
        const { all, signing } = gauges().keys;
        this.reset();
        for (const { id } of all) this.set({ id }, id === signing.id ? 1 : 0);
      },
    });
    return registry;
  }
}
