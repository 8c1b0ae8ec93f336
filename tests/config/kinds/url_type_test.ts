/** Which URLs are taken, and that what may be a password in one that is refused is hidden. */

import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import assert from "node:assert/strict";
import { url } from "../../../src/config/kinds/url_type.ts";

const WEB = url({ protocols: ["https", "http"], isHostOnly: false });
const DIRECTORY = url({ protocols: ["ldaps", "ldap"], isHostOnly: true });

Deno.test("url takes absolute URLs of its protocols as they are written, and nothing for none", () => {
  const taken = [
    "https://auth.example.org/check?tenant=7",
    "http://127.0.0.1:8080",
    "http://[::1]:8080/a/b",
    "HTTPS://example.org",
  ];
  for (const text of taken) assert.equal(Schema.decodeSync(WEB.codec)(` ${text} `), text);
  for (const text of ["ldap://directory", "ldaps://[::1]:636/"]) {
    assert.equal(Schema.decodeSync(DIRECTORY.codec)(text), text);
  }
  assert.equal(Schema.decodeSync(WEB.codec)(""), undefined);
  assert.equal(Schema.encodeSync(WEB.codec)(undefined), "");
});

Deno.test("url refuses other protocols, users, passwords, fragments and what is no URL", () => {
  const refused = [
    "ldap://example.org",
    "file:///etc/passwd",
    "example.org",
    "//example.org/",
    "https:example.org",
    "https:///check",
    "https://user@example.org/",
    "https://user:secret@example.org/",
    "https://:secret@example.org/",
    "https://example.org/#part",
    "https://example.org/a b",
    "https://example.org\\@evil.example/",
    "https://exa\tmple.org/",
    "https://example.org:99999/",
    "https://example.org:0/",
    "https://",
  ];
  for (const text of refused) assert.ok(Result.isFailure(Schema.decodeResult(WEB.codec)(text)), text);
  for (const text of ["https://h", "ldap://h/dc=example", "ldap://h?x", "ldap://u:p@h", "ldap://", "ldap:h"]) {
    assert.ok(Result.isFailure(Schema.decodeResult(DIRECTORY.codec)(text)), text);
  }
});

Deno.test("url hides user and password of a text it refuses, however it is written", () => {
  for (const text of ["https://u:hunter2@h/", "ldap:u:hunter2@h", "https://u:hunter/2@x@h", "u:hunter2\n@h"]) {
    const hidden = WEB.redact?.(text);
    assert.ok(hidden !== undefined && !hidden.includes("hunter") && hidden.startsWith("…@h"));
  }
  assert.equal(WEB.redact?.("ftp://h/"), "ftp://h/");
});
