import * as assert from "node:assert/strict";
import { Throughput, WINDOW_MS_MIN } from "../../src/metrics/throughput.ts";

Deno.test("Throughput reads the rate since the previous reading", () => {
  const throughput = new Throughput(5000);
  assert.equal(throughput.read(300, 8000), 100);
  assert.equal(throughput.read(300, 10_000), 0);
  assert.equal(throughput.read(700, 12_000), 200);
});

Deno.test("Throughput repeats its rate within the shortest window and then loses nothing", () => {
  const throughput = new Throughput(0);
  assert.equal(throughput.read(100, 1000), 100);
  assert.equal(throughput.read(9999, 1000 + WINDOW_MS_MIN - 1), 100);
  assert.equal(throughput.read(500, 3000), 200);
});

Deno.test("Throughput is 0 before the first window has passed", () => {
  assert.equal(new Throughput(0).read(50, WINDOW_MS_MIN - 1), 0);
});
