import assert from "node:assert/strict";
import { BROKERS, startBroker } from "../../bench/load/brokers.ts";

Deno.test("startBroker keeps PROMPTMQ_ variables of the bench from our broker", async () => {
  const [ours] = BROKERS;
  assert.equal(ours?.name, "promptmq");
  const name = "PROMPTMQ_TEST_ENVIRONMENT";
  Deno.env.set(name, "1");
  try {
    const broker = await startBroker(ours);
    assert.ok(broker.port > 0);
    await broker.stop();
  } finally {
    Deno.env.delete(name);
  }
});
