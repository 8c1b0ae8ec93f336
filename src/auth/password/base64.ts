/**
 * Base64 as password files and SCRAM write it: the standard alphabet of RFC 4648, and one text per byte string.
 *
 * Decoders skip white space and bits that no byte needs, so that several texts would mean the same bytes; here every
 * deviation is an error. Padding is left out in entries of our own, present in those of others and in SCRAM.
 */
import { Buffer } from "node:buffer";

/** Decodes Base64 with or without its padding; undefined for anything that an encoder would not have written. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!BASE64.test(text)) return undefined;
  const isPadded = text.endsWith("=") || text.length % 4 === 0;
  try {
    return Uint8Array.fromBase64(isPadded ? text : text.padEnd(text.length + 3 & ~3, "="), STRICT);
  } catch {
    // A length that no bytes have, or bits left over that are not zero.
    return undefined;
  }
}

/** Encodes with padding. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Encodes without padding. */
export function encodeBase64Unpadded(bytes: Uint8Array): string {
  return encodeBase64(bytes).replace(/=+$/, "");
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const STRICT = { lastChunkHandling: "strict" } as const;
