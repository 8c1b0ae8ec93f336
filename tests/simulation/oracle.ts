/**
 * What was promised to whom, from the clients' side alone: publications and their acknowledgements, Sessions with their
 * subscriptions, what each of them is owed and what it has received. Every packet that a client gets is held against it.
 *
 * It errs on one side only: where a client cannot know what the broker did (a CONNECT that was never answered), nothing is
 * demanded, but still nothing is allowed that nobody asked for.
 */
import assert from "node:assert/strict";
import type { Received } from "../broker/packet_text.ts";

/** An Application Message that a client sent, or left as its Will Message. */
export interface Publication {
  readonly payload: string;
  readonly publisher: string;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** Per publisher. */
  readonly number: number;
  readonly properties: Readonly<Record<string, unknown>> | undefined;
  /** Moment of the first PUBLISH. */
  readonly sentAt: number;
  /** Time that really passed up to then. */
  readonly sentMs: number;
  sends: number;
  isAcknowledged: boolean;
  /** It was sent again to a Session that may not know that it had it. */
  mayRepeat: boolean;
}

/** A subscription as the client knows it. */
export interface SubscriptionModel {
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly identifier: number;
  /** Moment of the first SUBACK since it exists without interruption; undefined before. */
  acknowledgedAt: number | undefined;
}

/** What a Session received of one message. */
interface Receipt {
  /** Handed to the application, RETAIN not set. */
  live: number;
  /** Handed to the application at all. */
  isThere: boolean;
  /** A crash took the record of how far the delivery was. */
  mayRepeat: boolean;
}

/** A Session as the client knows it. */
export class SessionModel {
  /** True once a CONNACK said that it outlives the connection. */
  isPromised = false;
  /** True while the client cannot know whether it is still there. */
  isUncertain = false;
  readonly subscriptions = new Map<string, SubscriptionModel>();
  /** All that it ever asked for. */
  readonly asked: SubscriptionModel[] = [];
  readonly owed = new Map<string, Publication>();
  readonly receipts = new Map<string, Receipt>();
  /** Messages that the broker wrote to the network for it. */
  readonly written = new Set<string>();
  /** Inbound QoS 2 Packet Identifiers for which PUBREC was sent or is to be sent. */
  readonly inboundQos2 = new Map<number, string>();
  /** Inbound QoS 1 messages that were not acknowledged yet. */
  readonly inboundQos1 = new Map<number, string>();
  /** Number of the last message in order, by publisher, topic and QoS. */
  readonly lastNumbers = new Map<string, number>();
  /** True when it may be another one than the client believes. */
  isAnother = false;
  /** True once a crash happened in its life. */
  hasCrashed = false;

  #hasForgotten = false;

  constructor(readonly clientId: string, readonly isDurable: boolean) {}

  /** See `Oracle.forgets`. */
  forget(): void {
    this.inboundQos1.clear();
    this.inboundQos2.clear();
    this.#hasForgotten = true;
    for (const receipt of this.receipts.values()) receipt.mayRepeat = true;
  }

