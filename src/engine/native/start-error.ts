/** Turns the native side's errno, and what it was about, into an error for people. */
import { getSystemErrorName } from "node:util";
import { EarshotError } from "../../earshot-error.ts";
import { bindError } from "../bind-error.ts";
import type { EngineOptions } from "../engine.ts";
import type { NativeFailure } from "./binding.ts";

/** What is wrong with the flows that a program of another layout has handed over. */
const RECORD_ERRORS: Readonly<Record<string, { readonly code: string; readonly message: string } | undefined>> = {
  EPROTO: { code: "RECORDS_BROKEN", message: "the flows that were handed over are not whole, and none is taken" },
  EPROTONOSUPPORT: {
    code: "RECORDS_VERSION",
    message: "the flows were handed over in a form that this version cannot read",
  },
  E2BIG: { code: "RECORDS_TOO_MANY", message: "more flows were handed over than this version's table has room for" },
};

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
  const ofRecords = about === "flow table" ? RECORD_ERRORS[code] : undefined;
  if (ofRecords !== undefined) return new EarshotError(ofRecords.code, ofRecords.message);
  const ingress = ingresses.find((each) => about === `ingress ${each.id}`);
  if (ingress !== undefined) return bindError(code, "ingress", ingress);
  if (about === "trunk") return bindError(code, "trunk", trunk);
  return new EarshotError(code, `the native engine could not start: ${about}`);
}
