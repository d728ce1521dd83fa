/** The options of a command, made of the configuration schema, as commander wants them. Values stay as they were typed. */
import { type Command as Commander, Option } from "commander";
import {
  appliesTo,
  type Command,
  defaultOf,
  environmentNameOf,
  fieldOf,
  flagOf,
  KEYS,
  type Key,
} from "../config/schema.ts";

export function addConfigOptions(commander: Commander, command: Command): void {
  const keys = KEYS.filter((key) => appliesTo(key, command) && !fieldOf(key).fileOnly && !fieldOf(key).secret);
  for (const key of keys) commander.addOption(option(key, command));
}

function option(key: Key, command: Command): Option {
  const field = fieldOf(key);
  const facts = [`default: ${defaultOf(key, command).text}`];
  if (field.off !== undefined && field.off !== defaultOf(key, command).text) facts.push(`off: ${field.off}`);
  facts.push(environmentNameOf(key));
  const made = new Option(`${flagOf(key)} <${field.placeholder}>`, `${field.help}.\n[${facts.join("; ")}]`);
  made.helpGroup(`${field.group}:`);
  if (field.list) made.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
  return made;
}