  receiptOf(payload: string): Receipt {
    let receipt = this.receipts.get(payload);
    if (receipt === undefined) {
      this.receipts.set(payload, receipt = { live: 0, isThere: false, mayRepeat: this.#hasForgotten });
    }
    return receipt;
  }
}

/** See the head of this file. */
export class Oracle {
  /** Counts events, so that "before" can be said. */
  moment = 0;
  /** Time that really passes. */
  nowMs: () => number = () => 0;
  readonly publications = new Map<string, Publication>();
  readonly sessions = new Set<SessionModel>();
  /** Of the one shared group. */
  readonly groupOwed = new Map<string, Publication>();
  /** Handed to applications by members of the group, all together. */
  readonly groupReceipts = new Map<string, Receipt>();
  /** Moment at which a member of the group went last, and with it what it was sent at QoS 2. */
  #memberLeftAt = -1;
  /** Payloads that a member without a durable Session has seen. */
  readonly groupLoose = new Set<string>();

  publish(publication: Publication): void {
    this.publications.set(publication.payload, publication);
  }

  /** A publisher heard that its message is safe. */
  acknowledged(publication: Publication): void {
    if (publication.isAcknowledged) return;
    publication.isAcknowledged = true;
    for (const session of this.sessions) {
      if (this.#isOwed(session, publication, false)) session.owed.set(publication.payload, publication);
      if (this.groupReceipts.has(publication.payload)) continue;
      if (publication.qos === 2 && publication.sentAt <= this.#memberLeftAt) continue;
      if (this.#isOwed(session, publication, true)) this.groupOwed.set(publication.payload, publication);
    }
  }

  #isOwed(session: SessionModel, publication: Publication, isGroup: boolean): boolean {
    if (!session.isDurable || session.isUncertain) return false;
    if (!isGroup && session.receipts.get(publication.payload)?.isThere) return false;
    for (const { filter, acknowledgedAt, qos, noLocal } of session.subscriptions.values()) {
      if (isShared(filter) !== isGroup || acknowledgedAt === undefined || acknowledgedAt >= publication.sentAt) {
        continue;
      }
      if (qos === 0 || (noLocal && publication.publisher === session.clientId)) continue;
      if (matches(filter, publication.topic)) return true;
    }
    return false;
  }

  /** A Session ended, or may have: nothing is owed to it any more. */
  mayEnd(session: SessionModel): void {
    session.isUncertain = true;
    session.owed.clear();
    this.memberLeaves(session);
  }

  ended(session: SessionModel): void {
    this.mayEnd(session);
    this.sessions.delete(session);
  }

  /** A member of the group goes, or what it has of the group may go with it. */
  memberLeaves(session: SessionModel): void {
    const isMember = ({ filter }: SubscriptionModel) => isShared(filter);
    if (!session.asked.some(isMember)) return;
    this.#memberLeftAt = this.moment;
    const others = [...this.sessions].filter((other) =>
      other !== session && other.isDurable && !other.isUncertain &&
      [...other.subscriptions.values()].some((each) => isMember(each) && each.acknowledgedAt !== undefined)
    );
    for (const [payload, { qos }] of this.groupOwed) {
      if (qos === 2 || others.length === 0) this.groupOwed.delete(payload);
    }
  }

  /** A client gives up what it knows of messages under way, while the broker may not. */
  forgets(session: SessionModel): void {
    for (const payload of session.inboundQos2.values()) {
      const receipt = this.groupReceipts.get(payload);
      if (receipt !== undefined) receipt.mayRepeat = true;
    }
    session.forget();
  }

  /** The broker writes a PUBLISH to the network. */
  written(session: SessionModel, packet: Received): void {
    session.written.add(String(packet.payload));
  }

  /** A client received a PUBLISH. Returns false when the application has it already. */
  received(session: SessionModel, packet: Received, isV5: boolean): boolean {
    const payload = String(packet.payload);
    const publication = this.publications.get(payload);
    assert(
      publication !== undefined,
      `${session.clientId} got a message that nobody published: ${payload.slice(0, 40)}`,
    );
    const asked = this.#checkContent(session, publication, packet, isV5);
    const isNew = this.#checkPacketId(session, packet, payload);
    if (!isNew) return false;
    const sharedOnly = asked.every(({ filter }) => isShared(filter));
    if (sharedOnly) this.#groupReceived(session, publication, packet);
    else this.#sessionReceived(session, publication, packet, asked);
    return true;
  }

  #checkContent(
    session: SessionModel,
    publication: Publication,
    packet: Received,
    isV5: boolean,
  ): readonly SubscriptionModel[] {
    const { clientId } = session;
    const told = `${clientId} got ${publication.payload.slice(0, 24)}`;
    assert.equal(packet.topic, publication.topic, told);
    const asked = session.asked.filter(({ filter }) => matches(filter, publication.topic));
    assert(asked.length > 0, `${told} without a subscription`);
    assert(packet.qos! <= publication.qos, `${told} with a higher QoS than it was published with`);
    assert(asked.some(({ qos }) => packet.qos! <= qos), `${told} with a higher QoS than was granted`);
    const isOwn = publication.publisher === clientId;
    // [MQTT-3.8.3-3], but a Retained Message is no echo.
    if (isOwn && !packet.retain) assert(asked.some(({ noLocal }) => !noLocal), `${told} in spite of No Local`);
    if (packet.retain) assert(publication.retain, `${told} with RETAIN`);
    if (!isV5) return asked;
    const { subscriptionIdentifier, messageExpiryInterval: leftSeconds, ...properties } = packet.properties ?? {};
    const identifiers = [subscriptionIdentifier ?? []].flat() as number[];
    for (const identifier of identifiers) {
      assert(asked.some((each) => each.identifier === identifier), `${told} with a foreign Subscription Identifier`);
    }
    if (asked.every(({ identifier }) => identifier > 0)) assert(identifiers.length > 0, `${told} without identifier`);
    const { messageExpiryInterval: expirySeconds, ...others } = publication.properties ?? {};
    assert.deepEqual({ ...properties }, others, `${told} with other properties`);
    this.#checkExpiry(publication, expirySeconds as number | undefined, leftSeconds as number | undefined, told);
    return asked;
  }

  /** [MQTT-3.3.2-6] It lives as long as it was to live, less what has passed. A second goes for whole numbers. */
  #checkExpiry(
    { sentMs }: Publication,
    expirySeconds: number | undefined,
    leftSeconds: number | undefined,
    told: string,
  ): void {
    if (expirySeconds === undefined) return assert.equal(leftSeconds, undefined, `${told} with an end`);
    assert(leftSeconds !== undefined && leftSeconds <= expirySeconds, `${told}, and it lives longer: ${leftSeconds}`);
    const leastSeconds = expirySeconds - (this.nowMs() - sentMs) / 1000 - 1;
    assert(leftSeconds >= leastSeconds, `${told}, and it ends early: ${leftSeconds} s, ${leastSeconds} are due`);
  }

  /** DUP and Packet Identifier. Returns false for a QoS 2 message that was received before. */
  #checkPacketId(session: SessionModel, packet: Received, payload: string): boolean {
    const { messageId: packetId, dup, qos } = packet;
    const told = `${session.clientId} got #${packetId} ${payload.slice(0, 24)}`;
    if (qos === 0) {
      assert(dup !== true, `${told} with DUP at QoS 0`);
      return true;
    }
    const before = session.inboundQos2.get(packetId!) ?? session.inboundQos1.get(packetId!);
    if (before !== undefined) {
      assert.equal(payload, before, `${told} with a Packet Identifier in use`);
      assert(dup, `${told} again without DUP`);
    }
    if (dup && !session.hasCrashed) assert(session.written.has(payload), `${told} with DUP for the first time`);
    if (qos === 1) {
      session.inboundQos1.set(packetId!, payload);
      return true;
    }
    if (before !== undefined) return false;
    session.inboundQos2.set(packetId!, payload);
    return true;
  }

  #sessionReceived(
    session: SessionModel,
    publication: Publication,
    packet: Received,
    asked: readonly SubscriptionModel[],
  ): void {
    const { payload, publisher, topic, qos, number } = publication;
    // A copy sent because of a subscription stands beside the live one; as RETAIN may stand on either, it proves neither.
    const isRetained = packet.retain === true;
    session.owed.delete(payload);
    const receipt = session.receiptOf(payload);
    receipt.isThere = true;
    if (isRetained) return;
    receipt.live++;
    if (packet.qos === 2 && receipt.live > 1) {
      assert(
        receipt.mayRepeat || publication.mayRepeat,
        `${session.clientId} got ${payload.slice(0, 24)} twice at QoS 2`,
      );
    }
    if (receipt.live > 1 || packet.qos === 0 || asked.some(({ filter }) => isShared(filter))) return;
    const line = `${publisher} ${topic} ${qos}`;
    const last = session.lastNumbers.get(line) ?? -1;
    if (publication.sends === 1) {
      assert(number > last, `${session.clientId} got ${payload.slice(0, 24)} after number ${last}`);
    }
    if (number > last) session.lastNumbers.set(line, number);
  }

