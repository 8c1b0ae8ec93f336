/**
 * A broker reduced to its promises: it owes messages of a durable store to recorded Sessions, remembers everything it
 * appended, and says after a crash whether what was recovered is what must be there.
 *
 * What must be there: everything at positions below the LSN that was safe. What may be there: everything appended. A
 * message is owed from its PUBLISH record to its DONE record, a Session lives from `open` to `end`.
 */
import assert from "node:assert/strict";
import { ProgressKind } from "../../src/storage/log/record.ts";
import type { OwedMessage, OwedWalk, RecoveredState } from "../../src/storage/model/durable_state.ts";
import type { Position, SessionChange } from "../../src/storage/model/stored.ts";
import { receiver, subscription } from "./log/log_writer.ts";
import { messageOf, payloadAt, type StoreRig } from "./store_rig.ts";

/** A message on its way to one Session. */
interface Delivery {
  readonly position: Position;
  readonly size: number;
  packetId: number;
  isReceived: boolean;
}

/** Everything that was ever appended of one Session. */
interface SessionHistory {
  readonly number: number;
  readonly openedAt: Position;
  endedAt: Position | undefined;
  /** Positions by Topic Filter: granted at, and withdrawn at. */
  readonly filters: Map<string, { readonly at: Position; withdrawnAt: Position | undefined }>;
  /** By position of the message. */
  readonly owed: Map<Position, { receivedAt: Position | undefined; doneAt: Position | undefined }>;
}

/** See the head of this file. */
export class ModelBroker implements OwedWalk {
  #rig: StoreRig;
  readonly #sessions = new Map<number, SessionHistory>();
  readonly #queues = new Map<number, Delivery[]>();
  readonly #payloads = new Map<Position, string>();
  /** Values of each topic, ascending; `undefined` = removed. */
  readonly #retained = new Map<string, { readonly at: Position; readonly payload: string | undefined }[]>();
  readonly #held = new Map<string, Position>();
  #lastPacketId = 0;
  #count = 0;

  constructor(rig: StoreRig) {
    this.#rig = rig;
    rig.store.setOwedWalk(this);
  }

