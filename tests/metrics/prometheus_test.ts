import * as assert from "node:assert/strict";
import { Histogram } from "../../src/metrics/histogram.ts";
import { renderFamilies, scalar } from "../../src/metrics/prometheus.ts";

Deno.test("renderFamilies writes help, type and value of a scalar", () => {
  assert.equal(
    renderFamilies([scalar("gauge", "promptmq_things", "Things now.", 1.5)]),
    "# HELP promptmq_things Things now.\n# TYPE promptmq_things gauge\npromptmq_things 1.5\n",
  );
});

Deno.test("renderFamilies writes nothing for no families", () => {
  assert.equal(renderFamilies([]), "");
});

Deno.test("renderFamilies writes only help and type of a family without samples", () => {
  assert.equal(
    renderFamilies([{ type: "counter", name: "promptmq_x_total", help: "X.", samples: [] }]),
    "# HELP promptmq_x_total X.\n# TYPE promptmq_x_total counter\n",
  );
});

Deno.test("renderFamilies writes cumulative buckets, sum and count of a histogram", () => {
  const histogram = new Histogram([1, 5]);
  for (const value of [0.5, 3, 9]) histogram.observe(value);
  assert.deepEqual(
    renderFamilies([{ type: "histogram", name: "h", help: "Seconds.", histogram }]).trimEnd().split("\n"),
    [
      "# HELP h Seconds.",
      "# TYPE h histogram",
      'h_bucket{le="1"} 1',
      'h_bucket{le="5"} 2',
      'h_bucket{le="+Inf"} 3',
      "h_sum 12.5",
      "h_count 3",
    ],
  );
});

Deno.test("renderFamilies escapes backslash, quote and line feed in label values", () => {
  const text = renderFamilies([{
    type: "counter",
    name: "t",
    help: "T.",
    samples: [{ labels: { topic: 'a\\b"c\nd', qos: "1" }, value: 1 }],
  }]);
  assert.equal(text.split("\n")[2], 't{topic="a\\\\b\\"c\\nd",qos="1"} 1');
});

Deno.test("renderFamilies escapes backslash and line feed, but no quote, in help", () => {
  assert.equal(renderFamilies([scalar("gauge", "g", 'a\\b\n"c"', 0)]).split("\n")[0], '# HELP g a\\\\b\\n"c"');
});

Deno.test("renderFamilies spells numbers that are not finite as the format does", () => {
  const samples = [Infinity, -Infinity, NaN].map((value) => ({ value }));
  assert.deepEqual(
    renderFamilies([{ type: "gauge", name: "g", help: "G.", samples }]).trimEnd().split("\n").slice(2),
    ["g +Inf", "g -Inf", "g NaN"],
  );
});
