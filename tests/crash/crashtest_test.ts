/**
 * The crash test on the real broker: a child that is killed with SIGKILL again and again while MQTT.js clients use it.
 *
 * The moments of the kills differ from run to run; the verdict may not. A broker that keeps nothing must be found out.
 */

import assert from "node:assert/strict";
import type { CrashtestReport } from "../../src/cli/crashtest/report.ts";
import { runToEnd } from "../cli/program.ts";

const SECONDS = "4";

async function crashtest(
  ...flags: readonly string[]
): Promise<{ code: number; report: CrashtestReport; stderr: string }> {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_crash_" });
  try {
    const args = ["crashtest", "--dir", directory, "--seconds", SECONDS, "--clients", "3", "--json", ...flags];
    const { code, stdout, stderr } = await runToEnd(args, { permissions: ["-A"] });
    assert.notEqual(stdout, "", stderr);
    return { code, report: JSON.parse(stdout), stderr };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

for (const syncMode of ["immediate", "batch", "periodic"]) {
  Deno.test(`kill -9 takes nothing that was acknowledged with sync-mode ${syncMode}`, async () => {
    const { code, report, stderr } = await crashtest("--sync-mode", syncMode);
    assert.deepEqual(report.faults, {}, JSON.stringify(report, undefined, 2));
    assert.equal(code, 0, stderr);
    assert.ok(report.kills > 0 && report.acknowledged > 0 && report.delivered >= report.acknowledged);
  });
}

Deno.test("the crash test finds out a broker that keeps nothing", async () => {
  const { code, report, stderr } = await crashtest("--storage", "memory");
  assert.equal(code, 1, stderr);
  assert.equal(report.isProven, false);
  assert.ok((report.faults.session_lost ?? 0) > 0 && report.lost > 0, JSON.stringify(report, undefined, 2));
});

Deno.test("the crash test refuses a directory that it did not make, with exit code 2", async () => {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_crash_" });
  try {
    await Deno.writeTextFile(`${directory}/precious`, "data");
    const { code, stderr } = await runToEnd(["crashtest", "--dir", directory], { permissions: ["-A"] });
    assert.match(stderr, /is not empty and was not made by a crash test/);
    assert.equal(code, 2);
    assert.equal(await Deno.readTextFile(`${directory}/precious`), "data");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
