/** From settings to the backend of a process. It alone knows which backends there are. */
import type { TransceiverCounters } from "../counters.ts";
import type { AudioFormat, Backend } from "./backend.ts";
import { echoBackend } from "./echo.ts";
import { loadModule } from "./module.ts";
import { websocketBackend } from "./realtime/websocket.ts";

/** As they travel to a transceiver process. */
export type BackendSettings =
  | { readonly kind: "echo" }
  | {
      readonly kind: "websocket";
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly audio: AudioFormat;
      readonly session: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: "module"; readonly file: string };

export interface LoadedBackend {
  readonly backend: Backend;
  /** True for an error that nobody caught and that is the backend's: it has then ended its call. */
  readonly absorbFault?: (error: unknown) => boolean;
}

/** Throws BACKEND_MODULE. */
export async function loadBackend(settings: BackendSettings, counters: TransceiverCounters): Promise<LoadedBackend> {
  if (settings.kind === "module") return loadModule(settings.file);
  if (settings.kind === "websocket") return { backend: websocketBackend(settings, counters) };
  return { backend: echoBackend };
}
