/** What others may import from `earshot`: the interface of a backend (docs/backends.md). Nothing else is promised. */
export type {
  AudioFormat,
  AudioFrame,
  AudioLevel,
  AudioOut,
  Backend,
  BackendCall,
  BackendSession,
  DataChannel,
  MediaCodec,
  MediaFrame,
  MediaLine,
} from "./transceiver/backends/backend.ts";
export { AUDIO_FORMATS } from "./transceiver/backends/backend.ts";
