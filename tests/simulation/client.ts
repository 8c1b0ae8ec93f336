/**
 * A simulated client: keeps the rules of MQTT 5.0 or 3.1.1, tells the oracle what it sees, and does something only when
 * the scheduler says so. Its connection is a real one of the broker, on a network that is only memory.
 *
 * What the broker writes is looked at twice: when it is handed to the network, as a crash may come before it arrives and
 * the promise in it counts from that moment (`whenWritten`), and when it arrives.
 */
import { generate, type IConnectPacket, type Packet } from "mqtt-packet";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Connection, type Transport } from "../../src/listeners/transport/connection.ts";
import { PacketReader, type Received, textOf } from "../broker/packet_text.ts";
import type { Machine } from "./machine.ts";
import { type Oracle, type Publication, SessionModel, type SubscriptionModel } from "./oracle.ts";

/** What distinguishes clients. */
export interface ClientTraits {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** Session Expiry Interval in seconds; 0 = the Session ends with the connection. v3 knows only 0 and for ever. */
  readonly expirySeconds: number;
  readonly receiveMaximum: number;
}

/** What clients share. */
export interface ClientSurroundings {
  readonly machine: Machine;
  readonly oracle: Oracle;
  readonly trace: (line: string) => void;
  /** The broker hands a packet to the network. */
  readonly whenWritten: (client: SimulatedClient, packet: Received) => void;
}

/** A Will Message and what became of its connection. */
export interface WillModel {
  readonly publication: Publication;
  readonly delaySeconds: number;
  /**
   * armed: CONNACK came. ended: the connection is lost. cancelled: taken back, for certain. unknown: anything may happen.
   */
  state: "armed" | "ended" | "cancelled" | "unknown";
  dueMs: number;
}

/** A message on its way to the broker. */
interface Outgoing {
  readonly publication: Publication;
  isReceived: boolean;
}

/** A SUBSCRIBE or UNSUBSCRIBE without answer; `sinceLsn` = where the log ended when it was sent. */
type Request =
  | { readonly kind: "subscribe"; readonly sinceLsn: number; readonly subscriptions: readonly SubscriptionModel[] }
  | { readonly kind: "unsubscribe"; readonly sinceLsn: number; readonly filter: string };

/** See the head of this file. */
export class SimulatedClient {
  session: SessionModel;
  phase: "off" | "connecting" | "on" = "off";
  /** By Packet Identifier, in the order they were sent. */
  readonly outgoing = new Map<number, Outgoing>();
  readonly requests = new Map<number, Request>();
  /** Acknowledgements to send, in order. */
  acknowledgements: { readonly cmd: "puback" | "pubrec" | "pubrel" | "pubcomp"; readonly packetId: number }[] = [];
  readonly wills: WillModel[] = [];
  offlineMs = 0;
  link: Link | undefined;
  /** Where the log ended when the last CONNECT was sent. */
  connectedSinceLsn = 0;
  /** Connections that the broker still believes in. */
  #deaf: Link[] = [];
  /** Of Sessions that ended. */
  readonly #asked: SubscriptionModel[] = [];
  #packetId = 0;
  #published = 0;
  #connect:
    | { readonly clean: boolean; readonly mustBePresent: boolean; readonly will: WillModel | undefined }
    | undefined;
  readonly #with: ClientSurroundings;

  constructor(readonly traits: ClientTraits, surroundings: ClientSurroundings) {
    this.#with = surroundings;
    this.session = new SessionModel(traits.clientId, traits.expirySeconds > 0);
  }

  get isV5(): boolean {
    return this.traits.version === 5;
  }

  get isDurable(): boolean {
    return this.traits.expirySeconds > 0;
  }

  /** Lets the network take what the broker writes; false when there was nothing to do. */
  step(): boolean {
    let isBusy = this.link?.step() ?? false;
    for (const link of this.#deaf) isBusy = link.step() || isBusy;
    this.#deaf = this.#deaf.filter(({ isGone }) => !isGone);
    return isBusy;
  }

  /** Time has passed: the Session may have come to its end, and what others do then counts from its end on. */
  notePassing(): void {
    if (this.phase !== "on" && !this.session.isUncertain && this.#mayHaveExpired) {
      this.#with.oracle.mayEnd(this.session);
    }
  }

  get #mayHaveExpired(): boolean {
    return this.#with.machine.nowMs - this.offlineMs > this.traits.expirySeconds * 900;
  }

  // What the scheduler asks for.

