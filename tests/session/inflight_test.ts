/**
 * The in-flight window: order, Packet Identifiers, completion in any order, and what a new connection sends again.
 *
 * The model test at the end drives a window and a plain array side by side, through wrap-arounds of the Packet
 * Identifier and lost connections.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { InflightState, InflightWindow } from "../../src/session/inflight.ts";

const { AWAITING_PUBACK, AWAITING_PUBREC, AWAITING_PUBCOMP } = InflightState;

function complete(window: InflightWindow, packetId: number): void {
  const slot = window.find(packetId);
  assert.notEqual(slot, -1, `Packet Identifier ${packetId} is unknown`);
  window.complete(slot);
}

/** Sends everything again that is to be sent again; returns Packet Identifiers. */
function resendAll(window: InflightWindow): number[] {
  const sent: number[] = [];
  for (let slot = window.slotToSend(); slot !== -1; slot = window.slotToSend()) {
    sent.push(window.packetIdOf(slot));
    window.noteSent();
  }
  return sent;
}

/** Uses up Packet Identifiers so that the next one is `packetId`. */
function advanceTo(window: InflightWindow, packetId: number): void {
  for (let next = 1; next < packetId; next++) complete(window, window.add(next, AWAITING_PUBACK, false, null));
}

Deno.test("InflightWindow gives Packet Identifiers in sequence, never 0 [MQTT-2.2.1-4]", () => {
  const window = new InflightWindow();
  assert.deepEqual([1, 2, 3].map((position) => window.add(position, AWAITING_PUBACK, false, null)), [1, 2, 3]);
  assert.deepEqual([window.count, window.onWire], [3, 3]);
});

Deno.test("InflightWindow goes from Packet Identifier 65535 to 1 [MQTT-2.2.1-4]", () => {
  const window = new InflightWindow();
  advanceTo(window, 65_534);
  const ids = [1, 2, 3, 4].map((position) => window.add(position, AWAITING_PUBACK, false, null));
  assert.deepEqual(ids, [65_534, 65_535, 1, 2]);
  ids.forEach((id, index) => assert.equal(window.positionOf(window.find(id)), index + 1));
  ids.toReversed().forEach((id) => complete(window, id));
  assert.equal(window.count, 0);
  assert.equal(window.add(9, AWAITING_PUBACK, false, null), 3);
});

Deno.test("InflightWindow finds across the wrap-around while it grows", () => {
  const window = new InflightWindow();
  advanceTo(window, 65_530);
  const ids = Array.from({ length: 50 }, (_, index) => window.add(index, AWAITING_PUBREC, index % 2 === 0, null));
  assert.deepEqual(ids.slice(4, 9), [65_534, 65_535, 1, 2, 3]);
  ids.forEach((id, index) => {
    const slot = window.find(id);
    assert.deepEqual([window.positionOf(slot), window.retainOf(slot)], [index, index % 2 === 0]);
  });
});

Deno.test("InflightWindow keeps position, RETAIN, origin and state of an entry", () => {
  const window = new InflightWindow();
  const origin = { identifiers: [5], group: null, ordinal: 0 };
  const plain = window.add(10, AWAITING_PUBACK, false, null);
  const withOrigin = window.add(2 ** 50, AWAITING_PUBREC, true, origin);
  assert.equal(window.originOf(window.find(plain)), null);
  const slot = window.find(withOrigin);
  assert.deepEqual([window.positionOf(slot), window.retainOf(slot), window.originOf(slot)], [2 ** 50, true, origin]);
  assert.equal(window.stateOf(slot), AWAITING_PUBREC);
  window.setAwaitingPubcomp(slot);
  assert.equal(window.stateOf(slot), AWAITING_PUBCOMP);
});

Deno.test("InflightWindow knows no Packet Identifier that is not in flight", () => {
  const window = new InflightWindow();
  assert.equal(window.find(1), -1);
  window.add(1, AWAITING_PUBACK, false, null);
  window.add(2, AWAITING_PUBACK, false, null);
  complete(window, 2);
  for (const packetId of [2, 3, 17, 65_535]) assert.equal(window.find(packetId), -1);
  assert.notEqual(window.find(1), -1);
});

Deno.test("InflightWindow completes in any order and holds no tombstones when the oldest goes", () => {
  const window = new InflightWindow();
  for (let position = 1; position <= 5; position++) window.add(position, AWAITING_PUBACK, false, null);
  [3, 2, 5].forEach((id) => complete(window, id));
  assert.deepEqual([window.count, window.onWire], [2, 2]);
  complete(window, 1);
  complete(window, 4);
  assert.deepEqual([window.count, window.onWire], [0, 0]);
  assert.equal(window.add(6, AWAITING_PUBACK, false, null), 6);
});

Deno.test("InflightWindow is exhausted when the oldest stays while 65534 later ones go, and only then", () => {
  const window = new InflightWindow();
  window.add(1, AWAITING_PUBACK, false, null);
  for (let count = 1; count < 65_535; count++) {
    assert.equal(window.isExhausted, false);
    complete(window, window.add(1, AWAITING_PUBACK, false, null));
  }
  assert.equal(window.isExhausted, true);
  assert.equal(window.count, 1);
  complete(window, 1);
  assert.equal(window.isExhausted, false);
  assert.equal(window.add(1, AWAITING_PUBACK, false, null), 1);
});

