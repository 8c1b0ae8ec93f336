/**
 * What a listener hears, in which order, and what is true when it hears it.
 */
import assert from "node:assert/strict";
import type { BrokerEvents } from "../../src/broker/broker_events.ts";
import type { ConnectingClient } from "../../src/broker/connecting_client.ts";
import type { DropReason } from "../../src/metrics/counters.ts";
import type { ConnectPacket, QoS } from "../../src/protocol/packets.ts";
import type { Session } from "../../src/session/session.ts";
import { scenario, type World } from "./harness.ts";

/** Writes down what it hears, and asserts that the state has changed by then. */
class Scribe implements BrokerEvents {
  readonly #lines: string[] = [];

  constructor(readonly world: World) {
    world.core.listen(this);
  }

  /** What was heard since the last call, once the world is at rest. */
  take(): string[] {
    this.world.settle();
    return this.#lines.splice(0);
  }

  refused(client: ConnectingClient, packet: ConnectPacket, reason: string): void {
    this.#lines.push(`refused ${packet.clientId} from ${client.remoteAddress}: ${reason}`);
  }

  opened(session: Session): void {
    assert.equal(this.#current(session.clientId), session);
    assert.equal(session.isOnline, false);
    this.#lines.push(`opened ${session.clientId}${session.username === undefined ? "" : ` of ${session.username}`}`);
  }

  connected(session: Session): void {
    assert.equal(session.isOnline, true);
    this.#lines.push(`connected ${session.clientId} from ${session.sink!.remoteAddress}`);
  }

  disconnected(session: Session, reasonCode: number | undefined): void {
    assert.equal(session.isOnline, false);
    this.#lines.push(
      `disconnected ${session.clientId} ${reasonCode === undefined ? "-" : `0x${reasonCode.toString(16)}`}`,
    );
  }

  ended(session: Session): void {
    assert.equal(session.isEnded, true);
    assert.notEqual(this.#current(session.clientId), session);
    this.#lines.push(`ended ${session.clientId}`);
  }

  subscribed(session: Session, filter: string, qos: QoS): void {
    assert.equal(session.subscriptions.get(filter)?.qos, qos);
    this.#lines.push(`subscribed ${session.clientId} ${filter} q${qos}`);
  }

  unsubscribed(session: Session, filter: string): void {
    assert.equal(session.subscriptions.has(filter), false);
    this.#lines.push(`unsubscribed ${session.clientId} ${filter}`);
  }

  dropped(reason: DropReason, clientId: string): void {
    this.#lines.push(`dropped ${reason} of '${clientId}'`);
  }

  #current(clientId: string): Session | undefined {
    return this.world.core.sessions.sessions.get(clientId);
  }
}

Deno.test(
  "broker events tell the life of a Session in order",
  scenario({}, (world) => {
    const scribe = new Scribe(world);
    const first = world.durable("c", { username: "ann" });
    assert.deepEqual(scribe.take(), ["opened c of ann", "connected c from 127.0.0.1"]);
    first.subscribe(1, "a", 1).subscribe(2, "a", 2).subscribe(3, "$share/g/b", 1).unsubscribe(4, "a", "nothing");
    assert.deepEqual(scribe.take(), [
      "subscribed c a q1",
      "subscribed c a q2",
      "subscribed c $share/g/b q1",
      "unsubscribed c a",
    ]);
    world.durable("c", { username: "ann" });
    assert.deepEqual(scribe.take(), ["disconnected c 0x8e", "connected c from 127.0.0.1"]);
    const last = world.client("c", { username: "ann" });
    assert.deepEqual(scribe.take(), [
      "disconnected c 0x8e",
      "ended c",
      "opened c of ann",
      "connected c from 127.0.0.1",
    ]);
    last.lose();
    assert.deepEqual(scribe.take(), ["disconnected c -", "ended c"]);
  }),
);

Deno.test(
  "broker events tell how a connection ended, whoever ended it and in whatever version",
  scenario({}, (world) => {
    const scribe = new Scribe(world);
    const reasonOf = (end: (world: World) => void, protocolVersion: 4 | 5 = 5) => {
      world.client("c", { keepalive: 10, protocolVersion });
      scribe.take();
      end(world);
      return scribe.take();
    };
    const client = (of: World) => of.clients.at(-1)!;
    const after = (line: string) => [line, "ended c"];
    const goodbye = { cmd: "disconnect" } as const;
    assert.deepEqual(reasonOf((of) => client(of).send(goodbye)), after("disconnected c 0x0"));
    assert.deepEqual(reasonOf((of) => client(of).send(goodbye), 4), after("disconnected c 0x0"));
    const withWill = { ...goodbye, reasonCode: 4 };
    assert.deepEqual(reasonOf((of) => client(of).send(withWill)), after("disconnected c 0x4"));
    assert.deepEqual(reasonOf((of) => client(of).lose()), after("disconnected c -"));
    assert.deepEqual(reasonOf((of) => of.pass(16_000)), after("disconnected c 0x8d"));
    assert.deepEqual(reasonOf((of) => of.pass(16_000), 4), after("disconnected c 0x8d"));
    assert.deepEqual(reasonOf((of) => client(of).sendConnect()), after("disconnected c 0x82"));
    assert.deepEqual(reasonOf((of) => of.core.sessions.drain()), after("disconnected c 0x8b"));
  }),
);

