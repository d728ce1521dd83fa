/** `earshot relay --upgrade`: asks the service that runs to exchange its relay for one of the code on disk, and waits. */
import { loadOne, type Sources } from "../config/load.ts";
import { EarshotError } from "../earshot-error.ts";
import { askForUpgrade } from "../process/control-socket.ts";

/** What to print. Rejects with NOT_RUNNING, or with UPGRADE_FAILED while the old relay goes on. */
export async function upgrade(sources: Sources): Promise<string> {
  const file = loadOne("relay", "controlSocket", sources);
  if (file === undefined) {
    throw new EarshotError(
      "CONFIG_CONTROL_SOCKET_REQUIRED",
      "to find the relay that runs, give --control-socket FILE (or --config), the same as that relay has; or send its front SIGUSR2",
    );
  }
  const began = performance.now();
  const pid = await askForUpgrade(file);
  return `upgraded: process ${pid} forwards, ${Math.round(performance.now() - began)} ms after it was asked for\n`;
}
