/**
 * How a command reaches a service that runs: a UNIX socket whose file only its user may open. One request, one line of
 * answer. It is for people and their tools, and knows one word: upgrade.
 */
import { once } from "node:events";
import { unlinkSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { EarshotError } from "../earshot-error.ts";

const UPGRADE = "upgrade\n";
/** A process is loaded within 20 s, and healthy within 5. */
const ANSWER_WITHIN_MS = 40_000;
/** Nobody has more to say than one word. */
const MOST_BYTES = 64;
/** Whoever connects and says nothing. */
const ASK_WITHIN_MS = 5_000;

type Answer = { readonly pid: number | undefined } | { readonly code: string; readonly message: string };

export class ControlSocket {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Throws an `EarshotError`: CONTROL_SOCKET_IN_USE if another service listens there, or the errno. A file that a service which was
   * killed has left is taken over. `upgrade` resolves with the id of the new process.
   */
  static async open(file: string, upgrade: () => Promise<number | undefined>): Promise<ControlSocket> {
    if (await isServed(file)) {
      throw new EarshotError(
        "CONTROL_SOCKET_IN_USE",
        `another earshot listens at ${file}: stop it, or use another file`,
      );
    }
    const server = createServer({ allowHalfOpen: true }, (socket) => void answer(socket, upgrade));
    const before = process.umask(0o177);
    try {
      server.listen(file);
    } finally {
      process.umask(before);
    }
    try {
      await once(server, "listening");
    } catch (cause) {
      const { code = "EUNKNOWN" } = cause as NodeJS.ErrnoException;
      throw new EarshotError(code, `the control socket ${file} cannot be made (${code})`, { cause });
    }
    return new ControlSocket(server);
  }

  /** Its file goes with it. */
  close(): void {
    this.#server.close();
  }
}

/** The id of the new process. Rejects with NOT_RUNNING if nobody listens there, or with what the service says. */
export async function askForUpgrade(file: string): Promise<number | undefined> {
  const socket = createConnection(file);
  try {
    await once(socket, "connect");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === "ENOENT" || code === "ECONNREFUSED" ? "no earshot listens there" : code;
    throw new EarshotError("NOT_RUNNING", `${file}: ${why}. Start one with --control-socket ${file}`, { cause });
  }
  socket.setTimeout(ANSWER_WITHIN_MS, () => socket.destroy());
  socket.end(UPGRADE);
  let line = "";
  socket.on("data", (data) => {
    line += data;
  });
  await once(socket, "close");
  if (line === "") throw new EarshotError("UPGRADE_FAILED", "the service ended, or did not answer: see its log");
  const said = JSON.parse(line) as Answer;
  if ("code" in said) throw new EarshotError(said.code, said.message);
  return said.pid;
}

async function answer(socket: Socket, upgrade: () => Promise<number | undefined>): Promise<void> {
  let asked = "";
  // Whoever asked may be gone before the answer.
  socket.on("error", () => {});
  socket.setTimeout(ASK_WITHIN_MS, () => socket.destroy());
  socket.on("data", (data) => {
    asked += data;
    if (asked.length > MOST_BYTES) socket.destroy();
  });
  try {
    await once(socket, "end");
  } catch {
    return;
  }
  socket.setTimeout(0);
  let said: Answer;
  try {
    if (asked !== UPGRADE) throw new EarshotError("CONTROL_REQUEST", "expected the word upgrade");
    said = { pid: await upgrade() };
  } catch (error) {
    const { code, message } = error instanceof EarshotError ? error : { code: "INTERNAL", message: String(error) };
    said = { code, message };
  }
  socket.end(`${JSON.stringify(said)}\n`);
}

/** Removes the file if nobody listens there any more. */
async function isServed(file: string): Promise<boolean> {
  const socket = createConnection(file);
  try {
    await once(socket, "connect");
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") unlinkSync(file);
    return false;
  } finally {
    socket.destroy();
  }
}
