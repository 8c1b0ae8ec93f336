/**
 * Two state machines against each other. Goal: whatever gets lost, QoS 1 arrives at least once, QoS 2 exactly once, all
 * in order, within the client's quota, and nothing stays held when all is done. [MQTT 5.0, 4.3, 4.4, 4.6, 4.9]
 *
 * Method: a Session sends to a model client, written from the text of the specification and sharing nothing with the
 * Session. Random steps publish, let the client read some of what was written, send some of its answers, and cut the
 * connection, with which everything unread and unsent is lost. At the end the connection stays and all must settle.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { IPublishPacket, Packet } from "mqtt-packet";
import type { QoS } from "../../src/protocol/packets.ts";
import { SessionRig } from "./session_rig.ts";

/** An answer of the client: packet name, Packet Identifier, and whether PUBREC refuses. */
type Answer = readonly [name: "puback" | "pubrec" | "pubcomp", packetId: number, isRefusal: boolean];

/** What the client keeps between connections is its Session State; the rest goes with the connection. */
class ModelClient {
  /** Numbers of the messages handed to the application, in order of arrival, QoS 1 duplicates included. */
  readonly received: number[] = [];
  /** Numbers in the order in which they were seen for the first time, refused ones included. */
  readonly firstSeen: number[] = [];
  /** QoS 2 messages between PUBLISH and PUBREL, by Packet Identifier. */
  readonly #held = new Map<number, number>();
  #seen = new Set<number>();
  #unread: Packet[] = [];
  #answers: Answer[] = [];
  /** PUBLISH packets of this connection, not completed from the sender's point of view. */
  #open = new Set<number>();

  constructor(readonly receiveMaximum: () => number) {}

  connectionLost(): void {
    this.#unread = [];
    this.#answers = [];
    this.#open.clear();
  }

  /** Packets arrive in the client's network buffer; here the quota is checked. [MQTT-3.3.4-9] */
  arrive(packets: readonly Packet[]): void {
    for (const packet of packets) {
      this.#unread.push(packet);
      if (packet.cmd !== "publish") continue;
      assert(!this.#open.has(packet.messageId!), `Packet Identifier ${packet.messageId} is in use`);
      this.#open.add(packet.messageId!);
      assert(this.#open.size <= this.receiveMaximum(), "above the Receive Maximum");
    }
  }

  /** Handles up to `count` packets. */
  read(count: number): void {
    for (const packet of this.#unread.splice(0, count)) {
      if (packet.cmd === "publish") this.#handlePublish(packet);
      else {
        assert.equal(packet.cmd, "pubrel");
        this.#held.delete(packet.messageId!);
        this.#answers.push(["pubcomp", packet.messageId!, false]);
      }
    }
  }

  /** Takes up to `count` answers that leave now. */
  takeAnswers(count: number): Answer[] {
    const leaving = this.#answers.splice(0, count);
    for (const [name, packetId, isRefusal] of leaving) {
      if (name !== "pubrec" || isRefusal) this.#open.delete(packetId);
    }
    return leaving;
  }

  #handlePublish(packet: IPublishPacket): void {
    const packetId = packet.messageId!;
    const number = Number(packet.payload.toString());
    const isFirst = !this.#seen.has(number);
    if (isFirst) this.firstSeen.push(number);
    this.#seen.add(number);
    if (packet.qos === 1) {
      assert(isFirst || packet.dup, "sent again without DUP");
      this.received.push(number);
      this.#answers.push(["puback", packetId, false]);
    } else if (isRefused(number)) {
      this.#answers.push(["pubrec", packetId, true]);
    } else {
      const held = this.#held.get(packetId);
      assert(held === undefined || (held === number && packet.dup), "Packet Identifier used twice");
      if (held === undefined) this.received.push(number);
      this.#held.set(packetId, number);
      this.#answers.push(["pubrec", packetId, false]);
    }
  }
}

/** The model client answers these at QoS 2 with an error. */
function isRefused(number: number): boolean {
  return number % 7 === 3;
}

const step = fc.oneof(
  {
    arbitrary: fc.record({ publish: fc.array(fc.constantFrom<QoS>(1, 2), { minLength: 1, maxLength: 6 }) }),
    weight: 5,
  },
  { arbitrary: fc.record({ read: fc.nat(6) }), weight: 5 },
  { arbitrary: fc.record({ answer: fc.nat(6) }), weight: 5 },
  { arbitrary: fc.record({ connect: fc.constantFrom(1, 2, 3, 10, 65_535) }), weight: 2 },
);

/** A Session and a model client with a connection between them, or none. */
class Pair {
  readonly rig: SessionRig;
  readonly client: ModelClient;
  readonly published: QoS[] = [];
  isConnected = false;
  #receiveMaximum = 0;

