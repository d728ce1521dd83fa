/**
 * The backend that is a file of yours: its default export is a Backend. Errors that its own timers and promises leave
 * uncaught are traced back to the call that they belong to, so that they end that call and not the process.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { EarshotError } from "../../earshot-error.ts";
import { AUDIO_FORMATS, type Backend, type BackendCall, type BackendSession } from "./backend.ts";

export interface ModuleBackend {
  readonly backend: Backend;
  /** True if the error comes from what a call has set going; that call then ends. */
  absorbFault(error: unknown): boolean;
}

/** Throws BACKEND_MODULE if the file cannot be loaded or exports no backend. */
export async function loadModule(file: string): Promise<ModuleBackend> {
  let loaded: { readonly default?: unknown };
  try {
    loaded = await import(pathToFileURL(resolve(file)).href);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw refusal(`${file} cannot be loaded: ${reason}`, error);
  }
  return traced(checkedBackend(loaded.default, file));
}

function checkedBackend(value: unknown, file: string): Backend {
  const exported = value as Partial<Backend> | null | undefined;
  const hint = "See docs/backends.md for one that works";
  if (typeof exported !== "object" || exported === null) {
    throw refusal(`expected ${file} to have a default export that is a backend, got ${typeof value}. ${hint}`);
  }
  if (typeof exported.name !== "string") throw refusal(`expected the backend in ${file} to have a name. ${hint}`);
  if (typeof exported.open !== "function") {
    throw refusal(`expected the backend in ${file} to have a function "open", got ${typeof exported.open}. ${hint}`);
  }
  const { audio } = exported;
  if (audio !== undefined && !AUDIO_FORMATS.includes(audio)) {
    throw refusal(
      `expected "audio" of the backend in ${file} to be one of ${AUDIO_FORMATS.join(", ")}, got ${JSON.stringify(audio)}`,
    );
  }
  return exported as Backend;
}

function traced(inner: Backend): ModuleBackend {
  const running = new AsyncLocalStorage<BackendCall>();
  const backend: Backend = {
    name: inner.name,
    ...(inner.audio && { audio: inner.audio }),
    async open(call) {
      const session = await running.run(call, () => inner.open(call));
      if (typeof session !== "object" || session === null) {
        throw refusal(`expected "open" of the backend ${inner.name} to give an object, got ${typeof session}`);
      }
      return tracedSession(session, (tell) => running.run(call, tell));
    },
  };
  return {
    backend,
    absorbFault(error) {
      const call = running.getStore();
      call?.hangUp(error instanceof Error ? error : new Error(String(error)));
      return call !== undefined;
    },
  };
}

type Told = void | Promise<void>;

function tracedSession(session: BackendSession, run: (tell: () => Told) => Told): BackendSession {
  return {
    frame: (frame) => run(() => session.frame?.(frame)),
    audio: (frame) => run(() => session.audio?.(frame)),
    audioDrained: () => run(() => session.audioDrained?.()),
    audioPlayed: () => run(() => session.audioPlayed?.()),
    channelOpened: (channel) => run(() => session.channelOpened?.(channel)),
    channelClosed: (channel) => run(() => session.channelClosed?.(channel)),
    message: (channel, data) => run(() => session.message?.(channel, data)),
    keyframeRequested: (line) => run(() => session.keyframeRequested?.(line)),
    ended: (reason) => run(() => session.ended?.(reason)),
  };
}

function refusal(message: string, cause?: unknown): EarshotError {
  return new EarshotError("BACKEND_MODULE", message, { cause });
}
