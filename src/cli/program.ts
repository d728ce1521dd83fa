/** The command line: which commands and options there are, and their help. What they do is loaded when they are run. */
import { Command as Commander, InvalidArgumentError, Option } from "commander";
import { loadConfig, type Sources } from "../config/load.ts";
import { type Command, type Config, defaultOf, environmentNameOf } from "../config/schema.ts";
import { packageVersion } from "../package-root.ts";
import { addConfigOptions } from "./options.ts";

export function buildProgram(): Commander {
  const program = new Commander("earshot")
    .description(
      "A thin UDP relay that routes WebRTC sessions by the ICE ufrag of their first packet, and the transceivers behind it.",
    )
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print help; also: earshot COMMAND --help")
    .helpCommand(false)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(usageLine(text)) })
    .addHelpText(
      "after",
      `
Examples:
  earshot start                              all on this machine: page, relay and transceiver
  earshot keys new --out keys.json           keys that relays and transceivers share
  earshot transceiver --keys keys.json       a transceiver of its own
  earshot relay --config relay.yaml          a relay of its own, its transceivers in the file`,
    );

  addService(program, "start", "run relay, transceiver and page on this machine", START_EXAMPLES, async () => {
    const { start } = await import("./start.ts");
    return start;
  });
  const relay = addService(
    program,
    "relay",
    "run a relay; its transceivers are listed in the file",
    RELAY_EXAMPLES,
    async () => {
      const { relay } = await import("./relay.ts");
      return relay;
    },
  );
  relay.addOption(upgradeOption());
  addService(program, "transceiver", "run a transceiver, with page and signalling", TRANSCEIVER_EXAMPLES, async () => {
    const { transceiver } = await import("./transceiver.ts");
    return transceiver;
  });
  addTokenCommands(program);
  addKeyCommands(program);
  return program;
}

function addService<C extends Command>(
  program: Commander,
  name: C,
  description: string,
  examples: string,
  load: () => Promise<(config: Config<C>, sources: Sources) => Promise<void>>,
): Commander {
  const command = program
    .command(name)
    .description(`${description.charAt(0).toUpperCase()}${description.slice(1)}.`)
    .summary(description);
  addConfigOptions(command, name);
  command.addHelpText(
    "after",
    `\nA flag wins over the environment, that over the file, that over the default.\n\n${examples}`,
  );
  command.action(async (flags: Record<string, unknown>) => {
    const sources = { flags, environment: process.env };
    if (flags.upgrade === true) {
      const { upgrade } = await import("./upgrade.ts");
      process.stdout.write(await upgrade(sources));
      return;
    }
    const config = loadConfig(name, sources);
    const run = await load();
    await run(config, sources);
  });
  return command;
}

/** With it the command runs no relay, but has the one that runs exchanged. */
function upgradeOption(): Option {
  const help =
    "exchange the relay that runs, under earshot relay or earshot start, for one of the code on disk; wait until it forwards, and exit. Needs the --control-socket of that service.";
  return new Option("--upgrade", help).helpGroup("Process:");
}

const START_EXAMPLES = `Examples:
  earshot start
  earshot start --listen 0.0.0.0:3478 --advertise 203.0.113.7:3478
  earshot start --engine js --log-level debug`;

const RELAY_EXAMPLES = `Examples:
  earshot relay --keys keys.json --config relay.yaml
  earshot relay --config relay.yaml --workers 3 --cpus 1-3
  earshot relay --config relay.yaml --upgrade

relay.yaml:
  trunk: 10.0.0.4:7100
  keys: keys.json
  directory:
    - { id: 1, address: 10.0.0.5, port: 7000 }`;

const TRANSCEIVER_EXAMPLES = `Examples:
  earshot transceiver --keys keys.json --trunk 10.0.0.5:7000 --advertise 203.0.113.7:3478
  EARSHOT_KEYS=keys.json earshot transceiver --id 2 --trunk 127.0.0.1:7001 --http 127.0.0.1:8081`;

