/**
 * What a token looks like from outside, before anybody knows whether it is genuine. [RFC 7515, 7.1]
 *
 *     eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ . eyJzdWIiOiJnYXRld2F5LTcifQ . c2lnbmF0dXJl
 *     {"alg":"RS256","kid":"a"}            {"sub":"gateway-7"}           signature, empty with alg none
 *
 * A password with two dots is not a token: the first part has to be a JSON object. What has five such parts is an
 * encrypted token, which is refused like any algorithm that the broker has no key for.
 *
 * Nothing in the header chooses a key by value or by address (`jwk`, `jku`, `x5c`, `x5u` are not looked at), and what
 * would change the meaning of the other parts (`b64`, `zip`, anything critical) is refused.
 */

/** Bytes of the longest token that is looked at. Tokens with many groups stay far below; each is decoded as a whole. */
export const TOKEN_BYTES_MAX = 16_384;

/** A password that is a token, or looks like one. */
export interface Token {
  readonly text: string;
  readonly algorithm: string;
  /** Name of the key, as the issuer calls it. */
  readonly kid: string | undefined;
}

/** Why a token is refused before any key is looked for; for counter and log. */
export type TokenRefusal = "token_algorithm" | "token_malformed" | "token_too_long";

/**
 * Takes a password for a token.
 *
 * @returns undefined when it is none, so that another provider may know it.
 */
export function readToken(password: Uint8Array): Token | TokenRefusal | undefined {
  const text = decodeUtf8(password);
  if (text === undefined || !SHAPE.test(text)) return undefined;
  const header = readHeader(text.slice(0, text.indexOf(".")));
  if (header === undefined) return undefined;
  if (password.length > TOKEN_BYTES_MAX) return "token_too_long";
  const { alg: algorithm, kid } = header;
  if (typeof algorithm !== "string" || isEncrypted(text)) return "token_algorithm";
  if (kid !== undefined && typeof kid !== "string") return "token_malformed";
  if (REFUSED_PARAMETERS.some((name) => Object.hasOwn(header, name))) return "token_malformed";
  return { text, algorithm, kid };
}

const SHAPE = /^[\w-]+(?:\.[\w-]*){2}(?:(?:\.[\w-]*){2})?$/;
const REFUSED_PARAMETERS = ["b64", "crit", "enc", "zip"];

function isEncrypted(text: string): boolean {
  return text.split(".").length === 5;
}

function readHeader(part: string): Record<string, unknown> | undefined {
  try {
    const json = decodeUtf8(Uint8Array.fromBase64(part, { alphabet: "base64url" }));
    const value: unknown = json === undefined ? undefined : JSON.parse(json);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
