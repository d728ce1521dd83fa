/**
 * Our certificate as werift wants it, which writes its fingerprint into answers. One for the process: made at its start,
 * gone with its end, and in no file. The key is in the addon alone; werift gets an empty one.
 */
import { type RTCCertificate, RTCDtlsFingerprint } from "werift";
import { loadCrypto, type NativeIdentity } from "./crypto-binding.ts";

export interface LocalCertificate {
  readonly identity: NativeIdentity;
  readonly certificate: RTCCertificate;
}

let made: LocalCertificate | undefined;

/** Throws ADDON_UNAVAILABLE. */
export function localCertificate(): LocalCertificate {
  made ??= describe(new (loadCrypto().DtlsIdentity)());
  return made;
}

function describe(identity: NativeIdentity): LocalCertificate {
  const base64 = identity.certificate.toString("base64").replace(/.{1,64}/g, "$&\n");
  const fingerprint = identity.fingerprint.toString("hex").toUpperCase().match(/../g)!.join(":");
  return {
    identity,
    certificate: {
      certPem: `-----BEGIN CERTIFICATE-----\n${base64}-----END CERTIFICATE-----\n`,
      // ECDSA with SHA-256, in TLS's numbers.
      signatureHash: { hash: 4, signature: 3 },
      publicKey: "",
      privateKey: "",
      getFingerprints: () => [new RTCDtlsFingerprint("sha-256", fingerprint)],
    },
  };
}
