/**
 * What two relay processes of different versions agree on before one takes the other's place: whether they lay the flow
 * table out alike, and if not, that flows go as records that the new one can read. Decides; moves nothing.
 */
import { randomBytes } from "node:crypto";
import { EarshotError } from "../earshot-error.ts";
import { loadBinding } from "../engine/native/binding.ts";

/** What a relay process says of itself before it begins. */
export interface RelayAbout {
  /** Of the flow table in memory. */
  readonly layout: string;
  /** Versions of flow records. */
  readonly writes: number;
  readonly reads: readonly number[];
}

/** What both are told: the old one as it lets go, the new one as it begins. */
export interface HandOver {
  /** 16 bytes, for this one time: records of another are not read. */
  readonly key: Buffer;
}

/** Undefined without the addon: the js engine has no table to hand over. */
export function aboutRelay(): RelayAbout | undefined {
  try {
    const { keptLayout, recordsVersion } = loadBinding();
    return { layout: keptLayout, writes: recordsVersion, reads: [recordsVersion] };
  } catch (error) {
    if (!(error instanceof EarshotError)) throw error;
    return undefined;
  }
}

/** Undefined if the new one reads the old one's memory, or has no use for any. Throws if it can read neither that nor records. */
export function agreeOnHandOver(old: RelayAbout | undefined, candidate: RelayAbout | undefined): HandOver | undefined {
  if (old === undefined || candidate === undefined || old.layout === candidate.layout) return undefined;
  if (!candidate.reads.includes(old.writes)) {
    throw new EarshotError(
      "RECORDS_VERSION",
      `the new version lays the flow table out differently and reads flow records of version ${candidate.reads.join(", ")}, ` +
        `the old one writes version ${old.writes}: upgrade to a version in between first, or drain and restart the service`,
    );
  }
  return { key: randomBytes(16) };
}
