/**
 * From flags, environment and file to one frozen configuration. A flag wins over the environment, that over the file,
 * that over the default. Everything that is not understood is an error that says where it came from.
 */
import { readFileSync } from "node:fs";
import type { z } from "zod";
import { EarshotError } from "../earshot-error.ts";
import { checkTogether, type Origin } from "./conflicts.ts";
import { readSettings } from "./file.ts";
import { thisMachine } from "./machine.ts";
import {
  appliesTo,
  type Command,
  type Config,
  defaultOf,
  environmentNameOf,
  fieldOf,
  flagOf,
  KEYS,
  type Key,
  type Machine,
} from "./schema.ts";
import { nearest } from "./spelling.ts";
import { splitList } from "./values.ts";

export interface Sources {
  /** As the command line gave them, by key. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<NodeJS.Dict<string>>;
  readonly machine?: Machine;
  readonly readText?: (file: string) => string;
}

interface Raw {
  readonly value: unknown;
  readonly origin: Origin;
}

/** Throws EarshotError with a code CONFIG_*. */
export function loadConfig<C extends Command>(command: C, sources: Sources): Config<C> {
  const machine = sources.machine ?? thisMachine();
  const given = rawSettings(command, sources);
  const settings: Partial<Record<Key, unknown>> = {};
  const origins: Partial<Record<Key, Origin>> = {};
  for (const key of KEYS.filter((one) => appliesTo(one, command))) {
    const raw = given(key) ?? fromDefault(key, command, machine);
    settings[key] = checked(key, raw);
    origins[key] = raw.origin;
  }
  checkTogether(command, settings, origins);
  return deepFreeze(settings) as Config<C>;
}

/** One setting, from where the command would have it, whatever the others are. Throws as `loadConfig`. */
export function loadOne<C extends Command, K extends Key & keyof Config<C>>(
  command: C,
  key: K,
  sources: Sources,
): Config<C>[K] {
  const raw = rawSettings(command, sources)(key) ?? fromDefault(key, command, sources.machine ?? thisMachine());
  return checked(key, raw) as Config<C>[K];
}

/** What was given for a key, by precedence. */
function rawSettings(command: Command, sources: Sources): (key: Key) => Raw | undefined {
  const environment = fromEnvironment(command, sources.environment);
  const flags = new Map<Key, Raw>();
  for (const key of KEYS.filter((one) => appliesTo(one, command))) {
    const value = fieldOf(key).secret ? undefined : sources.flags[key];
    if (value !== undefined) flags.set(key, { value, origin: { kind: "flag", name: flagOf(key) } });
  }
  const config = flags.get("config") ?? environment.get("config");
  const file =
    config === undefined
      ? new Map<Key, Raw>()
      : fromFile(
          command,
          checked("config", config) as string,
          sources.readText ?? ((name) => readFileSync(name, "utf8")),
        );
  return (key) => flags.get(key) ?? environment.get(key) ?? file.get(key);
}

const PREFIX = "EARSHOT_";

/**
 * Kubernetes sets EARSHOT_SERVICE_HOST, EARSHOT_PORT_3478_UDP_ADDR and the like in every container of a namespace that
 * has a Service called earshot (or earshot-...). They are not ours, and not misspelt.
 */
const KUBERNETES_SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)/;

/** Images and test runners have variables with our prefix for purposes of their own. Only what is like one of ours is an error. */
function fromEnvironment(command: Command, environment: Readonly<NodeJS.Dict<string>>): Map<Key, Raw> {
  const keys = KEYS.filter((key) => !fieldOf(key).fileOnly);
  const names = new Map(keys.map((key) => [environmentNameOf(key).slice(PREFIX.length), key]));
  const found = new Map<Key, Raw>();
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(PREFIX) || KUBERNETES_SERVICE_LINK.test(name)) continue;
    const rest = name.slice(PREFIX.length);
    const key = names.get(rest);
    const meant = key === undefined ? nearest(rest, names.keys()) : undefined;
    if (meant !== undefined) {
      throw new EarshotError(
        "CONFIG_UNKNOWN",
        `${name} in the environment is no setting of Earshot (did you mean ${PREFIX}${meant}?). Unset it`,
      );
    }
    // Compose files and shells cannot always unset a variable, so an empty one counts as unset.
    if (key !== undefined && value !== undefined && value !== "" && appliesTo(key, command)) {
      found.set(key, { value, origin: { kind: "environment", name } });
    }
  }
  return found;
}

function fromFile(command: Command, file: string, readText: (file: string) => string): Map<Key, Raw> {
  const found = new Map<Key, Raw>();
  const usable = KEYS.filter((key) => key !== "config" && appliesTo(key, command));
  for (const [name, value] of Object.entries(readSettings(file, readText))) {
    const key = usable.find((one) => one === name);
    if (key !== undefined) {
      found.set(key, { value, origin: { kind: "file", name: `${name} in ${file}` } });
      continue;
    }
    throw new EarshotError("CONFIG_UNKNOWN", `${name} in ${file} ${whyNot(name, command, usable)}. Take it out`);
  }
  return found;
}

function whyNot(name: string, command: Command, usable: readonly Key[]): string {
  const other = KEYS.find((key) => key === name && key !== "config");
  if (other !== undefined) {
    return `does not apply to "earshot ${command}", only to ${fieldOf(other).commands.join(" and ")}`;
  }
  const meant = nearest(name, usable);
  return `is no setting of Earshot${meant === undefined ? "" : ` (did you mean ${meant}?)`}`;
}

function fromDefault(key: Key, command: Command, machine: Machine): Raw {
  return {
    value: defaultOf(key, command).value(machine),
    origin: { kind: "default", name: `default of ${flagOf(key)}` },
  };
}

/** The parsed value, or CONFIG_VALUE with what was expected, what came, and an example from the same source. */
function checked(key: Key, { value, origin }: Raw): unknown {
  const field = fieldOf(key);
  const result = field.schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0] as z.core.$ZodIssue;
  const came = issue.path.reduce<unknown>(
    (at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step],
    splitList(value),
  );
  const where =
    field.fileOnly && issue.path.length > 0
      ? `${placeOf(key, issue.path)}${origin.name.slice(key.length)}`
      : origin.name;
  const expected = issue.code === "unrecognized_keys" ? `no other keys than ${field.itemKeys}` : issue.message;
  const shown = issue.code === "unrecognized_keys" ? issue.keys.join(", ") : show(issue.path.length > 0 ? came : value);
  const got = field.secret ? "something else" : shown;
  throw new EarshotError(
    "CONFIG_VALUE",
    `${where}: expected ${expected}, got ${got}. Example: ${example(key, origin)}`,
  );
}

function placeOf(key: Key, path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => text + (typeof step === "number" ? `[${step}]` : `.${String(step)}`), key);
}

function example(key: Key, origin: Origin): string {
  const value = fieldOf(key).example;
  if (origin.kind === "environment") return `${environmentNameOf(key)}=${value}`;
  if (origin.kind === "file") return fieldOf(key).fileOnly ? `${key}: [${value}]` : `${key}: ${value}`;
  return `${flagOf(key)} ${value}`;
}

function show(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
