/**
 * The window of unacknowledged messages bounded in bytes: one large message goes alone, small ones go together, and all
 * arrive whatever happens to the connection.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { IPublishPacket, Packet } from "mqtt-packet";
import { InflightState, InflightWindow } from "../../src/session/inflight.ts";
import { limitsOf, SessionRig } from "./session_rig.ts";

/** Stored bytes of a message beside its payload, with the topic `t`. */
const OVERHEAD = (() => {
  const rig = new SessionRig();
  return rig.store.sizeOf(rig.store.append(rig.messageOf("")));
})();

/** A payload whose message is stored in so many bytes. */
function sized(bytes: number): string {
  return "x".repeat(bytes - OVERHEAD);
}

function idsOf(rig: SessionRig): (number | undefined)[] {
  return rig.sink.takePackets().filter((packet) => packet.cmd === "publish").map((packet) => packet.messageId);
}

Deno.test("messages up to inflightBytesMax are sent together, the rest wait for acknowledgements", () => {
  const rig = new SessionRig({ inflightBytesMax: 100 });
  rig.connect();
  for (const bytes of [40, 60, 10]) rig.publish(sized(bytes));
  assert.deepEqual(idsOf(rig), [1, 2]);
  rig.assertHolds({ queued: 1, inflight: 2 });
  rig.puback(1);
  assert.deepEqual(idsOf(rig), [3]);
});

Deno.test("a message above inflightBytesMax is sent alone", () => {
  const rig = new SessionRig({ inflightBytesMax: 100 });
  rig.connect();
  for (const bytes of [500, 10, 500]) rig.publish(sized(bytes));
  assert.deepEqual(idsOf(rig), [1]);
  rig.puback(1);
  assert.deepEqual(idsOf(rig), [2]);
  rig.puback(2);
  assert.deepEqual(idsOf(rig), [3]);
});

Deno.test("a QoS 2 message counts with its bytes until PUBCOMP, or until the client refuses it", () => {
  const rig = new SessionRig({ inflightBytesMax: 100 });
  rig.connect();
  for (const bytes of [100, 100, 100]) rig.publish(sized(bytes), { qos: 2 });
  rig.pubrec(1);
  assert.deepEqual(idsOf(rig), [1]);
  rig.pubcomp(1);
  assert.deepEqual(idsOf(rig), [2]);
  rig.pubrec(2, 0x83);
  assert.deepEqual(idsOf(rig), [3]);
});

Deno.test("what a new connection is sent again is bounded alike, and comes before what is queued", () => {
  const rig = new SessionRig({ inflightBytesMax: 100 });
  rig.connect();
  for (const bytes of [30, 30, 40, 20]) rig.publish(sized(bytes));
  assert.deepEqual(idsOf(rig), [1, 2, 3]);
  rig.disconnect();
  rig.limits.inflightBytesMax = 60;
  rig.connect();
  assert.deepEqual(idsOf(rig), [1, 2]);
  rig.puback(1);
  assert.deepEqual(idsOf(rig), []);
  rig.puback(2);
  assert.deepEqual(idsOf(rig), [3, 4]);
});

Deno.test("PUBREL of an earlier connection takes no bytes of the window", () => {
  const rig = new SessionRig({ inflightBytesMax: 100 });
  rig.connect();
  rig.publish(sized(100), { qos: 2 });
  rig.pubrec(1);
  rig.disconnect();
  rig.connect();
  rig.publish(sized(100));
  assert.deepEqual(rig.sink.takePackets().map((packet) => packet.cmd), ["pubrel", "publish"]);
});

Deno.test("QoS 0 is not bounded, and isQueueFullFor knows what would have to wait", () => {
  const rig = new SessionRig({ inflightBytesMax: 100, queuedMax: 1, queueFull: "reject" });
  rig.connect();
  rig.publish(sized(80));
  rig.publish(sized(80), { qos: 0 });
  assert.deepEqual(idsOf(rig).length, 2);
  assert.deepEqual([20, 21].map((bytes) => rig.session.outbox.isQueueFullFor(bytes)), [false, false]);
  rig.publish(sized(21));
  rig.assertHolds({ queued: 1, inflight: 1 });
  assert.equal(rig.session.outbox.isQueueFullFor(20), true);
});

Deno.test("without a bound no size is asked for, and one that is set holds for what is sent from then on", () => {
  const rig = new SessionRig();
  rig.connect();
  for (let number = 0; number < 3; number++) rig.publish(sized(1_000));
  assert.equal(rig.store.sizesAsked, 0);
  rig.limits.inflightBytesMax = 100;
  for (const bytes of [60, 50, 40]) rig.publish(sized(bytes));
  assert.deepEqual(idsOf(rig), [1, 2, 3, 4]);
  for (const id of [1, 2, 3]) rig.puback(id);
  assert.deepEqual(idsOf(rig), []);
  rig.limits.inflightBytesMax = 0;
  rig.publish(sized(1_000));
  rig.session.outbox.pump(rig.nowMs);
  assert.deepEqual(idsOf(rig), [5, 6, 7]);
  for (const id of [4, 5, 6, 7]) rig.puback(id);
  rig.limits.inflightBytesMax = 100;
  for (const bytes of [100, 100]) rig.publish(sized(bytes));
  assert.deepEqual(idsOf(rig), [8]);
});