  connect(
    options: { readonly clean: boolean; readonly will?: { readonly delaySeconds: number; readonly qos: 1 | 2 } },
  ) {
    const { oracle, trace } = this.#with;
    const { clientId, version, expirySeconds, receiveMaximum } = this.traits;
    const clean = options.clean || !this.isDurable;
    this.lose();
    const { session } = this;
    if (clean || this.#mayHaveExpired) oracle.mayEnd(session);
    if (clean || !session.isDurable) {
      // [MQTT-3.1.2-4] The Session State on this side goes at once.
      oracle.forgets(session);
      this.outgoing.clear();
    }
    const mustBePresent = !clean && session.isPromised && !session.isUncertain;
    const will = options.will === undefined ? undefined : this.#newWill(options.will);
    this.#connect = { clean, mustBePresent, will };
    this.connectedSinceLsn = this.#logEnd;
    this.phase = "connecting";
    this.link = new Link(this, this.#with, version);
    trace(`${clientId} connects${clean ? " clean" : ""}${will === undefined ? "" : `, ${will.publication.payload}`}`);
    const packet: IConnectPacket = {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: version,
      clientId,
      clean,
      keepalive: 0,
    };
    if (version === 5) packet.properties = { sessionExpiryInterval: expirySeconds, receiveMaximum };
    if (will !== undefined) {
      const { topic, payload, qos } = will.publication;
      packet.will = { topic, payload: Buffer.from(payload), qos, retain: false };
      if (version === 5) packet.will.properties = { willDelayInterval: will.delaySeconds };
    }
    this.link.send(packet);
  }

  #newWill({ delaySeconds, qos }: { readonly delaySeconds: number; readonly qos: 1 | 2 }): WillModel {
    const { clientId } = this.traits;
    const number = this.wills.length;
    const publication: Publication = {
      payload: `will ${clientId} ${number}`,
      publisher: `will of ${clientId}`,
      topic: `w/${clientId}`,
      qos,
      retain: false,
      number,
      properties: undefined,
      sentAt: Infinity,
      sentMs: this.#with.machine.nowMs,
      sends: 2,
      isAcknowledged: false,
      mayRepeat: false,
    };
    this.#with.oracle.publish(publication);
    const will: WillModel = { publication, delaySeconds: this.isV5 ? delaySeconds : 0, state: "unknown", dueMs: 0 };
    this.wills.push(will);
    return will;
  }

  publish(topic: string, qos: 0 | 1 | 2, retain: boolean, padding: number, hasProperties: boolean): void {
    const { machine, oracle, trace } = this.#with;
    const number = this.#published++;
    const properties = this.isV5 && hasProperties
      ? {
        contentType: "text/plain",
        userProperties: Object.assign(Object.create(null), { number: String(number) }),
        ...machine.isClockSet ? { messageExpiryInterval: MESSAGE_EXPIRY_SECONDS } : {},
      }
      : undefined;
    const payload = `${this.traits.clientId} ${number} ${"x".repeat(padding)}`;
    const publication: Publication = {
      payload,
      publisher: this.traits.clientId,
      topic,
      qos,
      retain,
      number,
      properties,
      sentAt: ++oracle.moment,
      sentMs: this.#with.machine.nowMs,
      sends: 0,
      isAcknowledged: false,
      mayRepeat: false,
    };
    oracle.publish(publication);
    const packetId = qos === 0 ? 0 : this.#nextPacketId();
    trace(
      `${this.traits.clientId} publishes ${topic} q${qos} #${packetId} ${payload.length}${retain ? " retain" : ""}`,
    );
    if (qos > 0) this.outgoing.set(packetId, { publication, isReceived: false });
    this.#send(publication, packetId, false);
  }

  /** Removes the Retained Message of a topic, at QoS 0 and with nothing to tell of it. */
  clearRetained(topic: string): void {
    this.link!.send({ cmd: "publish", topic, payload: "", qos: 0, retain: true, dup: false });
  }

  subscribe(subscriptions: readonly Omit<SubscriptionModel, "acknowledgedAt">[]): void {
    const { oracle, trace } = this.#with;
    const packetId = this.#nextPacketId();
    const models: SubscriptionModel[] = subscriptions.map((each) => ({ ...each, acknowledgedAt: undefined }));
    oracle.moment++;
    for (const model of models) {
      this.session.asked.push(model);
      const before = this.session.subscriptions.get(model.filter);
      // Replaced at some moment from now on: what it promises for certain is what both promise.
      if (before !== undefined && (model.qos === 0 || model.noLocal)) before.acknowledgedAt = undefined;
    }
    this.requests.set(packetId, { kind: "subscribe", sinceLsn: this.#logEnd, subscriptions: models });
    trace(
      `${this.traits.clientId} subscribes ${models.map(({ filter, qos }) => `${filter} q${qos}`).join()} #${packetId}`,
    );
    const identifier = models[0]!.identifier;
    this.link!.send({
      cmd: "subscribe",
      messageId: packetId,
      subscriptions: models.map(({ filter, qos, noLocal, retainAsPublished }) => ({
        topic: filter,
        qos,
        ...(this.isV5 ? { nl: noLocal, rap: retainAsPublished, rh: 0 } : {}),
      })),
      ...(this.isV5 && identifier > 0 ? { properties: { subscriptionIdentifier: identifier } } : {}),
    });
  }

  unsubscribe(filter: string): void {
    const { oracle, trace } = this.#with;
    const packetId = this.#nextPacketId();
    oracle.moment++;
    oracle.memberLeaves(this.session);
    this.session.subscriptions.delete(filter);
    this.requests.set(packetId, { kind: "unsubscribe", sinceLsn: this.#logEnd, filter });
    trace(`${this.traits.clientId} unsubscribes ${filter} #${packetId}`);
    this.link!.send({ cmd: "unsubscribe", messageId: packetId, unsubscriptions: [filter] });
  }

  /** Sends some of the acknowledgements that are due. */
  acknowledge(count: number): void {
    const { session } = this;
    for (; count > 0 && this.acknowledgements.length > 0 && this.phase === "on"; count--) {
      const { cmd, packetId } = this.acknowledgements.shift()!;
      this.#with.trace(`${this.traits.clientId} ${cmd} #${packetId}`);
      if (cmd === "puback") session.inboundQos1.delete(packetId);
      if (cmd === "pubcomp") session.inboundQos2.delete(packetId);
      this.link!.send({ cmd, messageId: packetId });
    }
  }

  /** Says goodbye. */
  disconnect(): void {
    this.#with.trace(`${this.traits.clientId} disconnects`);
    for (const will of this.wills) if (will.state === "armed") will.state = "cancelled";
    this.link!.send({ cmd: "disconnect" });
    this.lose();
  }

  /** The network is gone; `unnoticed` = the broker does not hear of it until it speaks or the client comes back. */
  lose(how: "noticed" | "unnoticed" = "noticed"): void {
    if (this.phase === "off") return;
    const { machine, oracle } = this.#with;
    for (const will of this.wills) {
      if (will.state !== "armed") continue;
      will.state = how === "noticed" ? "ended" : "unknown";
      will.dueMs = machine.nowMs + Math.min(will.delaySeconds, this.traits.expirySeconds) * 1000;
    }
    // One that was never answered leaves the Session as it was.
    if (this.phase === "on") this.offlineMs = machine.nowMs;
    this.phase = "off";
    this.acknowledgements = [];
    this.requests.clear();
    const { inboundQos1 } = this.session;
    // The group may give it to another member.
    for (const [packetId, payload] of inboundQos1) {
      if (oracle.publications.get(payload)!.topic.startsWith("s/")) inboundQos1.delete(packetId);
    }
    if (!this.session.isDurable) oracle.memberLeaves(this.session);
    if (how === "noticed") this.link!.lose();
    else {
      this.link!.isDeaf = true;
      this.link!.isStalled = false;
      this.#deaf.push(this.link!);
    }
    this.link = undefined;
  }

  /** A crash may have brought back a Session from before the last clean start. */
  mayBeEarlier(): void {
    this.session.asked.push(...this.#asked);
  }

  /** The broker is gone, and with it the connection. */
  crashed(): void {
    this.#deaf = [];
    this.session.hasCrashed = true;
    if (this.link !== undefined) this.link.isGone = true;
    this.lose();
  }

  // What comes.

  receive(packet: Received): void {
    const { oracle, trace } = this.#with;
    // Only `clearRetained` sends those.
    if (packet.cmd === "publish" && packet.payload!.length === 0) return;
    oracle.moment++;
    trace(`${this.traits.clientId} <- ${textOf(packet).slice(0, 100)}`);
    if (this.phase === "connecting") {
      assert.equal(packet.cmd, "connack", `${this.traits.clientId}: CONNACK comes first`);
    }
    switch (packet.cmd) {
      case "connack":
        return this.#connected(packet);
      case "publish":
        return this.#published_(packet);
      case "puback":
      case "pubrec":
        return this.#acknowledged(packet);
      case "pubrel":
        this.acknowledgements.push({ cmd: "pubcomp", packetId: packet.messageId! });
        return;
      case "pubcomp":
        assert(this.outgoing.get(packet.messageId!)?.isReceived, "PUBCOMP without PUBREL");
        this.outgoing.delete(packet.messageId!);
        return;
      case "suback":
        return this.#subscribed(packet);
      case "unsuback":
        this.requests.delete(packet.messageId!);
        return;
      case "disconnect":
        return;
      default:
        assert.fail(`${this.traits.clientId} got ${packet.cmd}`);
    }
  }

  #connected(packet: Received): void {
    const { oracle, machine } = this.#with;
    const { clientId } = this.traits;
    const code = packet.reasonCode ?? packet.returnCode ?? 0;
    if (code !== 0) {
      this.lose();
      return;
    }
    const { clean, mustBePresent, will } = this.#connect!;
    const isPresent = packet.sessionPresent === true;
    if (clean) assert(!isPresent, `${clientId} asked for a clean start and got a Session`);
    // While CONNECT waits for its record the old Session may come to its end.
    const mayHaveExpired = this.#mayHaveExpired;
    if (mustBePresent && !mayHaveExpired) assert(isPresent, `${clientId} lost its Session`);
    for (const earlier of this.wills) {
      if (earlier.state !== "ended") continue;
      if (isPresent && machine.nowMs < earlier.dueMs && !this.session.hasCrashed) earlier.state = "cancelled";
      else if (isPresent) earlier.state = "unknown";
      // [MQTT-3.1.3-9] The Session ended, and with it the delay.
      else earlier.dueMs = Math.min(earlier.dueMs, machine.nowMs);
    }
    if (will !== undefined) will.state = "armed";
    this.phase = "on";
    if (!isPresent) {
      oracle.ended(this.session);
      this.#asked.push(...this.session.asked);
      // [3.1.1, 3.1.2.4] Clean Session also ends it with its connection.
      this.session = new SessionModel(clientId, this.isDurable && (this.isV5 || !clean));
      oracle.sessions.add(this.session);
      // [MQTT-3.2.2-5] The Session State on this side goes too.
      this.outgoing.clear();
    } // A Session that an unanswered CONNECT began, perhaps: of what is under way there, this side knows nothing.
    else if (this.session.isUncertain || mayHaveExpired) {
      for (const { publication } of this.outgoing.values()) publication.mayRepeat = true;
      oracle.forgets(this.session);
      this.session.isAnother = true;
      this.session.subscriptions.clear();
    }
    this.session.isPromised = this.session.isDurable;
    this.session.isUncertain = false;
    for (const [packetId, { publication, isReceived }] of this.outgoing) {
      if (isReceived) this.acknowledgements.push({ cmd: "pubrel", packetId });
      else this.#send(publication, packetId, true);
    }
  }

  #published_(packet: Received): void {
    const { oracle } = this.#with;
    const { session, traits } = this;
    oracle.received(session, packet, this.isV5);
    if (packet.qos === 0) return;
    this.acknowledgements.push({ cmd: packet.qos === 1 ? "puback" : "pubrec", packetId: packet.messageId! });
    const open = this.acknowledgements.filter(({ cmd }) => cmd === "puback" || cmd === "pubrec").length;
    if (this.isV5) assert(open <= traits.receiveMaximum, `${traits.clientId}: more than its Receive Maximum`);
  }

  #acknowledged({ cmd, messageId, reasonCode }: Received): void {
    const sent = this.outgoing.get(messageId!);
    assert(sent !== undefined, `${this.traits.clientId}: ${cmd} #${messageId} for nothing`);
    if ((reasonCode ?? 0) >= 0x80) {
      this.outgoing.delete(messageId!);
      return;
    }
    this.#with.oracle.acknowledged(sent.publication);
    if (cmd === "puback") this.outgoing.delete(messageId!);
    else {
      sent.isReceived = true;
      this.acknowledgements.push({ cmd: "pubrel", packetId: messageId! });
    }
  }

  #subscribed({ messageId, granted }: Received): void {
    const { oracle } = this.#with;
    const request = this.requests.get(messageId!);
    assert(request?.kind === "subscribe", `${this.traits.clientId}: SUBACK #${messageId} for nothing`);
    this.requests.delete(messageId!);
    request.subscriptions.forEach((model, index) => {
      if (granted![index]! >= 0x80) return;
      assert.equal(granted![index], model.qos);
      // Taken back before its answer came.
      if (this.#isLeaving(model.filter)) return;
      const before = this.session.subscriptions.get(model.filter);
      model.acknowledgedAt = before?.acknowledgedAt ?? oracle.moment;
      this.session.subscriptions.set(model.filter, model);
    });
  }

  #isLeaving(filter: string): boolean {
    return [...this.requests.values()].some((each) => each.kind === "unsubscribe" && each.filter === filter);
  }

  #send(publication: Publication, packetId: number, dup: boolean): void {
    const { topic, payload, qos, retain, properties } = publication;
    publication.sends++;
    this.link!.send({
      cmd: "publish",
      topic,
      payload,
      qos,
      retain,
      dup,
      ...(qos > 0 ? { messageId: packetId } : {}),
      ...(properties === undefined ? {} : { properties }),
    });
  }

  get #logEnd(): number {
    return this.#with.machine.process.opened.log.endLsn;
  }

