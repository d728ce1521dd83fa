/** Owns ways to spoil an SDP: what buggy and hostile clients send. Seeded, so that a failure can be repeated. */
import type { Random } from "./mutations.ts";

const VALUES = [
  "",
  " ",
  "0",
  "-1",
  "65536",
  "4294967296",
  "99999999999999999999",
  "NaN",
  "1e9",
  "__proto__",
  "constructor",
  "*",
  "a".repeat(300),
  "\u0000",
  "\u{1f4de}",
  "%s%n",
  "a=b=c",
  "1 2 3 4 5 6 7 8 9",
  "111 opus",
  "111 opus/48000/2/9",
  "111 apt=111",
  "BUNDLE",
];

/** A text with one to four things wrong with it. */
export function spoiledSdp(random: Random, text: string, others: readonly string[]): string {
  let lines = text.split("\r\n");
  for (let times = 1 + random.below(4); times > 0 && lines.length > 0; times--)
    lines = spoiledOnce(random, lines, others);
  return lines.join(random.chance(95) ? "\r\n" : random.pick(["\n", "\r", "\r\n\r\n", ""]));
}

function spoiledOnce(random: Random, lines: readonly string[], others: readonly string[]): string[] {
  const at = random.below(lines.length);
  const line = lines[at]!;
  const replaced = (...by: string[]) => [...lines.slice(0, at), ...by, ...lines.slice(at + 1)];
  switch (random.below(9)) {
    case 0:
      return replaced();
    case 1:
      return replaced(line, line);
    case 2:
      return replaced(line, random.pick(random.pick(others).split("\r\n")));
    case 3:
      return replaced(`${line.slice(0, line.search(/[:=]|$/) + 1)}${random.pick(VALUES)}`);
    case 4: {
      const words = line.split(" ");
      words[random.below(words.length)] = random.pick(VALUES);
      return replaced(words.join(" "));
    }
    case 5:
      return replaced(line.slice(0, random.below(line.length + 1)));
    case 6: {
      const position = random.below(line.length + 1);
      return replaced(line.slice(0, position) + String.fromCharCode(random.below(256)) + line.slice(position));
    }
    case 7: {
      const other = random.below(lines.length);
      return lines.map((one, index) => (index === at ? lines[other]! : index === other ? line : one));
    }
    default:
      return [...lines.slice(0, at), ...random.pick(others).split("\r\n").slice(random.below(20))];
  }
}
