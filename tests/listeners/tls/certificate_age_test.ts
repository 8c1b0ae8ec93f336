import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import { warnOfAge } from "../../../src/listeners/tls/certificate_age.ts";
import { Level, type LogWriter } from "../../../src/logging/log.ts";

const DAY_MS = 86_400_000;

Deno.test("certificate age is warned of from 30 days before the end, every day, until it is replaced", async () => {
  const lines: string[] = [];
  const log: LogWriter = {
    level: Level.info,
    write: (level, message, fields) => void lines.push(`${level} ${message} ${fields?.["notAfter"]}`),
    limited: () => assert.fail("a daily line is not limited"),
  };
  const take = () => lines.splice(0);
  // The clock of the test begins at 0.
  let served = { subject: "CN=x", notAfterMs: 32 * DAY_MS };
  const program = Effect.gen(function* () {
    yield* Effect.forkScoped(warnOfAge(() => served, "tls", log));
    yield* TestClock.adjust(Duration.days(1));
    assert.deepEqual(take(), []);
    yield* TestClock.adjust(Duration.days(1));
    assert.deepEqual(take(), ["warn certificate expires soon 1970-02-02T00:00:00.000Z"]);
    yield* TestClock.adjust(Duration.days(29));
    assert.equal(take().length, 29);
    yield* TestClock.adjust(Duration.days(1));
    assert.deepEqual(take(), ["warn certificate has expired 1970-02-02T00:00:00.000Z"]);
    served = { subject: "CN=x", notAfterMs: 400 * DAY_MS };
    yield* TestClock.adjust(Duration.days(5));
    assert.deepEqual(take(), []);
  });
  await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(TestClock.layer())));
});