  /** Opens a Session, with subscriptions, in one turn. */
  open(...filters: string[]): number {
    const { store } = this.#rig;
    const session = store.newSessionNumber();
    const openedAt = this.#append({
      kind: "open",
      session,
      clientId: `client ${session}`,
      sessionExpiryInterval: 3600,
    });
    this.#sessions.set(session, {
      number: session,
      openedAt,
      endedAt: undefined,
      filters: new Map(),
      owed: new Map(),
    });
    this.#queues.set(session, []);
    this.subscribe(session, ...filters);
    return session;
  }

  subscribe(session: number, ...filters: string[]): void {
    for (const filter of filters) {
      const at = this.#append({ kind: "subscribe", session, subscription: subscription(filter) });
      this.#sessions.get(session)!.filters.set(filter, { at, withdrawnAt: undefined });
    }
  }

  unsubscribe(session: number, filter: string): void {
    const at = this.#append({ kind: "unsubscribe", session, filter });
    this.#sessions.get(session)!.filters.get(filter)!.withdrawnAt = at;
  }

  end(session: number): void {
    for (const delivery of this.#queues.get(session)!) if (!delivery.isReceived) this.#release(delivery.position);
    this.#queues.delete(session);
    this.#sessions.get(session)!.endedAt = this.#append({ kind: "end", session });
  }

  /** Publishes a message of a number of bytes to Sessions, at QoS 2. */
  publish(sessions: readonly number[], bytes = 40): Position {
    const { store } = this.#rig;
    const payload = `message ${++this.#count} `.padEnd(bytes, "x");
    const route = sessions.length === 0
      ? 0
      : store.appendRoute({ receivers: sessions.map((session) => receiver(session, { qos: 2 })), groups: [] });
    const position = store.append(messageOf({ payload, qos: 2 }), 0, 0, route);
    assert(position > 0, "refused");
    this.#payloads.set(position, payload);
    const size = store.sizeOf(position);
    for (const session of sessions) {
      store.retain(position);
      this.#queues.get(session)!.push({ position, size, packetId: 0, isReceived: false });
      this.#sessions.get(session)!.owed.set(position, { receivedAt: undefined, doneAt: undefined });
    }
    store.release(position);
    return position;
  }

  /** Sets a Retained Message, or removes it. */
  retain(topic: string, text: string | undefined): Position {
    const { store } = this.#rig;
    const payload = text === undefined ? undefined : `${text} ${++this.#count}`;
    const position = store.append(messageOf({ topic, payload: payload ?? "", retain: true }), 0, 0, 0);
    assert(position > 0, "refused");
    const values = this.#retained.get(topic) ?? [];
    values.push({ at: position, payload });
    this.#retained.set(topic, values);
    const before = this.#held.get(topic);
    if (before !== undefined) store.release(before);
    if (payload === undefined) {
      this.#held.delete(topic);
      store.release(position);
    } else this.#held.set(topic, position);
    return position;
  }

  /** Sends what a Session is owed first and was not sent. */
  send(session: number): void {
    const delivery = this.#queues.get(session)!.find(({ packetId }) => packetId === 0);
    if (delivery === undefined) return;
    delivery.packetId = this.#lastPacketId = this.#lastPacketId % 65_535 + 1;
    this.#progress(ProgressKind.SENT, session, delivery);
  }

  /** PUBREC comes for what was sent first. */
  receive(session: number): void {
    const delivery = this.#queues.get(session)!.find(({ packetId, isReceived }) => packetId !== 0 && !isReceived);
    if (delivery === undefined) return;
    delivery.isReceived = true;
    this.#progress(ProgressKind.RECEIVED, session, delivery);
    this.#sessions.get(session)!.owed.get(delivery.position)!.receivedAt = this.#rig.store.lastPosition;
    this.#release(delivery.position);
  }

  /** The delivery of what a Session is owed first is over. */
  finish(session: number): void {
    const delivery = this.#queues.get(session)!.shift();
    if (delivery === undefined) return;
    this.#progress(ProgressKind.DONE, session, delivery);
    this.#sessions.get(session)!.owed.get(delivery.position)!.doneAt = this.#rig.store.lastPosition;
    if (!delivery.isReceived) this.#release(delivery.position);
  }

  /** Ends the turn. */
  commit(): void {
    this.#rig.store.commit();
  }

  /** Ends the turn and lets its sync be done. */
  async settle(): Promise<void> {
    this.commit();
    const { store, commitPolicy } = this.#rig;
    await this.#rig.advance();
    // Progress alone waits for its interval.
    if (store.committed < store.lastPosition) await this.#rig.advance(commitPolicy.syncIntervalMs);
    assert(store.committed >= store.lastPosition, "nothing is in the way of this commit");
  }

  /** Positions that a Session is owed, in order. */
  owedTo(session: number): Position[] {
    return this.#queues.get(session)!.map(({ position }) => position);
  }

  *walkOwed(first: Position, end: Position, visit: (session: number, owed: OwedMessage) => void): Iterable<void> {
    for (const [session, queue] of [...this.#queues]) {
      for (const { position, size, packetId, isReceived } of queue) {
        if (position < first || position >= end) continue;
        const owed = { size: isReceived ? 0 : size, flags: 2, identifiers: [], packetId, isReceived, group: undefined };
        visit(session, { position, ...owed });
      }
      yield;
    }
  }

  /** Reads everything that is owed or retained, and compares it with what was published. */
  checkReads(): void {
    const { store } = this.#rig;
    for (const queue of this.#queues.values()) {
      for (const { position, isReceived } of queue) {
        if (!isReceived) assert.equal(payloadAt(store, position), this.#payloads.get(position));
      }
    }
    for (const [topic, position] of this.#held) {
      assert.equal(payloadAt(store, position), this.#retained.get(topic)!.at(-1)!.payload);
    }
  }

  /**
   * Goes on with the store that was opened after a crash, when what it found is right.
   *
   * @param safeLsn Everything below was safe when the crash came.
   */
  check(rig: StoreRig, safeLsn: number): void {
    const state = rig.recovered;
    for (const history of this.#sessions.values()) this.#checkSession(history, state, safeLsn);
    for (const number of state.sessions.keys()) {
      assert(this.#sessions.has(number), `Session ${number} was never opened`);
    }
    this.#checkRetained(rig, safeLsn);
    this.#checkOwedReads(rig);
  }

  /** Takes over what was found. */
  resume(rig: StoreRig): void {
    const state = rig.recovered;
    this.#rig = rig;
    rig.store.setOwedWalk(this);
    this.#queues.clear();
    this.#held.clear();
    for (const [number, history] of this.#sessions) {
      if (!state.sessions.has(number)) {
        // Gone for good, or never there: nobody may see it again.
        this.#sessions.delete(number);
        continue;
      }
      history.endedAt = undefined;
      this.#takeUpSession(history, state, rig);
    }
    for (const [topic, values] of this.#retained) {
      const position = state.retained.get(topic);
      this.#retained.set(topic, position === undefined ? [] : values.filter(({ at }) => at === position));
      if (typeof position !== "number") continue;
      this.#held.set(topic, position);
      rig.store.retain(position);
    }
  }

  #takeUpSession(history: SessionHistory, state: RecoveredState, rig: StoreRig): void {
    const { subscriptions } = state.sessions.get(history.number)!;
    for (const [filter, life] of history.filters) {
      if (subscriptions.has(filter)) life.withdrawnAt = undefined;
      else history.filters.delete(filter);
    }
    const queue: Delivery[] = [];
    for (const { position, size, packetId, isReceived } of state.owed.get(history.number) ?? []) {
      queue.push({ position, size, packetId, isReceived });
      if (!isReceived) rig.store.retain(position);
    }
    for (const position of history.owed.keys()) {
      const found = queue.find((delivery) => delivery.position === position);
      if (found === undefined) history.owed.delete(position);
      else history.owed.set(position, { receivedAt: found.isReceived ? 0 : undefined, doneAt: undefined });
    }
    this.#queues.set(history.number, queue);
  }

  #checkSession(history: SessionHistory, state: RecoveredState, safeLsn: number): void {
    const { number, openedAt, endedAt, filters, owed } = history;
    const found = state.sessions.get(number);
    if (found === undefined) {
      assert(openedAt >= safeLsn || endedAt !== undefined, `Session ${number} is lost`);
      return;
    }
    assert(endedAt === undefined || endedAt >= safeLsn, `Session ${number} is back`);
    assert.equal(found.opened?.clientId, `client ${number}`);
    for (const [filter, { at, withdrawnAt }] of filters) {
      const isThere = found.subscriptions.has(filter);
      if (withdrawnAt === undefined) assert(isThere || at >= safeLsn, `${filter} of Session ${number} is lost`);
      else if (withdrawnAt < safeLsn) assert(!isThere, `${filter} of Session ${number} is back`);
    }
    const foundOwed = new Map((state.owed.get(number) ?? []).map((each) => [each.position, each]));
    for (const [position, { receivedAt, doneAt }] of owed) {
      const each = foundOwed.get(position);
      foundOwed.delete(position);
      if (doneAt !== undefined && doneAt < safeLsn) {
        assert(each === undefined, `${position} is owed again to ${number}`);
      }
      if (doneAt !== undefined) continue;
      assert(each !== undefined || position >= safeLsn, `${position} is not owed to ${number} any more`);
      if (receivedAt === undefined) assert(each === undefined || !each.isReceived);
      else if (receivedAt < safeLsn) assert.equal(each?.isReceived, true, `${position} is sent again after PUBREC`);
    }
    assert.deepEqual([...foundOwed.keys()], [], `Session ${number} is owed what it never was`);
    this.#checkOrder(state.owed.get(number) ?? []);
  }

  #checkOrder(owed: readonly OwedMessage[]): void {
    const unsent = owed.filter(({ packetId }) => packetId === 0).map(({ position }) => position);
    assert.deepEqual(unsent, unsent.toSorted((a, b) => a - b), "out of order");
  }

  #checkRetained(rig: StoreRig, safeLsn: number): void {
    for (const [topic, values] of this.#retained) {
      const position = rig.recovered.retained.get(topic);
      const safe = values.findLast(({ at }) => at < safeLsn);
      const allowed = values.filter((value) => value === safe || value.at >= safeLsn);
      const value = allowed.find(({ at }) => at === position);
      if (position === undefined || position === null) {
        assert(safe?.payload === undefined || allowed.some(({ payload }) => payload === undefined), `${topic} is lost`);
      } else assert.equal(payloadAt(rig.store, position), value?.payload, `${topic} is not what was retained`);
    }
  }

  #checkOwedReads(rig: StoreRig): void {
    for (const owed of rig.recovered.owed.values()) {
      for (const { position, isReceived } of owed) {
        if (!isReceived) assert.equal(payloadAt(rig.store, position), this.#payloads.get(position));
      }
    }
  }

  #append(change: SessionChange): Position {
    return this.#rig.store.appendSessionChange(change);
  }

  #progress(kind: ProgressKind, session: number, { position, packetId }: Delivery): void {
    this.#rig.store.appendProgress(kind, session, position, packetId, 0);
  }

  #release(position: Position): void {
    this.#rig.store.release(position);
  }
}
