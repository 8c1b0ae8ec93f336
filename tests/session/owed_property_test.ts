/**
 * Random lives of a recorded Session, and what a restart makes of them. Goal: whatever happened, a new Session that
 * takes up what the old one owed is owed the same and goes on the same on the wire; and what is on record tells the
 * same story as the Session itself.
 *
 * Method: steps publish (own and shared messages), connect, cut, answer and let time pass. At the end the Session is
 * walked and put back, and its records are replayed by a model of a few lines that knows nothing of Sessions.
 */

import fc from "fast-check";
import assert from "node:assert/strict";
import type { QoS } from "../../src/protocol/packets.ts";
import type { DeliveryOrigin } from "../../src/session/delivery_origin.ts";
import type { Session } from "../../src/session/session.ts";
import type { SessionLimits } from "../../src/session/session_limits.ts";
import { ProgressKind } from "../../src/storage/log/record.ts";
import type { OwedMessage } from "../../src/storage/model/durable_state.ts";
import { SharedGroup } from "../../src/topics/shared_subscriptions.ts";
import { SessionRig } from "./session_rig.ts";

const RECORD_NUMBER = 12;
const GROUPS = ["north", "south"].map((name) => new SharedGroup<Session>(name, "t"));

/** By what stands in a step: none, identifiers alone, or one of two groups. */
const ORIGINS: readonly (DeliveryOrigin | null)[] = [
  null,
  { identifiers: [3, 3], group: null, ordinal: 0 },
  { identifiers: [], group: GROUPS[0]!, ordinal: 1 },
  { identifiers: [9], group: GROUPS[1]!, ordinal: 2 },
];

const publication = fc.record({
  qos: fc.constantFrom<QoS>(1, 2),
  retain: fc.boolean(),
  origin: fc.constantFrom(...ORIGINS),
  expirySeconds: fc.constantFrom(0, 0, 5),
  payloadBytes: fc.constantFrom(1, 5, 40),
});

const step = fc.oneof(
  { arbitrary: fc.record({ publish: publication }), weight: 8 },
  { arbitrary: fc.record({ enqueueRetained: fc.constantFrom(...ORIGINS.slice(0, 2)) }), weight: 1 },
  { arbitrary: fc.record({ answer: fc.nat(), isRefusal: fc.boolean() }), weight: 8 },
  {
    arbitrary: fc.record({ connect: fc.constantFrom(1, 3, 100), packetBytesMax: fc.constantFrom(30, 1000) }),
    weight: 2,
  },
  { arbitrary: fc.record({ seconds: fc.constantFrom(1, 6) }), weight: 1 },
);

const limits: fc.Arbitrary<Partial<SessionLimits>> = fc.record({
  inflightMax: fc.constantFrom(2, 5, 20),
  queuedMax: fc.constantFrom(0, 3, 8),
  queueFull: fc.constantFrom("drop-oldest" as const, "drop-newest" as const, "reject" as const),
});

/** A recorded Session that lived through the steps; its first Packet Identifiers are near the wrap-around. */
class Life {
  readonly rig: SessionRig;
  /** What the log says it was owed, before any progress: by position. */
  readonly promised = new Map<number, Pick<OwedMessage, "flags" | "identifiers" | "group">>();
  #isConnected = false;

  constructor(limits: Partial<SessionLimits>) {
    this.rig = new SessionRig(limits);
    const { session, store } = this.rig;
    session.record(RECORD_NUMBER);
    const position = store.append(this.rig.messageOf("first"));
    const size = store.sizeOf(position);
    const first = { flags: 1, identifiers: [], group: undefined };
    session.outbox.restore([{ position, size, packetId: 65_530, isReceived: false, ...first }], () => undefined);
    store.release(position);
    store.appendProgress(ProgressKind.SENT, RECORD_NUMBER, position, 65_530, 0);
    this.promised.set(position, first);
  }

  take(each: typeof step extends fc.Arbitrary<infer T> ? T : never): void {
    const { rig } = this;
    if ("publish" in each) {
      const { qos, retain, origin, payloadBytes } = each.publish;
      rig.publish("x".repeat(payloadBytes), each.publish);
      this.#promise(qos | (retain ? 4 : 0), origin);
    } else if ("enqueueRetained" in each) {
      rig.enqueueRetained("r", { origin: each.enqueueRetained });
      this.#promise(4, each.enqueueRetained);
    } else if ("seconds" in each) {
      rig.nowMs += each.seconds * 1000;
    } else if ("answer" in each) {
      this.#answer(each.answer, each.isRefusal);
    } else {
      if (this.#isConnected) rig.disconnect();
      else rig.connect({ receiveMaximum: each.connect, packetBytesMax: each.packetBytesMax });
      this.#isConnected = !this.#isConnected;
    }
  }

  #promise(flags: number, origin: DeliveryOrigin | null): void {
    const position = [...this.rig.store.payloads.keys()].at(-1)!;
    this.promised.set(position, { flags, identifiers: origin?.identifiers ?? [], group: groupOf(origin) });
  }

