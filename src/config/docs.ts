/** docs/config.md as text, made of the schema. The same on every machine; writes nothing itself. */
import { COMMANDS, type Default, environmentNameOf, type Field, fieldOf, flagOf, KEYS, type Key } from "./schema.ts";

const INTRODUCTION = `# Configuration

This page is made from \`src/config/schema.ts\` by \`npm run generate\`; change it there.

A setting comes from, in this order: a flag, an environment variable, the file given with \`--config\`, the default. An
empty environment variable counts as unset. Lists are comma-separated, and their flags may be repeated. A key that is
not known, a variable whose name is nearly one of these, or a value out of range ends the program with a message that
says where it came from.

The file is YAML, of which JSON is a part. Its keys are the names below; a file may hold only keys that apply to the
command it is given to. An example for \`earshot relay\`:

\`\`\`yaml
listen: [203.0.113.7:3478]
trunk: 10.0.0.4:7100
keys: /etc/earshot/keys.json
directory:
  - { id: 1, address: 10.0.0.5, port: 7000 }
  - { id: 2, address: 10.0.0.6, port: 7000 }
\`\`\`

HOST is always a literal address, IPv6 in brackets: \`[2001:db8::7]:3478\`. \`localhost\` means 127.0.0.1.
`;

export function renderConfigDocs(): string {
  const groups = [...new Set(KEYS.map((key) => fieldOf(key).group))];
  const sections = groups.map((group) => {
    const keys = KEYS.filter((key) => fieldOf(key).group === group);
    return `## ${group}\n\n${keys.map(renderField).join("\n")}`;
  });
  return [INTRODUCTION, ...sections].join("\n");
}

function renderField(key: Key): string {
  const field = fieldOf(key);
  const source = sourceOf(key, field);
  const rows = [
    ["set by", source],
    ["type", field.schema.description],
    ["unit", field.unit],
    ["default", defaultText(field)],
    ["off", field.off === undefined ? undefined : `\`${field.off}\``],
    ["applies to", field.commands.length === COMMANDS.length ? "every command" : field.commands.join(", ")],
  ];
  const table = rows.filter(([, text]) => text !== undefined).map(([name, text]) => `| ${name} | ${text} |`);
  return `### ${key}\n\n${sentence(field.help)}\n\n| | |\n| --- | --- |\n${table.join("\n")}\n`;
}

function sourceOf(key: Key, { fileOnly, secret }: Field): string {
  if (fileOnly) return `\`${key}\`, in the file only`;
  if (secret) return `\`${environmentNameOf(key)}\`, or in the file; there is no flag, because others can read those`;
  return `\`${flagOf(key)}\`, \`${environmentNameOf(key)}\``;
}

/** One text where every command has the same default, else one for each. */
function defaultText(field: Field): string {
  if ("text" in field.default) return (field.default as Default).text;
  const own = Object.entries(field.default) as [string, Default][];
  const texts = new Set(own.map(([, { text }]) => text));
  return texts.size === 1 ? [...texts].join() : own.map(([command, { text }]) => `${command}: ${text}`).join("; ");
}

function sentence(help: string): string {
  return `${help.charAt(0).toUpperCase()}${help.slice(1)}.`;
}
