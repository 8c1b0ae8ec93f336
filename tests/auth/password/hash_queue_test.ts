/**
 * The bound on hashing, with work that ends when the test says so.
 */
import assert from "node:assert/strict";
import { HashQueue } from "../../../src/auth/password/hash_queue.ts";

/** Work that has begun, in the order in which it did. */
class Gate {
  readonly begun: string[] = [];
  readonly #ends = new Map<string, PromiseWithResolvers<string>>();

  work(name: string): () => Promise<string> {
    return () => {
      this.begun.push(name);
      const end = Promise.withResolvers<string>();
      this.#ends.set(name, end);
      return end.promise;
    };
  }

  end(name: string): void {
    this.#ends.get(name)!.resolve(name);
  }

  fail(name: string): void {
    this.#ends.get(name)!.reject(new Error(name));
  }
}

Deno.test("hash queue runs so many at once, the others in order, and turns away what is too much", async () => {
  const queue = new HashQueue(2, 2);
  const gate = new Gate();
  const results = ["a", "b", "c", "d"].map((name) => queue.run(gate.work(name)));
  assert.equal(queue.run(gate.work("e")), undefined);
  assert.deepEqual(gate.begun, ["a", "b"]);
  assert.deepEqual([queue.running, queue.waiting], [2, 2]);
  gate.end("b");
  assert.equal(await results[1], "b");
  assert.deepEqual(gate.begun, ["a", "b", "c"]);
  const late = queue.run(gate.work("f"));
  assert.notEqual(late, undefined);
  for (const name of ["a", "c"]) gate.end(name);
  assert.deepEqual(await Promise.all([results[0], results[2]]), ["a", "c"]);
  assert.deepEqual(gate.begun, ["a", "b", "c", "d", "f"]);
  for (const name of ["d", "f"]) gate.end(name);
  assert.deepEqual(await Promise.all([results[3], late]), ["d", "f"]);
  assert.deepEqual([queue.running, queue.waiting], [0, 0]);
});

Deno.test("hash queue goes on after work that failed", async () => {
  const queue = new HashQueue(1, 1);
  const gate = new Gate();
  const failing = queue.run(gate.work("a"))!;
  const next = queue.run(gate.work("b"))!;
  gate.fail("a");
  await assert.rejects(failing, /a/);
  gate.end("b");
  assert.equal(await next, "b");
  assert.equal(queue.running, 0);
});
