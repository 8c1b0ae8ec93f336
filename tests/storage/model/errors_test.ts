/** From what storage code throws or rejects with to how an effect ends. */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import assert from "node:assert/strict";
import { attemptStorage, attemptStorageAsync, StorageFailed } from "../../../src/storage/model/errors.ts";

const FAILURE = new StorageFailed({ operation: "sync", path: "/data/a", reason: "io", detail: "EIO" });
const BUG = new TypeError("not of the disk");

function thrower(thrown: unknown): () => never {
  return () => {
    throw thrown;
  };
}

const ATTEMPTS = {
  attemptStorage: (thrown: unknown) => attemptStorage(thrower(thrown)),
  attemptStorageAsync: (thrown: unknown) => attemptStorageAsync(() => Promise.reject(thrown)),
};

for (const [name, attempt] of Object.entries(ATTEMPTS)) {
  Deno.test(`${name} fails with a StorageFailed and dies of anything else`, async () => {
    assert.equal(await Effect.runPromise(Effect.flip(attempt(FAILURE))), FAILURE);
    const exit = await Effect.runPromiseExit(attempt(BUG));
    assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause));
    assert.equal(Cause.squash(exit.cause), BUG);
  });
}
