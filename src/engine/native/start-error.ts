/** Turns the native side's errno, and what it was about, into an error for people. */
import { getSystemErrorName } from "node:util";
import { EarshotError } from "../../earshot-error.ts";
import { bindError } from "../bind-error.ts";
import type { EngineOptions } from "../engine.ts";
import type { NativeFailure } from "./binding.ts";

export function startError(
  { errno, about }: NativeFailure,
  { ingresses, trunk }: Pick<EngineOptions, "ingresses" | "trunk">,
): EarshotError {
  const code = getSystemErrorName(-errno);
  if (about === "flow table" && code === "EBUSY") {
    return new EarshotError("KEPT_BUSY", "another process still writes to the flow table: it has to be stopped first");
  }
  if (about === "flow table" && code === "EILSEQ") {
    return new EarshotError("KEPT_FOREIGN", "the flow table was made by a program of another layout, and is not read");
  }
  const ingress = ingresses.find((each) => about === `ingress ${each.id}`);
  if (ingress !== undefined) return bindError(code, "ingress", ingress);
  if (about === "trunk") return bindError(code, "trunk", trunk);
  return new EarshotError(code, `the native engine could not start: ${about}`);
}
