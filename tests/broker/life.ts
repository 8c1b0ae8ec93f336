/**
 * A random life of a broker in virtual time: clients connect, publish, acknowledge, stall, are lost and taken over, in any
 * order, on a store that commits when it likes; and, where the test wants it, the broker is killed and starts again.
 *
 * Checked at every step: the gauges say what the Sessions say, and no packet comes before CONNACK. Checked when everyone
 * has come back and said all: durable subscribers have every message, QoS 2 exactly once, in order; a shared group of
 * durable members has every message between its members. When all are gone, nothing is left.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { World } from "./harness.ts";
import { ModelClient } from "./model_client.ts";

const PUBLISHERS = 2;
const CLIENTS = 8;

/** Something that happens. */
export type Step =
  | { readonly kind: "publish"; readonly who: number; readonly qos: 1 | 2; readonly count: number }
  | { readonly kind: "act"; readonly who: number; readonly count: number }
  | { readonly kind: "connect" | "lose" | "disconnect" | "stall" | "flow"; readonly who: number }
  | { readonly kind: "subscribe" | "unsubscribe"; readonly filter: string; readonly qos: 0 | 1 | 2 }
  | { readonly kind: "settle" | "commit" | "slow" | "fast" | "segment" | "kill" }
  | { readonly kind: "pass"; readonly milliseconds: number };

const who = fc.nat(CLIENTS - 1);
const orderly: fc.WeightedArbitrary<Step>[] = [
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("publish" as const),
      who: fc.nat(PUBLISHERS - 1),
      qos: fc.constantFrom(1 as const, 2 as const),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("act" as const), who, count: fc.integer({ min: 1, max: 20 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("connect" as const, "lose" as const, "disconnect" as const),
      who,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("stall" as const, "flow" as const), who }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("subscribe" as const, "unsubscribe" as const),
      filter: fc.constantFrom("t/#", "t/0", "+/1", "$share/other/t/+", "will/+"),
      qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom("settle" as const, "commit" as const, "slow" as const, "fast" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), milliseconds: fc.integer({ min: 100, max: 40_000 }) }),
  },
];

/** Life without deaths. */
export const step: fc.Arbitrary<Step> = fc.oneof(...orderly);

/** Life of a broker that is killed now and then. */
export const stepOrKill: fc.Arbitrary<Step> = fc.oneof(...orderly, {
  weight: 2,
  arbitrary: fc.record({ kind: fc.constantFrom("kill" as const, "segment" as const) }),
});

/** See the head of this file. */
export class Life {
  readonly world = new World({ limits: { inflightMax: 5, outboundBytesMax: 300 } });
  readonly publishers: ModelClient[] = [];
  /** Two durable subscribers with QoS 1 and 2. */
  readonly subscribers: readonly [ModelClient, ModelClient];
  /** Two durable members of one shared group. */
  readonly members: readonly [ModelClient, ModelClient];
  /** Clients that subscribe to this and that, and have a Will. */
  readonly others: ModelClient[] = [];
  readonly clients: readonly ModelClient[];
  readonly published: { readonly payload: string; readonly qos: 1 | 2 }[] = [];

  constructor() {
    const durable = (clientId: string, receiveMaximum = 3) =>
      new ModelClient(this.world, clientId, { properties: { receiveMaximum } });
    for (let index = 0; index < PUBLISHERS; index++) this.publishers.push(durable(`publisher-${index}`));
    this.subscribers = [durable("qos-1"), durable("qos-2", 1)];
    this.members = [durable("member-0"), durable("member-1", 2)];
    for (let index = 0; index < 2; index++) {
      const properties = { willDelayInterval: index * 10 };
      const will = { topic: `will/${index}`, payload: "gone", qos: 1 as const, retain: index === 0, properties };
      this.others.push(new ModelClient(this.world, `other-${index}`, { will }));
    }
    this.clients = [...this.publishers, ...this.subscribers, ...this.members, ...this.others];
    for (const client of this.clients) client.connect();
    this.#actAll();
    this.subscribers[0].subscribe("t/+", 1);
    this.subscribers[1].subscribe("t/+", 2);
    for (const member of this.members) member.subscribe("$share/group/t/+", 2);
    this.#actAll();
  }

  run(steps: readonly Step[]): void {
    for (const each of steps) {
      this.#do(each);
      this.#checkGauges();
    }
  }

