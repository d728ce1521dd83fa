/** STUN and TURN servers as WHIP tells clients of them: Link headers (RFC 9725, section 4.6). Pure. */

export interface IceServer {
  /** `stun:...`, `turn:...` or `turns:...` */
  readonly url: string;
  readonly username?: string | undefined;
  readonly credential?: string | undefined;
}

export function iceServerLink({ url, username, credential }: IceServer): string {
  const parameters = [`<${url}>`, 'rel="ice-server"'];
  if (username !== undefined) parameters.push(`username=${quoted(username)}`);
  if (credential !== undefined) parameters.push(`credential=${quoted(credential)}`, 'credential-type="password"');
  return parameters.join("; ");
}

/** A quoted-string (RFC 9110, section 5.6.4). */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