  constructor(inflightMax: number, outboundBytesMax: number) {
    this.rig = new SessionRig({ inflightMax, outboundBytesMax });
    this.client = new ModelClient(() => Math.min(this.#receiveMaximum, inflightMax));
  }

  publish(qos: QoS): void {
    assert.equal(this.rig.publish(`${this.published.length}`, { qos }), true);
    this.published.push(qos);
  }

  /** Connects when away, else cuts the connection. */
  toggle(receiveMaximum: number): void {
    if (this.isConnected) {
      this.rig.disconnect();
      this.client.connectionLost();
    } else {
      this.#receiveMaximum = receiveMaximum;
      this.rig.connect({ receiveMaximum });
    }
    this.isConnected = !this.isConnected;
  }

  /** What was written arrives, and the Session goes on as a broker lets it when a write is done. */
  transmit(): void {
    for (let packets = this.rig.sink.takePackets(); packets.length > 0; packets = this.rig.sink.takePackets()) {
      this.client.arrive(packets);
      this.rig.session.outbox.pump(this.rig.nowMs);
    }
  }

  answer(count: number): void {
    for (const [name, packetId, isRefusal] of this.client.takeAnswers(count)) {
      if (name === "pubrec") this.rig.pubrec(packetId, isRefusal ? 0x83 : 0);
      else this.rig[name](packetId);
    }
  }

  /** The connection stays until nothing is left to say. */
  settle(): void {
    if (!this.isConnected) this.toggle(65_535);
    const { session } = this.rig;
    // Every round completes a message at least every other time.
    for (let round = 0; session.outbox.inflightCount + session.outbox.queuedCount > 0; round++) {
      assert(round < 4 * this.published.length + 4, "does not settle");
      this.transmit();
      this.client.read(Infinity);
      this.answer(Infinity);
    }
  }
}

Deno.test("Session delivers QoS 1 at least once and QoS 2 exactly once, in order and within the quota, through any loss [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.4-9]", () => {
  const inflightMax = fc.constantFrom(1, 2, 5, 20);
  const outboundBytesMax = fc.constantFrom(0, 20, 1_000_000);
  const steps = fc.array(step, { maxLength: 120, size: "max" });
  fc.assert(
    fc.property(inflightMax, outboundBytesMax, steps, (window, outbound, script) => {
      const pair = new Pair(window, outbound);
      for (const each of script) {
        if ("publish" in each) each.publish.forEach((qos) => pair.publish(qos));
        else if ("connect" in each) pair.toggle(each.connect);
        else if ("read" in each) pair.client.read(each.read);
        else pair.answer(each.answer);
        if (pair.isConnected) pair.transmit();
      }
      pair.settle();
      const numbers = [...pair.published.keys()];
      assert.deepEqual(pair.client.firstSeen, numbers, "not everything arrived, or out of order");
      const isExpected = (number: number) => pair.published[number] === 2 && !isRefused(number);
      assert.deepEqual(
        pair.client.received.filter((number) => pair.published[number] === 2),
        numbers.filter(isExpected),
      );
      pair.rig.assertHolds({});
      pair.rig.assertDropped({});
    }),
    { numRuns: 150 },
  );
});
