/**
 * Goal: a Shared Subscription loses no acknowledged message while any of its members has room, and with
 * `mqtt.queue-full: reject` a publisher is refused when none has. [MQTT-4.8.2]
 *
 * Method: a world in memory with queues of ten messages and windows of one; members are away, full or do not acknowledge.
 * What was acknowledged has to come to somebody, once; what was dropped is counted, and has to be nothing.
 */
import assert from "node:assert/strict";
import type { SessionLimits } from "../../../src/session/session_limits.ts";
import { scenario, type World } from "../../broker/harness.ts";
import type { TestClient } from "../../broker/test_client.ts";

const FILTER = "$share/group/t";
const QUEUED_MAX = 10;
const POLICIES = ["drop-oldest", "drop-newest", "reject"] as const;

function limitsOf(queueFull: SessionLimits["queueFull"]): { readonly limits: Partial<SessionLimits> } {
  return { limits: { queuedMax: QUEUED_MAX, queueFull, inflightMax: 1 } };
}

function member(world: World, clientId: string): TestClient {
  const client = world.durable(clientId);
  client.subscribe(1, FILTER, 1);
  client.read();
  return client;
}

/** Publishes numbered messages; returns those that were acknowledged. `between` runs after each. */
function publish(world: World, topic: string, count: number, between: () => void = () => {}): string[] {
  const publisher = world.client("publisher");
  const acknowledged: string[] = [];
  for (let number = 1; number <= count; number++) {
    publisher.publish(topic, String(number), { qos: 1, messageId: number });
    const [answer] = publisher.read();
    assert.equal(answer?.cmd, "puback");
    if ((answer.reasonCode ?? 0) < 0x80) acknowledged.push(String(number));
    between();
  }
  publisher.lose();
  return acknowledged;
}

/** Takes and acknowledges everything that comes to a client. */
function drain(client: TestClient): string[] {
  const payloads: string[] = [];
  for (let packets = client.read(); packets.length > 0; packets = client.read()) {
    for (const { cmd, payload, messageId } of packets) {
      if (cmd !== "publish") continue;
      payloads.push(String(payload));
      client.puback(messageId!);
    }
  }
  return payloads;
}

function dropped(world: World): unknown {
  return Object.fromEntries(Object.entries(world.counters.messagesDropped).filter(([, count]) => count !== 0));
}

function sorted(payloads: readonly string[]): string[] {
  return payloads.toSorted((a, b) => Number(a) - Number(b));
}

for (const policy of POLICIES) {
  Deno.test(
    `a member of a group that comes online gets all that waits with absent ones, however much, ${policy}`,
    scenario(limitsOf(policy), (world) => {
      for (const clientId of ["a", "b"]) member(world, clientId).lose();
      const acknowledged = publish(world, "t", 2 * QUEUED_MAX);
      assert.equal(acknowledged.length, 2 * QUEUED_MAX, "there is room for all of them");
      const back = world.durable("a");
      assert.deepEqual(sorted(drain(back)), acknowledged);
      assert.deepEqual(dropped(world), {});
    }),
  );

  Deno.test(
    `a member of a group that does not acknowledge costs the group nothing while another does, ${policy}`,
    scenario(limitsOf(policy), (world) => {
      const stuck = member(world, "stuck");
      const good = member(world, "good");
      const got: string[] = [];
      const acknowledged = publish(world, "t", 6 * QUEUED_MAX, () => got.push(...drain(good)));
      assert.equal(acknowledged.length, 6 * QUEUED_MAX, "the other one always has room");
      // What was given to the one that is stuck comes when it goes on, or goes.
      got.push(...drain(stuck), ...drain(good));
      assert.deepEqual(sorted(got), acknowledged);
      assert.deepEqual(dropped(world), {});
    }),
  );

  Deno.test(
    `a message for a group waits with the absent member that has room, ${policy}`,
    scenario(limitsOf(policy), (world) => {
      const full = member(world, "full");
      full.subscribe(2, "fill", 1);
      full.read();
      full.lose();
      member(world, "empty").lose();
      assert.equal(publish(world, "fill", QUEUED_MAX).length, QUEUED_MAX);
      const acknowledged = publish(world, "t", QUEUED_MAX - 2);
      assert.equal(acknowledged.length, QUEUED_MAX - 2);
      assert.deepEqual(dropped(world), {});
      assert.deepEqual(sorted(drain(world.durable("empty"))), acknowledged);
    }),
  );
}

Deno.test(
  "a publisher is refused when no member of a group has room, and nothing acknowledged is dropped",
  scenario(limitsOf("reject"), (world) => {
    for (const clientId of ["a", "b"]) member(world, clientId).lose();
    const acknowledged = publish(world, "t", 3 * QUEUED_MAX);
    assert.equal(acknowledged.length, 2 * QUEUED_MAX);
    assert.deepEqual(dropped(world), { queue_full_rejected: QUEUED_MAX });
    assert.deepEqual(sorted(drain(world.durable("a"))), acknowledged);
  }),
);

Deno.test(
  "room in a group is promised once, also to messages that wait for the same commit",
  scenario(limitsOf("reject"), (world) => {
    member(world, "a").lose();
    world.store.isSlow = true;
    const publisher = world.open().sendConnect({ clientId: "publisher" });
    world.commit();
    publisher.read();
    for (let number = 1; number <= QUEUED_MAX + 2; number++) {
      publisher.publish("t", String(number), { qos: 1, messageId: number });
    }
    world.commit();
    const codes = publisher.read().map(({ reasonCode }) => reasonCode ?? 0);
    assert.deepEqual(codes.filter((code) => code === 0).length, QUEUED_MAX);
    assert.deepEqual(codes.filter((code) => code === 0x97).length, 2);
    assert.deepEqual(dropped(world), { queue_full_rejected: 2 });
  }),
);