  #groupReceived(session: SessionModel, publication: Publication, packet: Received): void {
    const { payload } = publication;
    this.groupOwed.delete(payload);
    if (!session.isDurable) this.groupLoose.add(payload);
    let receipt = this.groupReceipts.get(payload);
    if (receipt === undefined) this.groupReceipts.set(payload, receipt = { live: 0, isThere: false, mayRepeat: false });
    // At QoS 1 it may be handed on.
    if (packet.qos === 2) receipt.live++;
    if (packet.qos === 2 && receipt.live > 1 && !this.groupLoose.has(payload)) {
      assert(receipt.mayRepeat || publication.mayRepeat, `the group got ${payload.slice(0, 24)} twice at QoS 2`);
    }
  }
}

/** True for a Shared Subscription. */
export function isShared(filter: string): boolean {
  return filter.startsWith("$share/");
}

/** Tells whether a Topic Filter, shared or not, matches a Topic Name. */
export function matches(filter: string, topic: string): boolean {
  const levels = isShared(filter) ? filter.split("/").slice(2) : filter.split("/");
  const names = topic.split("/");
  for (let i = 0; i < levels.length; i++) {
    if (levels[i] === "#") return true;
    if (i >= names.length || (levels[i] !== "+" && levels[i] !== names[i])) return false;
  }
  return levels.length === names.length;
}
