/** Something has written into the flow table, and then the working process dies: what is not whole is not trusted. */
import { readFileSync } from "node:fs";
import { eventually } from "../../kit/eventually.ts";
import { KeptMemory } from "../kept-memory.ts";
import { ChaosRig } from "../rig.ts";
import { type ChaosOptions, finding, type Scenario } from "../scenario.ts";
import { workingProcess } from "../working-process.ts";

const TORN = 10;

/** How many flows are silent after `damage` and a kill, and whether the relay takes new ones then. */
async function damaged(
  options: ChaosOptions,
  damage: (memory: KeptMemory, clients: readonly string[]) => void,
): Promise<{ readonly silent: number; readonly works: boolean }> {
  return ChaosRig.with(options, { forgetful: true }, async (rig) => {
    const relay = await rig.startRelay({ logLevel: "silent" });
    await rig.load(relay, { seconds: 0, setUp: true });
    const clients = readFileSync(rig.flowsOf(0), "latin1")
      .split("\n")
      .map((line) => line.split(" ")[0]!);
    const memory = new KeptMemory(relay.process.pid);
    damage(memory, clients);
    memory.close();
    const killed = await workingProcess(relay.process, "native");
    process.kill(killed, "SIGKILL");
    await eventually(
      "another working process",
      () => workingProcess(relay.process, "native"),
      (pid) => pid !== killed,
    );
    const { silentFlows } = await rig.load(relay, { seconds: 2 });
    const again = await rig.load(relay, { seconds: 2, setUp: true });
    return { silent: silentFlows, works: again.silentFlows === 0 };
  });
}

export const tableDamaged: Scenario = {
  name: "flow table damaged, then killed",
  short: true,
  async run(options) {
    let torn = 0;
    const some = await damaged(options, (memory, clients) => {
      torn = memory.tear(clients.slice(0, TORN));
    });
    const all = await damaged(options, (memory) => memory.makeForeign());
    const count = (silent: number) => `${silent} of ${options.flows}`;
    return [
      finding("torn entries are dropped, others stay", `${count(some.silent)}, ${torn} torn`, some.silent === TORN),
      finding("  and those flows can be made again", String(some.works), some.works),
      finding("a foreign layout is not read", count(all.silent), all.silent === options.flows),
      finding("  and the relay goes on with an empty table", String(all.works), all.works),
    ];
  },
};
