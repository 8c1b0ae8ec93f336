/**
 * Base64 without second ways to write the same bytes.
 */
import assert from "node:assert/strict";
import { decodeBase64, encodeBase64, encodeBase64Unpadded } from "../../../src/auth/password/base64.ts";

Deno.test("base64 of every length comes back, with padding and without", () => {
  for (let length = 0; length < 10; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => 250 - i * 31);
    assert.deepEqual(decodeBase64(encodeBase64(bytes)), bytes);
    assert.deepEqual(decodeBase64(encodeBase64Unpadded(bytes)), bytes);
    assert(!encodeBase64Unpadded(bytes).includes("="));
  }
});

Deno.test("base64 that no encoder writes is refused", () => {
  const texts = [
    "A",
    "AB",
    "AB==",
    "AA=",
    "AAB=",
    "AAAA=",
    "AAAA==",
    "=",
    "====",
    "AA A",
    "AAAA\n",
    "_-AA",
    "AA==AA==",
  ];
  for (const text of texts) assert.equal(decodeBase64(text), undefined, JSON.stringify(text));
});