Deno.test("InflightWindow sends everything again in order after a restart [MQTT-4.4.0-1] [MQTT-4.6.0-1]", () => {
  const window = new InflightWindow();
  for (let position = 1; position <= 5; position++) window.add(position, AWAITING_PUBREC, false, null);
  complete(window, 2);
  window.restart();
  assert.deepEqual([window.count, window.onWire, window.hasResends], [4, 0, true]);
  assert.deepEqual(resendAll(window), [1, 3, 4, 5]);
  assert.deepEqual([window.count, window.onWire, window.hasResends], [4, 4, false]);
  assert.equal(window.add(6, AWAITING_PUBREC, false, null), 6);
});

Deno.test("InflightWindow takes no acknowledgement for what was not sent on this connection", () => {
  const window = new InflightWindow();
  for (let position = 1; position <= 3; position++) window.add(position, AWAITING_PUBACK, false, null);
  window.restart();
  assert.equal(window.find(1), -1);
  assert.notEqual(window.slotToSend(), -1);
  window.noteSent();
  assert.notEqual(window.find(1), -1);
  assert.equal(window.find(2), -1);
});

Deno.test("InflightWindow sends PUBRELs ahead of what else is sent again, each once [MQTT-3.3.4-10]", () => {
  const window = new InflightWindow();
  for (let position = 1; position <= 5; position++) window.add(position, AWAITING_PUBREC, false, null);
  [2, 4, 5].forEach((id) => window.setAwaitingPubcomp(window.find(id)));
  window.restart();
  assert.deepEqual([1, 2, 3, 4].map(() => window.nextRelease()), [2, 4, 5, 0]);
  assert.deepEqual([window.onWire, window.hasResends], [3, true]);
  complete(window, 4);
  assert.equal(window.find(3), -1);
  assert.deepEqual(resendAll(window), [1, 3]);
  assert.deepEqual([window.count, window.onWire, window.nextRelease()], [4, 4, 0]);
});

Deno.test("InflightWindow goes on after the last entry to send again is dropped", () => {
  const window = new InflightWindow();
  for (let position = 1; position <= 3; position++) window.add(position, AWAITING_PUBACK, false, null);
  window.restart();
  window.slotToSend();
  window.noteSent();
  window.drop(window.slotToSend());
  const slot = window.slotToSend();
  assert.equal(window.packetIdOf(slot), 3);
  window.drop(slot);
  assert.equal(window.slotToSend(), -1);
  assert.deepEqual([window.count, window.onWire, window.hasResends], [1, 1, false]);
  complete(window, 1);
  assert.equal(window.add(4, AWAITING_PUBACK, false, null), 4);
});

Deno.test("InflightWindow sends again what the restart of a restart left", () => {
  const window = new InflightWindow();
  for (let position = 1; position <= 4; position++) window.add(position, AWAITING_PUBACK, false, null);
  window.restart();
  window.slotToSend();
  window.noteSent();
  complete(window, 1);
  window.restart();
  assert.deepEqual(resendAll(window), [2, 3, 4]);
});

Deno.test("InflightWindow sweeps oldest first and removes what the visitor says", () => {
  const window = new InflightWindow();
  for (let position = 1; position <= 40; position++) window.add(position, AWAITING_PUBACK, false, null);
  const seen: number[] = [];
  window.sweep((slot) => {
    const position = window.positionOf(slot);
    seen.push(position);
    return position <= 20 || position === 30;
  });
  assert.deepEqual(seen, Array.from({ length: 40 }, (_, index) => index + 1));
  window.restart();
  const left = seen.filter((position) => position > 20 && position !== 30);
  assert.equal(window.count, left.length);
  assert.deepEqual(resendAll(window), left);
});

Deno.test("InflightWindow restores entries with gaps, to be sent again, and goes on behind the last", () => {
  const window = new InflightWindow();
  const origin = { identifiers: [1], group: null, ordinal: 0 };
  window.restore(65_534, 10, AWAITING_PUBACK, true, null);
  window.restore(1, 11, AWAITING_PUBCOMP, false, null);
  window.restore(40, 12, AWAITING_PUBREC, false, origin);
  assert.deepEqual([window.count, window.onWire, window.hasResends], [3, 0, true]);
  const seen: unknown[] = [];
  window.sweep((slot, packetId) => {
    seen.push([packetId, window.positionOf(slot), window.stateOf(slot), window.retainOf(slot), window.originOf(slot)]);
    return false;
  });
  assert.deepEqual(seen, [
    [65_534, 10, AWAITING_PUBACK, true, null],
    [1, 11, AWAITING_PUBCOMP, false, null],
    [40, 12, AWAITING_PUBREC, false, origin],
  ]);
  window.restart();
  assert.deepEqual([window.nextRelease(), window.nextRelease()], [1, 0]);
  assert.deepEqual(resendAll(window), [65_534, 40]);
  for (const packetId of [65_533, 65_535, 2, 39, 41]) assert.equal(window.find(packetId), -1);
  assert.equal(window.add(13, AWAITING_PUBACK, false, null), 41);
  for (const packetId of [40, 41, 65_534, 1]) complete(window, packetId);
  assert.deepEqual([window.count, window.onWire], [0, 0]);
  assert.equal(window.add(14, AWAITING_PUBACK, false, null), 42);
});

