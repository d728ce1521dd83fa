/** Owns a certificate authority for a test, and servers' certificates by it, as files. Made with openssl. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

export class CertificateAuthority {
  readonly #folder = mkdtempSync(join(tmpdir(), "earshot-certificates-"));

  constructor() {
    const { certificate, key } = this.#files("authority");
    openssl("req", "-x509", ...NEW_KEY, "-keyout", key, "-out", certificate, "-subj", "/CN=authority", "-days", "2");
  }

  /** For those who are to trust it. */
  get certificate(): string {
    return this.#files("authority").certificate;
  }

  /** For a server of this DNS name; expired if days are negative. */
  issue(dnsName: string, days = 1): Certificate {
    const files = this.#files(`${dnsName}${days}`);
    const [request, names] = [join(this.#folder, "request"), join(this.#folder, "names")];
    openssl("req", ...NEW_KEY, "-keyout", files.key, "-out", request, "-subj", "/CN=server");
    writeFileSync(names, `subjectAltName=DNS:${dnsName}`);
    const { certificate, key } = this.#files("authority");
    const by = ["-CA", certificate, "-CAkey", key, "-CAcreateserial", "-days", String(days), "-extfile", names];
    openssl("x509", "-req", "-in", request, "-out", files.certificate, ...by);
    return files;
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }

  #files(name: string): Certificate {
    return { certificate: join(this.#folder, `${name}.pem`), key: join(this.#folder, `${name}.key`) };
  }
}

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: "pipe" });
}