Deno.test(
  "broker events tell a refused CONNECT with its reason, and a Session that was made for nothing ends unconnected",
  scenario({ anonymous: "false" }, (world) => {
    const scribe = new Scribe(world);
    assert.equal(world.open().connect({ clientId: "c" }), "connack 0x87");
    assert.deepEqual(scribe.take(), ["refused c from 127.0.0.1: anonymous"]);
    world.store.isSlow = true;
    const properties = { sessionExpiryInterval: 60 };
    const gone = world.open().sendConnect({ clientId: "gone", username: "ann", clean: false, properties });
    assert.deepEqual(scribe.take(), ["opened gone of ann"]);
    gone.lose();
    world.commit();
    assert.deepEqual(scribe.take(), ["ended gone"]);
  }),
);

Deno.test(
  "broker events tell every dropped message with its reason and its client, and the counters count the same",
  scenario({
    limits: { queuedMax: 1, queueFull: "drop-oldest" },
    permissions: ({ clientId }) => clientId === "c" ? { mayPublish: ({ name }) => name !== "forbidden" } : {},
  }, (world) => {
    const away = world.durable("away").subscribe(1, "t", 1);
    away.heard();
    away.lose();
    const small = world.client("small", { properties: { maximumPacketSize: 20 } }).subscribe(1, "large", 0);
    const member = world.client("member").subscribe(1, "$share/g/shared", 1);
    small.heard();
    member.heard();
    const publisher = world.client("c");
    const scribe = new Scribe(world);
    publisher.publish("forbidden", "x");
    publisher.publish("large", "x".repeat(30));
    for (const messageId of [1, 2]) publisher.publish("t", "x", { qos: 1, messageId });
    assert.deepEqual(scribe.take(), [
      "dropped not_authorized of 'c'",
      "dropped packet_too_large of 'small'",
      "dropped queue_full_oldest of 'away'",
    ]);
    world.store.isSlow = true;
    const expiring = { properties: { messageExpiryInterval: 1 } };
    for (const topic of ["t", "shared"]) publisher.publish(topic, "x", { qos: 1, messageId: 3, ...expiring });
    world.pass(2_000);
    world.commit();
    assert.deepEqual(scribe.take(), ["dropped expired of 'away'", "dropped expired of ''"]);
    world.store.isSlow = false;
    world.pass(3_600_000);
    assert.deepEqual(scribe.take(), ["dropped session_ended of 'away'", "ended away"]);
    assert.equal(world.counters.messagesDroppedTotal(), 6);
  }),
);

Deno.test(
  "broker events reach every listener, all of them, in the order in which the listeners came",
  scenario({ connectionsMax: 2, permissions: () => ({ mayPublish: () => false }) }, (world) => {
    const scribes = [1, 2, 3].map(() => new Scribe(world));
    const order: Scribe[] = [];
    for (const scribe of scribes) scribe.refused = () => order.push(scribe);
    const client = world.client("c").subscribe(1, "t", 0).unsubscribe(2, "t").publish("t", "x");
    client.heard();
    world.client("other").lose();
    world.client("second");
    assert.equal(world.open().connect({ clientId: "one too many" }), "connack 0x97");
    assert.deepEqual(order, scribes);
    const [first, ...others] = scribes.map((scribe) => scribe.take());
    assert.deepEqual(first, [
      "opened c",
      "connected c from 127.0.0.1",
      "subscribed c t q0",
      "unsubscribed c t",
      "dropped not_authorized of 'c'",
      "opened other",
      "connected other from 127.0.0.1",
      "disconnected other -",
      "ended other",
      "opened second",
      "connected second from 127.0.0.1",
    ]);
    assert.deepEqual(others, [first, first]);
  }),
);

Deno.test("broker events catch nothing: a listener that throws is a bug", () => {
  scenario({}, (world) => {
    const scribe = new Scribe(world);
    scribe.connected = () => {
      throw new Error("listener is broken");
    };
    assert.throws(() => world.open().sendConnect({ clientId: "c" }), /listener is broken/);
    scribe.connected = () => {};
  })();
});