Deno.test("InflightWindow refuses to restore a Packet Identifier twice or behind the one that follows it", () => {
  for (const ids of [[5, 5], [5, 7, 6], [5, 7, 5]]) {
    const window = new InflightWindow();
    const last = ids.pop()!;
    for (const packetId of ids) window.restore(packetId, 1, AWAITING_PUBACK, false, null);
    assert.throws(() => window.restore(last, 1, AWAITING_PUBACK, false, null), { name: "AssertionError" });
  }
});

/** An entry of the model, in the order of sending. */
interface Sent {
  readonly packetId: number;
  readonly position: number;
  readonly hasOrigin: boolean;
  state: number;
  isOnWire: boolean;
}

const step = fc.oneof(
  {
    arbitrary: fc.record({ kind: fc.constant("add" as const), qos: fc.constantFrom(1, 2), hasOrigin: fc.boolean() }),
    weight: 8,
  },
  { arbitrary: fc.record({ kind: fc.constant("answer" as const), which: fc.nat() }), weight: 8 },
  { arbitrary: fc.record({ kind: fc.constantFrom("restart" as const, "sweep" as const), which: fc.nat() }), weight: 1 },
);

Deno.test("InflightWindow says what an array of entries says", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 65_500, max: 65_535 }),
      fc.array(step, { maxLength: 150, size: "max" }),
      (first, steps) => {
        const window = new InflightWindow();
        advanceTo(window, first);
        let model: Sent[] = [];
        let position = 0;
        let nextId = first;
        for (const each of steps) {
          if (each.kind === "add") {
            if (resendOne(window, model)) continue;
            const state = each.qos === 1 ? AWAITING_PUBACK : AWAITING_PUBREC;
            position++;
            const origin = each.hasOrigin ? { identifiers: [position], group: null, ordinal: 0 } : null;
            assert.equal(window.add(position, state, each.hasOrigin, origin), nextId);
            model.push({ packetId: nextId, position, hasOrigin: each.hasOrigin, state, isOnWire: true });
            nextId = nextId % 65_535 + 1;
          } else if (each.kind === "answer") {
            model = answer(window, model, each.which);
          } else {
            window.restart();
            model.forEach((sent) => sent.isOnWire = false);
            if (each.kind === "sweep") {
              const isSwept = (value: number) => value % 3 === each.which % 3;
              window.sweep((slot) => isSwept(window.positionOf(slot)));
              model = model.filter((sent) => !isSwept(sent.position));
            }
            const released = model.filter((sent) => sent.state === AWAITING_PUBCOMP);
            released.forEach((sent) => sent.isOnWire = true);
            assert.deepEqual(released.map(() => window.nextRelease()), released.map((sent) => sent.packetId));
            assert.equal(window.nextRelease(), 0);
          }
          assertSays(window, model);
        }
      },
    ),
    { numRuns: 30 },
  );
});

/** Sends one entry of an earlier connection again, if there is one. */
function resendOne(window: InflightWindow, model: Sent[]): boolean {
  const slot = window.slotToSend();
  const expected = model.find((sent) => !sent.isOnWire);
  if (expected === undefined) {
    assert.equal(slot, -1);
    return false;
  }
  assert.equal(window.packetIdOf(slot), expected.packetId);
  assert.equal(window.positionOf(slot), expected.position);
  window.noteSent();
  expected.isOnWire = true;
  return true;
}

function answer(window: InflightWindow, model: Sent[], which: number): Sent[] {
  const onWire = model.filter((sent) => sent.isOnWire);
  if (onWire.length === 0) return model;
  const sent = onWire[which % onWire.length]!;
  if (sent.state !== AWAITING_PUBREC) {
    complete(window, sent.packetId);
    return model.filter((each) => each !== sent);
  }
  window.setAwaitingPubcomp(window.find(sent.packetId));
  sent.state = AWAITING_PUBCOMP;
  return model;
}

function assertSays(window: InflightWindow, model: readonly Sent[]): void {
  assert.equal(window.count, model.length);
  assert.equal(window.onWire, model.filter((sent) => sent.isOnWire).length);
  for (const sent of model) {
    const slot = window.find(sent.packetId);
    if (!sent.isOnWire) {
      assert.equal(slot, -1);
      continue;
    }
    assert.deepEqual([window.stateOf(slot), window.positionOf(slot), window.retainOf(slot)], [
      sent.state,
      sent.position,
      sent.hasOrigin,
    ]);
    assert.deepEqual(
      window.originOf(slot),
      sent.hasOrigin ? { identifiers: [sent.position], group: null, ordinal: 0 } : null,
    );
  }
}
