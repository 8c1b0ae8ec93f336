/** Options, cells, medians and the table of the comparison. */

import assert from "node:assert/strict";
import { CELLS, pickCells } from "../../bench/load/cells.ts";
import { type Measurement, medianOf } from "../../bench/load/measure.ts";
import { OptionsError, parseLoadOptions } from "../../bench/load/options.ts";
import type { LoadReport } from "../../bench/load/report.ts";
import { isGeneratorLimited, renderTable } from "../../bench/load/table.ts";

const REPORT: LoadReport = {
  mode: "live",
  sent: 10,
  recv: 10,
  expected: 10,
  acked: 0,
  refused: 0,
  gaps: 0,
  dups: 0,
  late: 0,
  misrouted: 0,
  secs: 1,
  pub_per_s: 10,
  recv_per_s: 10,
  ack_per_s: 0,
  conn_per_s: 0,
  load_cpu: 0.5,
  broker_cpu: 0.5,
  lat_us: { p50: 1, p95: 2, p99: 3, max: 4 },
  error: null,
};

function measurement(value: number, changes: Partial<LoadReport> = {}): Measurement {
  return { value, report: { ...REPORT, ...changes }, whole: (changes.gaps ?? 0) === 0 };
}

Deno.test("parseLoadOptions reads both spellings and reports every problem at once", () => {
  const options = parseLoadOptions(["--pubs", "3", "--topics=3", "--subs=3", "--v5", "--qos", "2"]);
  assert.deepEqual([options.pubs, options.topics, options.version, options.qos], [3, 3, 5, 2]);
  assert.throws(() => parseLoadOptions(["--pub", "3", "--qos", "7", "--size", "x"]), (cause) => {
    assert.ok(cause instanceof OptionsError);
    assert.match(cause.message, /unknown option --pub/);
    assert.match(cause.message, /--qos: expected 0, 1 or 2, got 7/);
    assert.match(cause.message, /--size: expected a number, got "x"/);
    return true;
  });
});

Deno.test("parseLoadOptions refuses loads that nothing would pace", () => {
  assert.throws(() => parseLoadOptions(["--mode", "ingest"]), OptionsError);
  assert.throws(() => parseLoadOptions(["--pubs", "4", "--topics", "4"]), OptionsError);
});

Deno.test("every cell is a load the generator accepts, under its own name", () => {
  for (const cell of CELLS) parseLoadOptions(cell.load);
  assert.equal(new Set(CELLS.map((cell) => cell.name)).size, CELLS.length);
});

Deno.test("pickCells keeps table order and names what it does not know", () => {
  assert.deepEqual(pickCells(["connects", "qos0-1to1"]).map((cell) => cell.name), ["qos0-1to1", "connects"]);
  assert.equal(pickCells([]), CELLS);
  assert.throws(() => pickCells(["qos9"]), /unknown cell "qos9"/);
});

Deno.test("medianOf picks one whole run by value", () => {
  const middle = measurement(20);
  assert.equal(medianOf([measurement(90), middle, measurement(10)]), middle);
  assert.equal(medianOf([measurement(30), middle]), middle);
});

Deno.test("isGeneratorLimited needs a full generator and a broker that is not", () => {
  assert.ok(isGeneratorLimited(measurement(1, { load_cpu: 0.97, broker_cpu: 0.5 })));
  assert.ok(!isGeneratorLimited(measurement(1, { load_cpu: 0.97, broker_cpu: 1 })));
  assert.ok(!isGeneratorLimited(measurement(1, { load_cpu: 0.5, broker_cpu: 0.5 })));
  assert.ok(!isGeneratorLimited(measurement(1, { load_cpu: 0.97, broker_cpu: null })));
});

Deno.test("renderTable shows ratios, skips and what was not whole", () => {
  const [cell] = pickCells(["qos0-1to1"]);
  const outcomes = [measurement(3_000_000), measurement(100_000, { gaps: 4 }), { skipped: "nats is not installed" }];
  const lines = renderTable(["promptmq", "mosquitto", "nats"], [{ cell: cell!, outcomes }]).split("\n");
  assert.match(lines[1]!, /^qos0-1to1 +msg\/s +3 000 000 +100 000 ! +- +30\.00 +- /);
  assert.match(lines[1]!, /0 \/ 4 \/ -/);
  assert.ok(lines.some((line) => line.startsWith("qos0-1to1, mosquitto: not whole: 10 of 10 delivered, gaps 4")));
  assert.ok(lines.includes("qos0-1to1, nats: skipped: nats is not installed"));
});
