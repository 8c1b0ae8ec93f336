/**
 * Rates on a whole connection: who waits, who is disconnected, and that nobody is cut for a pause the broker made.
 */
import assert from "node:assert/strict";
import type { TrafficSettings } from "../../../src/listeners/limits/traffic_limits.ts";
import { brokerFamilies } from "../../../src/metrics/broker_families.ts";
import { renderFamilies } from "../../../src/metrics/prometheus.ts";
import { scenario } from "../../broker/harness.ts";
import { publishPacket } from "../../broker/test_client.ts";

function limits(changes: Partial<TrafficSettings>): { readonly limits: TrafficSettings } {
  return { limits: { messageRate: 0, byteRate: 0, isWait: true, ...changes } };
}

function publications(count: number, first = 1) {
  return Array.from({ length: count }, (_, index) => publishPacket("t", `${first + index}`));
}

Deno.test(
  "above limits.message-rate a client is read from more slowly, and nothing is lost",
  scenario({ settings: limits({ messageRate: 4 }) }, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "t", 0).heard();
    const client = world.client("c");
    client.sendTogether(...publications(8), { cmd: "pingreq" });
    const heard = () => watcher.heard().map((line) => line.split("'")[1]);
    assert.deepEqual(heard(), ["1", "2", "3", "4", "5"]);
    assert.equal(client.connection.isPaused, true);
    world.pass(200);
    assert.deepEqual(heard(), []);
    world.pass(100);
    assert.deepEqual(heard(), ["6"]);
    world.pass(500);
    assert.deepEqual(heard(), ["7", "8"]);
    assert.deepEqual(client.heard(), []);
    world.pass(300);
    assert.deepEqual(client.heard(), ["pingresp"]);
    assert.deepEqual(world.counters.clientsLimited.entries(), [["message_rate_wait", 4]]);
  }),
);

Deno.test(
  "a client that only receives is not limited by its message rate, nor by the end of a pause",
  scenario({ settings: limits({ messageRate: 1 }) }, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "t", 1).heard();
    for (let number = 1; number <= 6; number++) {
      world.client(`p${number}`).publish("t", `${number}`, { qos: 1, messageId: 1 });
      assert.deepEqual(watcher.heard(), [`publish t '${number}' q1 #${number}`]);
      watcher.puback(number);
    }
    assert.deepEqual(world.counters.clientsLimited.entries(), []);
  }),
);

Deno.test(
  "with rate-exceeded disconnect a v5 client hears 0x96 and its Will Message is sent, a v3 client is closed",
  scenario({ settings: limits({ messageRate: 2, isWait: false }) }, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, [{ topic: "t", qos: 0 }, { topic: "will", qos: 0 }]).heard();
    const v5 = world.client("v5", { will: { topic: "will", payload: "gone" } as never });
    v5.sendTogether(...publications(4));
    assert.deepEqual(v5.heard(), ["disconnect 0x96", "closed"]);
    assert.deepEqual(watcher.heard(), ["publish t '1' q0", "publish t '2' q0", "publish will 'gone' q0"]);
    const v3 = world.client("v3", { protocolVersion: 4 });
    v3.sendTogether(...publications(4));
    assert.deepEqual(v3.heard(), ["closed"]);
    assert.deepEqual(world.counters.clientsLimited.entries(), [["message_rate_disconnect", 2]]);
    assert.deepEqual(world.counters.protocolErrors.entries(), [], "too much is not a protocol error");
  }),
);

Deno.test(
  "above limits.byte-rate every packet makes a client wait, and it is not cut for the silence meanwhile",
  scenario({ settings: limits({ byteRate: 100 }) }, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "t", 0).heard();
    const client = world.client("c", { keepalive: 2 });
    // A hundred seconds' worth, of which one was there; one and a half Keep Alive are three.
    client.publish("t", "x".repeat(10_000));
    assert.equal(watcher.heard().length, 1);
    client.send({ cmd: "pingreq" });
    world.pass(98_500);
    assert.deepEqual(client.heard(), []);
    world.pass(1_000);
    assert.deepEqual(client.heard(), ["pingresp"]);
    world.pass(2_500);
    assert.deepEqual(client.heard(), []);
    world.pass(500);
    assert.deepEqual(client.heard(), ["disconnect 0x8d", "closed"]);
  }),
);

Deno.test(
  "the Keep Alive begins anew when a pause ends, also where nothing was left to read",
  scenario({ settings: limits({ byteRate: 100 }) }, (world) => {
    const client = world.client("c", { keepalive: 2 });
    client.publish("t", "x".repeat(1_100));
    world.pass(10_200);
    assert.equal(client.connection.isPaused, false);
    assert.deepEqual(client.heard(), []);
    world.pass(2_700);
    assert.deepEqual(client.send({ cmd: "pingreq" }).heard(), ["pingresp"]);
  }),
);

Deno.test(
  "a client that waits may be taken over or lost, and is not resumed then",
  scenario({ settings: limits({ messageRate: 1 }) }, (world) => {
    const [taken, lost] = [world.client("taken"), world.client("lost")];
    for (const client of [taken, lost]) client.sendTogether(...publications(5)).heard();
    assert.deepEqual([taken.unreadBytes, lost.unreadBytes], [21, 21]);
    world.client("taken");
    assert.deepEqual(taken.heard(), ["disconnect 0x8e", "closed"]);
    lost.lose();
    world.pass(10_000);
    assert.equal(lost.unreadBytes, 21);
  }),
);

Deno.test(
  "limits that a reload sets hold for connections that are open",
  () => {
    const live = limits({});
    scenario({ settings: live }, (world) => {
      live.limits.messageRate = 0;
      const client = world.client("c");
      client.sendTogether(...publications(100));
      assert.equal(client.connection.isPaused, false);
      live.limits.messageRate = 2;
      client.sendTogether(...publications(3));
      assert.equal(client.connection.isPaused, true);
      live.limits.messageRate = 0;
      world.pass(1_000);
      assert.equal(client.connection.isPaused, false);
      client.sendTogether(...publications(100));
      assert.equal(client.connection.isPaused, false);
    })();
  },
);

Deno.test(
  "who was limited, and how, is exposed as promptmq_clients_limited_total",
  scenario({ settings: limits({ messageRate: 1 }) }, (world) => {
    world.client("c").sendTogether(...publications(2));
    const reading = { memoryBytes: 0, uptimeSeconds: 0, messagesPerSecond: 0 };
    const exposition = renderFamilies(brokerFamilies(world.counters, reading));
    assert.match(exposition, /^promptmq_clients_limited_total\{reason="message_rate_wait"\} 1$/m);
  }),
);
