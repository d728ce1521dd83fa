/**
 * A first look at an offer, so that what is no SDP at all costs no transceiver anything. What the offer means is the
 * transceiver's to judge. Pure.
 */
import { EarshotError } from "../earshot-error.ts";

/** Throws SDP_INVALID with what is wrong and where. */
export function checkOffer(sdp: string): void {
  if (sdp.trim() === "") throw invalid("the body is empty; send the offer's SDP");
  const lines = sdp.split(/\r?\n/);
  while (lines.at(-1) === "") lines.pop();
  if (lines[0] !== "v=0") throw invalid(`the first line has to be "v=0", got ${quote(lines[0] ?? "")}`);
  const wrong = lines.findIndex((line) => !/^[a-z]=[^\0\r]*$/.test(line));
  if (wrong >= 0) {
    throw invalid(`line ${wrong + 1} has to be a letter, "=" and a value (RFC 8866), got ${quote(lines[wrong] ?? "")}`);
  }
  if (!lines.some((line) => line.startsWith("m="))) {
    throw invalid('there is no "m=" line; offer audio, a data channel or both');
  }
}

function invalid(what: string): EarshotError {
  return new EarshotError("SDP_INVALID", `malformed SDP: ${what}`);
}

const QUOTED_CHARACTERS = 40;

function quote(line: string): string {
  return JSON.stringify(line.length > QUOTED_CHARACTERS ? `${line.slice(0, QUOTED_CHARACTERS)}...` : line);
}
