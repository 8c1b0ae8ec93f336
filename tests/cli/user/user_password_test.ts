/**
 * A line typed at a terminal that shows nothing, byte by byte.
 */
import assert from "node:assert/strict";
import { PASSWORD_BYTES_MAX, TypedLine } from "../../../src/cli/user/user_password.ts";

/** What comes of the bytes: a text, `cancelled`, or undefined while the line is not complete. */
function typed(text: string): string | undefined {
  const line = new TypedLine();
  const bytes = new TextEncoder().encode(text);
  for (let i = 0; i < bytes.length; i++) {
    const result = line.type(bytes[i]!);
    if (result === undefined) continue;
    assert.equal(i, bytes.length - 1, "ended before its last byte");
    return result === "cancelled" ? result : new TextDecoder().decode(result);
  }
  return undefined;
}

Deno.test("typed line ends with Enter and is taken back, emptied or given up as terminals do it", () => {
  assert.equal(typed("secret\r"), "secret");
  assert.equal(typed("secret\n"), "secret");
  assert.equal(typed("\r"), "");
  assert.equal(typed("secret"), undefined);
  assert.equal(typed("ab\u007Fc\r"), "ac");
  assert.equal(typed("ab\bc\r"), "ac");
  assert.equal(typed("\u007F\u007Fa\r"), "a");
  assert.equal(typed("a\u00E9\u{1F511}\u007F\u007Fb\r"), "ab");
  assert.equal(typed("abc\u0015d\r"), "d");
  assert.equal(typed("abc\u0003"), "cancelled");
  assert.equal(typed("\u0004"), "cancelled");
  assert.equal(typed("a\u0004b\r"), "ab");
  assert.equal(typed("a\u001B[Db\r"), "a\u001B[Db");
});

Deno.test("typed line keeps no more than is enough to be too long", () => {
  const line = new TypedLine();
  for (let i = 0; i < PASSWORD_BYTES_MAX + 1000; i++) assert.equal(line.type(0x61), undefined);
  const result = line.type(13);
  assert(result instanceof Uint8Array);
  assert.equal(result.length, PASSWORD_BYTES_MAX + 1);
});