  /** Answers something in flight, whether it was sent on this connection or not. */
  #answer(which: number, isRefusal: boolean): void {
    if (!this.#isConnected) return;
    const sent = owedBy(this.rig).filter((each) => each.packetId > 0);
    if (sent.length === 0) return;
    const { packetId, flags, isReceived } = sent[which % sent.length]!;
    if (isReceived) this.rig.pubcomp(packetId);
    else if ((flags & 3) === 2) this.rig.pubrec(packetId, isRefusal ? 0x80 : 0);
    else this.rig.puback(packetId);
  }
}

function groupOf(origin: DeliveryOrigin | null): OwedMessage["group"] {
  return origin === null || origin.group === null
    ? undefined
    : { ordinal: origin.ordinal, name: origin.group.group, filter: origin.group.filter };
}

function owedBy(rig: SessionRig): OwedMessage[] {
  const owed: OwedMessage[] = [];
  rig.session.outbox.walkOwed(0, Infinity, (each) => owed.push(each));
  return owed;
}

/** Puts what a Session owed into a new one, given in another order where that must not matter. */
function restarted(old: SessionRig): SessionRig {
  const owed = owedBy(old);
  const sent = owed.filter((each) => each.packetId > 0).toSorted((a, b) => b.packetId - a.packetId);
  const queued = owed.filter((each) => each.packetId === 0);
  const rig = new SessionRig(old.limits, old.store);
  rig.nowMs = old.nowMs;
  rig.session.record(RECORD_NUMBER);
  rig.session.outbox.restore([...queued, ...sent], (group) => GROUPS.find((each) => each.group === group.name));
  old.disconnect();
  old.session.end();
  return rig;
}

const script = fc.array(step, { maxLength: 100, size: "max" });

Deno.test("Session that takes up what another owed owes the same, and says the same to the client", () => {
  fc.assert(
    fc.property(limits, script, (bounds, steps) => {
      const life = new Life(bounds);
      for (const each of steps) life.take(each);
      const before = owedBy(life.rig);
      const rig = restarted(life.rig);
      assert.deepEqual(owedBy(rig), before);
      const inflight = before.filter((each) => each.packetId > 0).length;
      const references = before.filter((each) => !each.isReceived).length;
      rig.assertHolds({ inflight, queued: before.length - inflight, references });

      // A large window, so that everything is sent again at once.
      rig.limits.inflightMax = 1000;
      rig.connect();
      const expected = before.filter((each) => each.packetId > 0);
      const said = rig.sink.take().slice(0, expected.length);
      assert.deepEqual(
        said.map((line) => line.split(" ").find((word) => word.startsWith("#"))),
        [
          ...expected.filter((each) => each.isReceived),
          ...expected.filter((each) => !each.isReceived),
        ].map((each) => `#${each.packetId}`),
      );
      assert(said.every((line) => line.startsWith("PUBREL") || line.includes(" dup ")));
      rig.disconnect();
      rig.session.end();
      rig.assertHolds({});
    }),
    { numRuns: 150 },
  );
});

/** What is owed according to the records alone: sent ones by Packet Identifier, then the others by position. */
function replay(life: Life): Partial<OwedMessage>[] {
  const owed = new Map<number, Partial<OwedMessage> & { packetId: number; isReceived: boolean }>();
  for (const [position, promise] of life.promised) {
    owed.set(position, { position, ...promise, packetId: 0, isReceived: false });
  }
  for (const { kind, session, position, packetId, group } of life.rig.store.progress) {
    const entry = owed.get(position);
    assert(entry !== undefined, "progress of what is not owed any more");
    assert.deepEqual([session, group], [RECORD_NUMBER, entry.group?.ordinal ?? 0]);
    if (kind === ProgressKind.DONE) owed.delete(position);
    else {
      assert.equal(entry.packetId, kind === ProgressKind.SENT ? 0 : packetId);
      entry.packetId = packetId;
      entry.isReceived = kind === ProgressKind.RECEIVED;
    }
  }
  return [...owed.values()];
}

Deno.test("Session's records alone tell what it owes at any time, each step once", () => {
  fc.assert(
    fc.property(limits, script, (bounds, steps) => {
      const life = new Life(bounds);
      for (const each of steps) {
        life.take(each);
        const walked = owedBy(life.rig).map(({ size: _, ...rest }) => rest);
        assert.deepEqual(replay(life), walked.toSorted((a, b) => a.position - b.position));
      }
    }),
    { numRuns: 60 },
  );
});
