import assert from "node:assert/strict";
import fc from "fast-check";
import { LatencyHistogram } from "../../bench/load/latency.ts";

Deno.test("LatencyHistogram answers zeros while empty and after a reset", () => {
  const histogram = new LatencyHistogram();
  assert.deepEqual(histogram.summarize(), { p50: 0, p95: 0, p99: 0, max: 0 });
  histogram.recordMs(5);
  histogram.reset();
  assert.deepEqual(histogram.summarize(), { p50: 0, p95: 0, p99: 0, max: 0 });
  assert.equal(histogram.total, 0);
});

Deno.test("LatencyHistogram orders percentiles of a known distribution", () => {
  const histogram = new LatencyHistogram();
  for (let tenths = 1; tenths <= 200; tenths++) histogram.recordMs(tenths / 10_000);
  assert.deepEqual(histogram.summarize(), { p50: 10, p95: 19, p99: 19.8, max: 20 });
});

Deno.test("LatencyHistogram clamps negative and enormous latencies", () => {
  const histogram = new LatencyHistogram();
  histogram.recordMs(-3);
  assert.equal(histogram.summarize().max, 0);
  histogram.recordMs(1e9);
  assert.equal(histogram.summarize().max, (2 ** 31 - 1) / 10);
});

Deno.test("LatencyHistogram reports any single value within one percent, never above it", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (tenths) => {
    const histogram = new LatencyHistogram();
    // The half keeps the division by 10 000 from rounding to the value below.
    histogram.recordMs((tenths + 0.5) / 10_000);
    const reported = histogram.summarize().p50 * 10;
    assert.ok(reported <= tenths + 1e-6 && reported >= tenths * 0.99 - 1e-6, `${tenths} reported as ${reported}`);
  }));
});
