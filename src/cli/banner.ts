/** What a started command says on stdout: where it can be reached, and by whom. Pure text. */
import { userInfo } from "node:os";
import { type AddressPort, addressFamily, formatAddressPort, isLoopback, isWildcard } from "../config/address-port.ts";
import { packageVersion } from "../package-root.ts";

interface RelayFacts {
  readonly engineKind: "native" | "js";
  readonly workers: number;
  readonly ingresses: readonly AddressPort[];
}

export function startBanner(facts: RelayFacts & { http: AddressPort; advertise: readonly AddressPort[] }): string {
  return block([
    title("start"),
    "",
    row("Page", pageUrl(facts.http)),
    row("Engine", engineText(facts)),
    row("Ingresses", placesText(facts.ingresses)),
    row("Advertised", placesText(facts.advertise)),
    "",
    ...fromAnotherMachine(facts.http, facts.advertise),
    "",
    "Ctrl-C stops it.",
  ]);
}

export function transceiverBanner(facts: {
  http: AddressPort;
  transceivers: readonly (AddressPort & { readonly id: number })[];
  advertise: readonly AddressPort[];
}): string {
  return block([
    title("transceiver"),
    "",
    row("Page", pageUrl(facts.http)),
    row("Transceiver", linesText(facts.transceivers.map((one) => `id ${one.id}, trunk ${formatAddressPort(one)}`))),
    row("Advertised", placesText(facts.advertise)),
    "",
    facts.transceivers.length === 1
      ? "A relay needs this transceiver in its directory. Ctrl-C stops it."
      : "A relay needs each of these transceivers in its directory. Ctrl-C stops it.",
  ]);
}

export function relayBanner(
  facts: RelayFacts & { http: AddressPort; transceivers: readonly (AddressPort & { readonly id: number })[] },
): string {
  return block([
    title("relay"),
    "",
    row("Metrics", `${pageUrl(facts.http)}/metrics`),
    row("Engine", engineText(facts)),
    row("Ingresses", placesText(facts.ingresses)),
    row("Directory", facts.transceivers.map((entry) => `${entry.id} at ${formatAddressPort(entry)}`).join(", ")),
    "",
    "Ctrl-C stops it.",
  ]);
}

const LABEL_WIDTH = 13;

const block = (lines: readonly string[]): string => `${lines.join("\n")}\n`;
const title = (command: string): string => `Earshot ${packageVersion()}, ${command}`;
const row = (label: string, text: string): string => `  ${label.padEnd(LABEL_WIDTH)}${text}`;

/** Under each other. */
function linesText(lines: readonly string[]): string {
  return lines.join(`\n${" ".repeat(LABEL_WIDTH + 2)}`);
}

const placesText = (places: readonly AddressPort[]): string => linesText(places.map(formatAddressPort));

function engineText({ engineKind, workers }: RelayFacts): string {
  return engineKind === "js" ? "js" : `native, ${workers} worker${workers === 1 ? "" : "s"}`;
}

/** `localhost` where that is what it is: browsers treat it as secure. */
function pageUrl({ address, port }: AddressPort): string {
  const local = isWildcard(address) || address === "127.0.0.1";
  return `http://${local ? `localhost:${port}` : formatAddressPort({ address, port })}`;
}

function fromAnotherMachine(http: AddressPort, advertise: readonly AddressPort[]): string[] {
  const reachable = advertise.filter(({ address }) => !isLoopback(address));
  const voice = reachable.find(({ address }) => addressFamily(address) === 4) ?? reachable[0];
  if (voice === undefined) {
    return [
      "Only this machine can call: every advertised address is loopback. For others, name an address that",
      "they can reach with --listen or --advertise.",
    ];
  }
  const target = formatAddressPort({ address: isWildcard(http.address) ? "127.0.0.1" : http.address, port: http.port });
  return [
    "From another machine: browsers allow the microphone only on https or localhost, so bring the page there:",
    `  ssh -L ${http.port}:${target} ${userInfo().username}@${voice.address}`,
    `and open http://localhost:${http.port}. Voice goes by UDP to ${formatAddressPort(voice)}. If clients reach this`,
    `host by another address (NAT), name it: --advertise ADDRESS:${voice.port}`,
  ];
}
