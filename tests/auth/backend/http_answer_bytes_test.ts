/** Why there is no answer, in words that keep secrets. */
import assert from "node:assert/strict";
import { describeNoAnswer, NoAnswer } from "../../../src/auth/backend/http_answer_bytes.ts";

Deno.test("describeNoAnswer shows no part of an address but what it is given to show", () => {
  const address = "http://me:hunter2@h/p?token=a)b):c";
  const cases: readonly (readonly [string, string])[] = [
    [`error sending request for url (${address}): refused`, "error sending request for url (SHOWN): refused"],
    [`cannot reach ${address}`, "cannot reach SHOWN"],
    [`cannot reach ${address}: it is down`, "cannot reach SHOWN: it is down"],
    ["connection refused", "connection refused"],
  ];
  for (const [said, expected] of cases) {
    const failure = new NoAnswer({ cause: new TypeError("outer", { cause: new Error(said) }) });
    assert.equal(describeNoAnswer(failure, "SHOWN"), expected);
  }
  assert.equal(describeNoAnswer(new NoAnswer({ detail: "it is too long" }), "SHOWN"), "it is too long");
});