  #do(each: Step): void {
    const { world } = this;
    switch (each.kind) {
      case "publish":
        for (let i = 0; i < each.count; i++) this.#publish(each.who, each.qos);
        return;
      case "act":
        return this.clients[each.who]!.act(each.count);
      case "connect":
        return this.clients[each.who]!.connect();
      case "lose":
        return this.clients[each.who]!.lose();
      case "disconnect":
        return this.clients[each.who]!.disconnect();
      case "stall":
      case "flow":
        return this.clients[each.who]!.setStalled(each.kind === "stall");
      case "subscribe":
        return this.others[each.qos % 2]!.subscribe(each.filter, each.qos);
      case "unsubscribe":
        return this.others[each.qos % 2]!.unsubscribe(each.filter);
      case "settle":
        return world.settle();
      case "commit":
        return world.commit();
      case "segment":
        return world.store.beginSegment();
      case "kill": {
        const { isSlow } = world.store;
        world.restart("written");
        world.store.isSlow = isSlow;
        return;
      }
      case "slow":
      case "fast":
        world.store.isSlow = each.kind === "slow";
        return;
      case "pass":
        return world.pass(each.milliseconds);
    }
  }

  #publish(publisher: number, qos: 1 | 2): void {
    const payload = `${publisher}:${this.published.length}`;
    this.published.push({ payload, qos });
    this.publishers[publisher]!.publish(`t/${publisher}`, payload, qos);
  }

  #checkGauges(): void {
    const { counters, core } = this.world;
    const sessions = [...core.sessions.sessions.values()];
    const sum = (count: (session: typeof sessions[number]) => number) =>
      sessions.reduce((total, session) => total + count(session), 0);
    assert.deepEqual({
      online: counters.sessionsOnline,
      offline: counters.sessionsOffline,
      inflight: counters.messagesInflight,
      queued: counters.messagesQueued,
      subscriptions: counters.subscriptions,
    }, {
      online: sum((session) => session.isOnline ? 1 : 0),
      offline: sum((session) => session.isOnline ? 0 : 1),
      inflight: sum((session) => session.outbox.inflightCount),
      queued: sum((session) => session.outbox.queuedCount),
      subscriptions: sum((session) => session.subscriptions.size),
    });
  }

  #actAll(): void {
    for (const client of this.clients) client.act(1_000);
    this.world.settle();
  }

  /** Everyone comes back and goes on until all is said. */
  comeToRest(): void {
    this.world.store.isSlow = false;
    this.world.commit();
    for (const client of this.clients) {
      client.setStalled(false);
      client.connect();
    }
    for (let round = 0; !this.#isAtRest(); round++) {
      assert(round < 1_000, "all messages are acknowledged in the end");
      this.#actAll();
    }
  }

  #isAtRest(): boolean {
    for (const client of this.clients) client.listen();
    return this.clients.every((client) => client.isAtRest) && this.world.counters.messagesQueued === 0 &&
      this.world.counters.messagesInflight === 0;
  }

  checkDeliveries(): void {
    const [atLeastOnce, exactlyOnce] = this.subscribers.map((client) => countOf(client.received));
    const shared = countOf(this.members.flatMap((client) => client.received));
    for (const { payload, qos } of this.published) {
      assert((atLeastOnce!.get(payload) ?? 0) >= 1, `QoS 1 subscriber has ${payload}`);
      if (qos === 2) {
        assert.equal(exactlyOnce!.get(payload), 1, `QoS 2 subscriber has ${payload} once`);
        assert.equal(shared.get(payload), 1, `the shared group has ${payload} once`);
      } else {
        assert((exactlyOnce!.get(payload) ?? 0) >= 1, `QoS 2 subscriber has ${payload}`);
        assert((shared.get(payload) ?? 0) >= 1, `the shared group has ${payload}`);
      }
    }
    const dropped = Object.entries(this.world.counters.messagesDropped).filter(([, count]) => count > 0);
    // QoS 0 to the others, when their network is full, and members of a group where nobody can wait.
    assert.deepEqual(dropped.filter(([reason]) => reason !== "outbound_full" && reason !== "no_member"), []);
  }

  /** Per publisher and QoS, the first time of each message comes in the order of publication. */
  checkOrder(): void {
    for (const { received } of this.subscribers) {
      for (const qos of [1, 2]) {
        for (let publisher = 0; publisher < PUBLISHERS; publisher++) {
          const wanted = this.published.filter(({ payload, qos: own }) =>
            own === qos && payload.startsWith(`${publisher}:`)
          ).map(({ payload }) => payload);
          const known = new Set(wanted);
          assert.deepEqual([...new Set(received.filter((payload) => known.has(payload)))], wanted);
        }
      }
    }
  }
}

function countOf(payloads: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const payload of payloads) counts.set(payload, (counts.get(payload) ?? 0) + 1);
  return counts;
}
