/**
 * A bounded fuzz run. The seed is printed; `PROMPTMQ_FUZZ_SEED` and `PROMPTMQ_FUZZ_CASES` choose another attack.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { attack, caseBytes } from "./attack.ts";
import { HonestFlow } from "./honest_flow.ts";

const SEED = Number(Deno.env.get("PROMPTMQ_FUZZ_SEED") ?? "20260101");
const CASES = Number(Deno.env.get("PROMPTMQ_FUZZ_CASES") ?? "5000");
/** What the broker may grow by over the whole run: its caches and the garbage of one collection cycle. */
const RSS_GROWTH_BYTES_MAX = 200 * 1024 * 1024;

Deno.test("fuzz: the same seed gives the same cases", () => {
  assert.deepEqual(caseBytes(1, 7), caseBytes(1, 7));
  assert.notDeepEqual(caseBytes(1, 7), caseBytes(2, 7));
});

Deno.test(`fuzz: ${CASES} damaged conversations with seed ${SEED} end, and an honest flow is not disturbed`, async () => {
  await using broker = await Broker.start();
  const before = await broker.rssBytes();
  await using flow = await HonestFlow.start(broker.tcp);
  const report = await attack(broker.tcp, SEED, (cases) => cases >= CASES);
  const { acknowledged, delivered } = await flow.finish();
  assert.ok(report.cases >= CASES);
  assert.ok(report.answered > CASES / 2, `only ${report.answered} of ${report.cases} cases got an answer`);
  assert.equal(delivered, acknowledged);
  const after = await broker.rssBytes();
  if (before !== undefined && after !== undefined) {
    assert.ok(after - before < RSS_GROWTH_BYTES_MAX, `memory grew from ${before} to ${after} bytes`);
  }
});
