/** The chosen backend with all that belongs to it, from the settings; reads the file with the session. */
import { readFileSync } from "node:fs";
import { EarshotError } from "../earshot-error.ts";
import type { BackendSettings } from "../transceiver/backends/load-backend.ts";
import type { Config } from "./schema.ts";

type Settings = Pick<
  Config<"start">,
  "backend" | "backendUrl" | "backendAudio" | "backendSession" | "backendKey" | "backendHeaders" | "backendModule"
>;

/** Throws BACKEND_SESSION_FILE. */
export function backendSettings(settings: Settings): BackendSettings {
  const { backend, backendUrl = "", backendModule = "", backendAudio, backendSession, backendKey } = settings;
  if (backend === "module") return { kind: "module", file: backendModule };
  if (backend === "echo") return { kind: "echo" };
  return {
    kind: "websocket",
    url: backendUrl,
    audio: backendAudio,
    session: backendSession === undefined ? {} : readSession(backendSession),
    headers: {
      ...settings.backendHeaders,
      ...(backendKey !== undefined && { Authorization: `Bearer ${backendKey}` }),
    },
  };
}

function readSession(file: string): Record<string, unknown> {
  let session: unknown;
  try {
    session = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw refusal(file, (error as Error).message);
  }
  if (typeof session === "object" && session !== null && !Array.isArray(session)) {
    return session as Record<string, unknown>;
  }
  throw refusal(file, "it holds something else");
}

function refusal(file: string, why: string): EarshotError {
  return new EarshotError("BACKEND_SESSION_FILE", `expected --backend-session ${file} to be a JSON object: ${why}`);
}