  /** Never the same twice in a run, which is allowed and tells more. */
  #nextPacketId(): number {
    return ++this.#packetId;
  }
}

/** Longer than a run, and shorter than the least step of the wall clock by days. */
const MESSAGE_EXPIRY_SECONDS = 10_000;

/** One network connection. */
export class Link implements Transport {
  readonly connection: Connection;
  /** While true, the network takes nothing from the broker. */
  isStalled = false;
  isGone = false;
  /** The client is not there any more, and the broker does not know. */
  isDeaf = false;
  readonly #client: SimulatedClient;
  readonly #with: ClientSurroundings;
  readonly #version: 4 | 5;
  readonly #reader: PacketReader;
  #isEnded = false;
  #unread: Uint8Array = new Uint8Array(0);
  #isPresenting = false;
  #isBusy = false;
  /** Since when the network has had a write under way without a pause. */
  #busySinceMs = 0;
  #writing: { readonly storage: Uint8Array; readonly packets: readonly Received[] } | undefined = undefined;

  constructor(client: SimulatedClient, surroundings: ClientSurroundings, version: 4 | 5) {
    this.#client = client;
    this.#with = surroundings;
    this.#version = version;
    this.#reader = new PacketReader(version);
    const limits = { messageRate: 0, byteRate: 0, isWait: true };
    const settings = { writeBufferBytes: 64, readTimeoutMs: 3_000_000, writeTimeoutMs: 3_000_000, limits };
    const listener = { name: "simulated", anonymous: undefined, versions: undefined };
    const origin = { remoteAddress: "127.0.0.1", isLoopback: true, certificate: undefined, listener };
    this.connection = new Connection(surroundings.machine.process.core, this, origin, settings);
  }

