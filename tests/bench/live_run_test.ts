/**
 * The load generator must notice what a broker does wrong. Each test runs a short load against a stand-in broker with
 * one defect and looks for exactly that defect in the report.
 */

import assert from "node:assert/strict";
import { planRoutes, runLive } from "../../bench/load/live_run.ts";
import { parseLoadOptions } from "../../bench/load/options.ts";
import { isWhole, type LoadReport } from "../../bench/load/report.ts";
import { HONEST, type Script, startScriptedBroker } from "./scripted_broker.ts";

const MESSAGES = 200;

async function runAgainst(script: Script, args: readonly string[]): Promise<LoadReport> {
  await using broker = startScriptedBroker(script);
  const all = ["--port", `${broker.port}`, "--count", `${MESSAGES}`, "--window", "20", ...args];
  return await runLive(parseLoadOptions(all));
}

Deno.test("a run against an honest broker is whole", async () => {
  const report = await runAgainst(HONEST, []);
  assert.equal(report.recv, MESSAGES);
  assert.equal(report.expected, MESSAGES);
  assert.ok(isWhole(report));
  assert.ok(report.lat_us.max > 0);
});

Deno.test("a run with fan-out expects every message at every subscriber", async () => {
  const report = await runAgainst(HONEST, ["--subs", "3", "--wildcard"]);
  assert.equal(report.recv, 3 * MESSAGES);
  assert.ok(isWhole(report));
});

Deno.test("a QoS 1 run counts one acknowledgement per message", async () => {
  const report = await runAgainst(HONEST, ["--qos", "1"]);
  assert.equal(report.acked, MESSAGES);
  assert.ok(isWhole(report));
});

Deno.test("a doubled message is one duplicate, even when it is the last", async () => {
  for (const doubled of [0, MESSAGES - 1]) {
    const relay = (packet: Uint8Array, index: number) => (index === doubled ? [packet, packet] : [packet]);
    const report = await runAgainst({ ...HONEST, relay }, []);
    assert.deepEqual([report.dups, report.gaps, report.recv], [1, 0, MESSAGES + 1]);
    assert.ok(!isWhole(report));
  }
});

Deno.test("two messages that change places are one late message and no gap", async () => {
  let held: Uint8Array | undefined;
  const relay = (packet: Uint8Array, index: number) => {
    if (index === 10) held = packet;
    if (index === 10) return [];
    return index === 11 ? [packet, held!] : [packet];
  };
  const report = await runAgainst({ ...HONEST, relay }, []);
  assert.deepEqual([report.late, report.gaps, report.dups, report.recv], [1, 0, 0, MESSAGES]);
  assert.ok(!isWhole(report));
});

Deno.test("a lost message is a gap and the run is given up", async () => {
  const relay = (packet: Uint8Array, index: number) => (index === 5 ? [] : [packet]);
  const report = await runAgainst({ ...HONEST, relay }, ["--timeout", "0.1"]);
  assert.equal(report.gaps, 1);
  assert.match(report.error ?? "", /no progress/);
  assert.ok(!isWhole(report));
});

Deno.test("a second PUBACK for one message is refused", async () => {
  const report = await runAgainst({ ...HONEST, acksPerPublish: 2 }, ["--qos", "1"]);
  assert.ok(report.refused > 0);
  assert.ok(!isWhole(report));
});

Deno.test("a connection that the broker closes ends the run with the reason", async () => {
  const report = await runAgainst({ ...HONEST, hangUpAt: 50 }, []);
  assert.match(report.error ?? "", /publisher 0/);
  assert.ok(!isWhole(report));
});

Deno.test("planRoutes pairs by topic, and gives wildcard and shared subscribers everything", () => {
  const pairs = planRoutes(parseLoadOptions(["--pubs", "4", "--subs", "2", "--topics", "2"]));
  assert.deepEqual(pairs, [[true, false, true, false], [false, true, false, true]]);
  const wildcard = planRoutes(parseLoadOptions(["--pubs", "2", "--subs", "2", "--topics", "2", "--wildcard"]));
  assert.deepEqual(wildcard, [[true, true], [true, true]]);
  const shared = planRoutes(parseLoadOptions(["--pubs", "2", "--subs", "5", "--shared"]));
  assert.deepEqual(shared, [[true, true]]);
});
