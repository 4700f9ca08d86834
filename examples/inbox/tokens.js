// Tokens for the gateway: JSON Web Tokens (RFC 7519), signed with the secret that the gateway has, too (HS256).

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const FILE = process.env.POSTERN_TOKEN_SECRET_FILE;
// The newest secret is the first line. While secrets change, the gateway takes those of all lines.
const secret = () => readFileSync(FILE, "utf8").trim().split("\n")[0].trim();
const encoded = (text) => Buffer.from(text).toString("base64url");

/** How long a token lives, in seconds: it cannot be revoked before. */
export const LIFETIME_S = 300;

/** Returns a token for a subject, with these rights. */
export function token(subject, rights) {
  const claims = { sub: subject, exp: Math.floor(Date.now() / 1000) + LIFETIME_S, postern: rights };
  const message = `${encoded('{"alg":"HS256","typ":"JWT"}')}.${encoded(JSON.stringify(claims))}`;
  return `${message}.${createHmac("sha256", secret()).update(message).digest("base64url")}`;
}
