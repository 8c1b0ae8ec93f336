import * as Cause from "effect/Cause";
import * as Data from "effect/Data";
import assert from "node:assert/strict";
import { failureFields } from "../../src/logging/failure_fields.ts";

class DiskFull extends Data.TaggedError("DiskFull")<{ readonly path: string }> {
  override get message(): string {
    return `no room for ${this.path}`;
  }
}

Deno.test("failureFields gives an operating failure as its message alone", () => {
  const cause = Cause.fail(new DiskFull({ path: "a" }));
  assert.deepEqual(failureFields(cause), { error: "no room for a" });
  const both = Cause.combine(Cause.combine(cause, Cause.interrupt()), Cause.fail(new DiskFull({ path: "b" })));
  assert.deepEqual(failureFields(both), { error: "no room for a; no room for b" });
});

Deno.test("failureFields gives a bug with its stack, also beside an operating failure", () => {
  const bug = Cause.die(new Error("impossible"));
  const operating = Cause.fail(new DiskFull({ path: "a" }));
  for (const cause of [bug, Cause.combine(operating, bug), Cause.fail(new Error("impossible"))]) {
    const fields = failureFields(cause);
    assert.deepEqual(Object.keys(fields), ["cause"]);
    assert.match(String(fields["cause"]), /impossible[^]*\n +at /);
  }
});