function addTokenCommands(program: Commander): void {
  const token = program
    .command("token")
    .description("Read and make tokens, the ufrags that say where a session lives.");
  token.summary("read and make tokens");
  token
    .command("inspect")
    .description("Print what a ufrag says, if one of the keys made it.")
    .summary("print what a ufrag says")
    .argument("<ufrag>", "32 characters, as in the answer's a=ice-ufrag line")
    .addOption(keysOption())
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  earshot token inspect AGx0...32 characters... --keys keys.json")
    .action(async (ufrag: string, options: { keys: string; json?: boolean }) => {
      const { inspectToken } = await import("./token.ts");
      process.stdout.write(await inspectToken(ufrag, options.keys, options.json === true, Date.now()));
    });
  token
    .command("make")
    .description("Print a ufrag and its password for a transceiver.")
    .summary("print a ufrag and its password")
    .addOption(keysOption())
    .requiredOption("--transceiver <N>", "transceiver id", wholeNumber(1, 0xffffffff))
    .option("--cluster <N>", "its cluster", wholeNumber(1, 0xffff), 1)
    .option("--epoch <MS>", "its epoch: when it was started, in ms since 1970 (default: now)", wholeNumber(0, 2 ** 48))
    .option("--ttl <SECONDS>", "how long the token is valid", wholeNumber(1, 1209600), 7200)
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  earshot token make --keys keys.json --transceiver 1 --ttl 600")
    .action(async (options: MakeOptions) => {
      const { makeToken } = await import("./token.ts");
      const now = Date.now();
      const { transceiver, cluster, epoch = now, ttl } = options;
      const fields = { transceiver, cluster, epoch, ttlSeconds: ttl };
      process.stdout.write(await makeToken(fields, options.keys, options.json === true, now));
    });
}

interface MakeOptions {
  readonly keys: string;
  readonly transceiver: number;
  readonly cluster: number;
  readonly epoch?: number;
  readonly ttl: number;
  readonly json?: boolean;
}

function addKeyCommands(program: Commander): void {
  const keys = program
    .command("keys")
    .description("Make and rotate fleet keys, the secrets that relays and transceivers share.");
  keys.summary("make and rotate fleet keys");
  keys
    .command("new")
    .description("Make a key file with one new key.")
    .summary("make a key file with one new key")
    .option("--out <FILE>", "where to write it, readable by you alone; an existing file is kept (default: stdout)")
    .addHelpText("after", "\nExample:\n  earshot keys new --out keys.json")
    .action(async ({ out }: { out?: string }) => {
      const { newKeys } = await import("./keys.ts");
      process.stdout.write(newKeys(out));
    });
  keys
    .command("rotate")
    .description(
      "Add a key that will sign, and let those before it retire when no token of theirs can be valid any more. Running relays and transceivers take the changed file as it is: give it to all of them before the new key signs.",
    )
    .summary("add a key that will sign, and let the others retire")
    .addOption(keysOption())
    .option("--signs-in <SECONDS>", "when the new key begins to sign", wholeNumber(SIGNS_IN_MIN, 31536000), 600)
    .addOption(
      new Option("--max-call-seconds <N>", "longest call that any transceiver of the fleet allows")
        .argParser(wholeNumber(1, 1209600))
        .default(Number(defaultOf("maxCallSeconds", "transceiver").text))
        .env(environmentNameOf("maxCallSeconds")),
    )
    .addHelpText("after", "\nExample:\n  earshot keys rotate --keys keys.json")
    .action(async (options: { keys: string; signsIn: number; maxCallSeconds: number }) => {
      const { rotateKeyFile } = await import("./keys.ts");
      process.stdout.write(await rotateKeyFile(options.keys, options, Date.now()));
    });
  keys
    .command("list")
    .description("Print the keys of a file: their states and dates, and a fingerprint of each. Never a secret.")
    .summary("print the keys of a file, without their secrets")
    .addOption(keysOption())
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  earshot keys list --keys keys.json")
    .action(async (options: { keys: string; json?: boolean }) => {
      const { listKeys } = await import("./keys.ts");
      process.stdout.write(await listKeys(options.keys, options.json === true, Date.now()));
    });
}

/** Seconds in which every process on a host has read a changed file, so that none meets what it cannot verify. */
const SIGNS_IN_MIN = 5;

function keysOption(): Option {
  return new Option("--keys <FILE>", "fleet keys").env("EARSHOT_KEYS").makeOptionMandatory();
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
  };
}

/** commander's "error: ..." and its suggestion, as our one line. */
function usageLine(text: string): string {
  return `earshot: USAGE: ${text
    .replace(/^error: /, "")
    .trim()
    .replace(/\s*\n\s*/g, " ")}\n`;
}
