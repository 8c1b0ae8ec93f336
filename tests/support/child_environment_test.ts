import assert from "node:assert/strict";
import { runToEnd } from "../cli/program.ts";
import { Broker } from "./broker.ts";

Deno.test("a broker under test sees no PROMPTMQ_ variable of the test run, only those it is given", async () => {
  const name = "PROMPTMQ_TEST_ENVIRONMENT";
  Deno.env.set(name, "1");
  try {
    await using broker = await Broker.start({ env: { PROMPTMQ_LOG_LEVEL: "debug" } });
    assert.equal((await broker.stop()).code, 0);
    assert.deepEqual(await runToEnd(["config", "check"], { env: { PROMPTMQ_LOG_LEVEL: "debug" } }), {
      code: 0,
      stdout: "configuration OK (no file, 1 environment variable)\n",
      stderr: "",
    });
    const told = await runToEnd(["config", "check"], { env: { [name]: "1" } });
    assert.match(told.stderr, /^PROMPTMQ_TEST_ENVIRONMENT: unknown environment variable/);
    assert.equal(told.code, 78);
  } finally {
    Deno.env.delete(name);
  }
});
