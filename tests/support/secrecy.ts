/**
 * Whether secrets stay where they belong.
 */
import assert from "node:assert/strict";

/** Demands that a text has none of the secrets in it: neither as they are nor in base64 or hexadecimal. */
export function assertKeeps(secrets: readonly string[], text: string, where: string): void {
  for (const secret of secrets) {
    const bytes = new TextEncoder().encode(secret);
    // The last characters of base64 depend on what follows.
    const forms = [secret, bytes.toHex(), bytes.toBase64({ omitPadding: true }).slice(0, -1)];
    const found = forms.find((form) => text.includes(form));
    assert.equal(found, undefined, `${where} has a secret in it`);
  }
}
