/**
 * The texts of SCRAM, without knowing who the users are. [RFC 5802, 5 and 7]
 *
 *   client-first   n,,n=user,r=CLIENTNONCE
 *   server-first   r=CLIENTNONCESERVERNONCE,s=SALT,i=4096
 *   client-final   c=biws,r=CLIENTNONCESERVERNONCE,p=PROOF
 *   server-final   v=SIGNATURE
 *
 * A client-first message begins with the GS2 header, here `n,,`: no channel binding, and no identity to act for. `c=` of
 * client-final is the Base64 of that header, so that nobody on the way can change it. Attributes come in this order and
 * no other. Refused are: channel binding (`p=…`, for which there is no method here that ends in -PLUS), extensions that
 * must be understood (`m=…`), and everything that the grammar does not say. Extensions that may be ignored are ignored.
 */
import { isUtf8 } from "node:buffer";
import { decodeBase64, encodeBase64 } from "./base64.ts";

/** Bytes of a message of the client. */
export const SCRAM_MESSAGE_BYTES_MAX = 4096;

/** Characters of a nonce of the client. */
export const CLIENT_NONCE_CHARS_MAX = 256;

/** Why a message cannot be used; the reason for counter and log. */
export class ScramProblem {
  readonly reason: "scram_malformed" | "scram_channel_binding" | "scram_extension" | "scram_nonce" | "scram_authzid";

  constructor(reason: ScramProblem["reason"]) {
    this.reason = reason;
  }
}

/** What client-first says. */
export interface ClientFirst {
  readonly username: string;
  readonly nonce: string;
  /** As it came, with its last comma. */
  readonly gs2Header: string;
  /** All after the header: the first part of what is signed. */
  readonly bare: string;
}

/** What client-final says. */
export interface ClientFinal {
  /** 32 bytes. */
  readonly proof: Uint8Array;
  /** All before the proof: the last part of what is signed. */
  readonly withoutProof: string;
}

/** Reads the first message of a client. */
export function parseClientFirst(message: Uint8Array | undefined): ClientFirst | ScramProblem {
  const text = textOf(message);
  if (text === undefined) return MALFORMED;
  if (/^p=[^,]+,/.test(text)) return new ScramProblem("scram_channel_binding");
  const gs2 = /^[ny],(?:a=([^,]+))?,/.exec(text);
  if (gs2 === null) return MALFORMED;
  const gs2Header = gs2[0];
  const bare = text.slice(gs2Header.length);
  const [usernameAttribute, nonceAttribute, ...extensions] = bare.split(",");
  if (usernameAttribute!.startsWith("m=")) return new ScramProblem("scram_extension");
  if (!usernameAttribute!.startsWith("n=") || !nonceAttribute?.startsWith("r=")) return MALFORMED;
  const username = unescapeName(usernameAttribute!.slice(2));
  const nonce = nonceAttribute.slice(2);
  if (username === undefined || !isNonce(nonce) || nonce.length > CLIENT_NONCE_CHARS_MAX) return MALFORMED;
  if (!areExtensions(extensions)) return MALFORMED;
  // Acting for another is a matter of permissions that does not exist here.
  if (gs2[1] !== undefined && unescapeName(gs2[1]) !== username) return new ScramProblem("scram_authzid");
  return { username, nonce, gs2Header, bare };
}

/** Writes server-first. The nonce is that of the client followed by that of the server. */
export function formatServerFirst(nonce: string, salt: Uint8Array, iterations: number): string {
  return `r=${nonce},s=${encodeBase64(salt)},i=${iterations}`;
}

/**
 * Reads the last message of a client.
 *
 * @param gs2Header Of the client's first message.
 * @param nonce Of the server's first message.
 */
export function parseClientFinal(
  message: Uint8Array | undefined,
  gs2Header: string,
  nonce: string,
): ClientFinal | ScramProblem {
  const text = textOf(message);
  if (text === undefined) return MALFORMED;
  const parts = text.split(",");
  const [bindingAttribute, nonceAttribute] = parts;
  const proofAttribute = parts.at(-1)!;
  if (parts.length < 3 || !bindingAttribute!.startsWith("c=") || !nonceAttribute!.startsWith("r=")) return MALFORMED;
  if (!proofAttribute.startsWith("p=") || !areExtensions(parts.slice(2, -1))) return MALFORMED;
  if (bindingAttribute!.slice(2) !== encodeBase64(new TextEncoder().encode(gs2Header))) {
    return new ScramProblem("scram_channel_binding");
  }
  if (nonceAttribute!.slice(2) !== nonce) return new ScramProblem("scram_nonce");
  const proof = decodeBase64(proofAttribute.slice(2));
  if (proof === undefined || proof.length !== 32) return MALFORMED;
  return { proof, withoutProof: text.slice(0, -proofAttribute.length - 1) };
}

/** Writes server-final. */
export function formatServerFinal(signature: Uint8Array): string {
  return `v=${encodeBase64(signature)}`;
}

/** Tells whether a text may be a nonce: printable ASCII without comma. */
export function isNonce(text: string): boolean {
  return /^[\x21-\x2b\x2d-\x7e]+$/.test(text);
}

function textOf(message: Uint8Array | undefined): string | undefined {
  if (message === undefined || message.length > SCRAM_MESSAGE_BYTES_MAX || !isUtf8(message)) return undefined;
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(message);
  return text.includes("\0") ? undefined : text;
}

/** `=2C` is a comma and `=3D` an equals sign; any other use of `=` is an error, and so is no name at all. */
function unescapeName(text: string): string | undefined {
  if (text === "" || /=(?!2C|3D)/.test(text) || CONTROL.test(text)) return undefined;
  return text.replaceAll("=2C", ",").replaceAll("=3D", "=");
}

/** Extensions that may be ignored: a letter, an equals sign and some value. */
function areExtensions(parts: readonly string[]): boolean {
  return parts.every((part) => /^[A-Za-z]=./su.test(part) && !part.startsWith("m="));
}

const CONTROL = /\p{Cc}/u;
const MALFORMED = new ScramProblem("scram_malformed");
