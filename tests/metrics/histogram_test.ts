import * as assert from "node:assert/strict";
import { Histogram } from "../../src/metrics/histogram.ts";

Deno.test("Histogram counts a value in the first bucket whose inclusive bound holds it", () => {
  const histogram = new Histogram([10, 20]);
  for (const value of [0, 10, 10.5, 20, 21, 1e9]) histogram.observe(value);
  assert.deepEqual([...histogram.counts], [2, 2, 2]);
  assert.equal(histogram.count, 6);
  assert.equal(histogram.sum, 0 + 10 + 10.5 + 20 + 21 + 1e9);
});

Deno.test("Histogram without bounds keeps everything in the unbounded bucket", () => {
  const histogram = new Histogram([]);
  histogram.observe(7);
  assert.deepEqual([...histogram.counts], [1]);
});

Deno.test("Histogram.quantile interpolates within the bucket that holds the share", () => {
  const histogram = new Histogram([10, 20, 40]);
  histogram.observeMany(5, 50);
  histogram.observeMany(30, 50);
  assert.equal(histogram.quantile(0), 0);
  assert.equal(histogram.quantile(0.25), 5);
  assert.equal(histogram.quantile(0.5), 10);
  assert.equal(histogram.quantile(0.75), 30);
  assert.equal(histogram.quantile(1), 40);
});

Deno.test("Histogram.quantile is 0 for nothing, and the highest bound for what lies beyond", () => {
  const histogram = new Histogram([10, 20]);
  assert.equal(histogram.quantile(0.99), 0);
  histogram.observe(1000);
  assert.equal(histogram.quantile(0.99), 20);
  assert.equal(new Histogram([]).quantile(0.5), 0);
});