  /** How long the present write may have waited for the network at most. */
  get delayMs(): number {
    return this.#with.machine.nowMs - this.#busySinceMs;
  }

  write(storage: Uint8Array, length: number): void {
    if (!this.#isBusy) this.#busySinceMs = this.#with.machine.nowMs;
    this.#isBusy = true;
    const packets = this.#with.machine.isDead ? [] : this.#reader.read(storage.slice(0, length));
    this.#writing = { storage, packets };
    if (this.isDeaf || this.isGone) return;
    for (const packet of packets) this.#with.whenWritten(this.#client, packet);
  }

  resume(): void {
    this.#present();
  }

  finish(): void {
    this.#isEnded = true;
  }

  abort(): void {
    this.#isEnded = true;
  }

  send(packet: Packet): void {
    const bytes = generate(packet, { protocolVersion: this.#version });
    const unread = new Uint8Array(this.#unread.length + bytes.length);
    unread.set(this.#unread);
    unread.set(bytes, this.#unread.length);
    this.#unread = unread;
    this.#present();
  }

  /** The network takes the present write to the client; false when there was nothing to do. */
  step(): boolean {
    if (this.isGone || this.#with.machine.isDead) return false;
    const write = this.#writing;
    if (write !== undefined && !this.isStalled) {
      this.#writing = undefined;
      for (const packet of write.packets) {
        if (this.isDeaf) break;
        this.#client.receive(packet);
        if (this.isGone) return true;
      }
      this.connection.wrote(this.connection.writingBytes);
      this.connection.written(write.storage);
      this.#isBusy = this.#writing !== undefined;
      return true;
    }
    if (!this.#isEnded || this.isStalled) return false;
    if (this.isDeaf) this.lose();
    else this.#client.lose();
    return true;
  }

  lose(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.#writing = undefined;
    this.connection.closed();
  }

  #present(): void {
    if (this.#isPresenting || this.isGone || this.#unread.length === 0 || this.connection.isPaused) return;
    if (this.#with.machine.isDead) return;
    this.#isPresenting = true;
    const bytes = this.#unread;
    const used = this.connection.receive(bytes, 0, bytes.length, this.#with.machine.hostClock.steady.nowMs());
    this.#isPresenting = false;
    this.#unread = bytes.slice(used);
  }
}