Deno.test("InflightWindow keeps the bytes of what is on the wire while it grows and shrinks", () => {
  const window = new InflightWindow();
  const limits = limitsOf({ inflightMax: 1_000, inflightBytesMax: 10_000 });
  const ids = Array.from(
    { length: 100 },
    (_, index) => window.add(index, InflightState.AWAITING_PUBACK, false, null, index < 10 ? 0 : index),
  );
  const total = 99 * 100 / 2 - 9 * 10 / 2;
  assert.equal(window.onWireBytes, total);
  assert.equal(window.hasRoomFor(10_000 - total, 1_000, limits), true);
  assert.equal(window.hasRoomFor(10_001 - total, 1_000, limits), false);
  for (const id of ids.slice(0, 50)) window.complete(window.find(id));
  assert.equal(window.onWireBytes, total - (49 * 50 / 2 - 45));
  window.restart();
  assert.equal(window.onWireBytes, 0);
  window.slotToSend();
  window.noteSent(70);
  assert.equal(window.onWireBytes, 70);
  window.drop(window.slotToSend());
  assert.equal(window.onWireBytes, 70);
  window.complete(window.find(ids[50]!));
  assert.deepEqual([window.onWireBytes, window.count], [0, 48]);
});

const step = fc.oneof(
  { arbitrary: fc.record({ publish: fc.constantFrom(10, 40, 100, 250), qos: fc.constantFrom(1, 2) }), weight: 6 },
  { arbitrary: fc.record({ answer: fc.nat(4) }), weight: 5 },
  { arbitrary: fc.constant({ reconnect: true }), weight: 1 },
);

/** What is on the wire towards one client, in packets and bytes. */
class Wire {
  readonly open = new Map<number, number>();
  readonly answers: (readonly [name: "puback" | "pubrec" | "pubcomp", packetId: number])[] = [];
  /** Payload sizes in the order of their first arrival. */
  readonly arrived: number[] = [];
  readonly #seen = new Set<number>();

  take(packets: readonly Packet[], bytesMax: number): void {
    for (const packet of packets) {
      const packetId = packet.messageId!;
      if (packet.cmd === "pubrel") this.answers.push(["pubcomp", packetId]);
      else this.#takePublish(packet as IPublishPacket, packetId, bytesMax);
    }
  }

  #takePublish(packet: IPublishPacket, packetId: number, bytesMax: number): void {
    const size = packet.payload.length + OVERHEAD;
    const bytes = [...this.open.values()].reduce((sum, each) => sum + each, 0);
    assert(bytes === 0 || bytes + size <= bytesMax, `${bytes} on the wire and ${size} more`);
    this.open.set(packetId, size);
    if (!packet.dup || !this.#seen.has(packetId)) this.arrived.push(size);
    this.#seen.add(packetId);
    this.answers.push([packet.qos === 1 ? "puback" : "pubrec", packetId]);
  }
}

Deno.test("never more bytes than allowed are unacknowledged, but for one message, and all arrive in order", () => {
  const script = fc.array(step, { maxLength: 80, size: "max" });
  fc.assert(
    fc.property(script, fc.constantFrom(1, 60, 150, 400), (steps, inflightBytesMax) => {
      const rig = new SessionRig({ inflightBytesMax });
      const wire = new Wire();
      const published: number[] = [];
      rig.connect();
      const transmit = () => wire.take(rig.sink.takePackets(), inflightBytesMax);
      const answer = (count: number) => {
        for (const [name, packetId] of wire.answers.splice(0, count)) {
          // Bytes count until the last acknowledgement was taken, so this is never too early.
          if (name !== "pubrec") wire.open.delete(packetId);
          rig[name](packetId);
          transmit();
        }
      };
      for (const each of steps) {
        if ("publish" in each) {
          rig.publish(sized(each.publish), { qos: each.qos as 1 | 2 });
          published.push(each.publish);
        } else if ("answer" in each) answer(each.answer);
        else {
          rig.disconnect();
          wire.open.clear();
          wire.answers.length = 0;
          rig.connect();
        }
        transmit();
      }
      for (let round = 0; rig.session.outbox.inflightCount + rig.session.outbox.queuedCount > 0; round++) {
        assert(round < 4 * published.length + 4, "does not settle");
        answer(Infinity);
      }
      assert.deepEqual(wire.arrived, published);
      rig.assertHolds({});
    }),
    { numRuns: 200 },
  );
});
