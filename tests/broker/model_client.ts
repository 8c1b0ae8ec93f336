/**
 * A client that keeps the protocol's promises: it remembers its half of the Session across connections, sends again
 * what was not acknowledged, and takes every QoS 2 message once. Its network may fail at any moment, and it reads and
 * answers only when told to, so acknowledgements get lost in every possible place.
 */
import assert from "node:assert/strict";
import type { World } from "./harness.ts";
import type { Received } from "./packet_text.ts";
import type { ConnectOptions, TestClient } from "./test_client.ts";

/** A message on its way to the broker. */
interface Outgoing {
  readonly messageId: number;
  readonly topic: string;
  readonly payload: string;
  readonly qos: 1 | 2;
  isReleased: boolean;
}

/** See the head of this file. */
export class ModelClient {
  /** Payloads of the messages received, in order; QoS 2 ones once per delivery, others as often as they came. */
  readonly received: string[] = [];
  readonly #world: World;
  readonly #options: ConnectOptions;
  #connection: TestClient | undefined = undefined;
  #isConnected = false;
  #wasConnected = false;
  #inbox: Received[] = [];
  #outgoing: Outgoing[] = [];
  readonly #open = new Set<number>();
  #nextId = 1;

  constructor(world: World, readonly clientId: string, options: ConnectOptions = {}) {
    this.#world = world;
    this.#options = {
      clientId,
      clean: false,
      ...options,
      properties: { ...options.properties, sessionExpiryInterval: 0xffff_ffff },
    };
  }

  /** True while nothing is left to be read or acknowledged. */
  get isAtRest(): boolean {
    return this.#isConnected && this.#inbox.length === 0 && this.#outgoing.length === 0 && this.#open.size === 0;
  }

  /** Connects anew; a connection that is still there will be taken over. */
  connect(): void {
    this.#leave();
    this.#connection = this.#world.open();
    this.#connection.sendConnect(this.#options);
  }

  /** The network fails; what was not read yet is lost. */
  lose(): void {
    this.#connection?.lose();
    this.#leave();
  }

  /** Says goodbye properly. */
  disconnect(): void {
    if (this.#isConnected) this.#connection!.disconnect();
    this.#leave();
  }

  /** While stalled, the network takes nothing from the broker. */
  setStalled(isStalled: boolean): void {
    if (this.#connection !== undefined) this.#connection.isStalled = isStalled;
  }

  subscribe(filter: string, qos: 0 | 1 | 2): void {
    if (this.#isConnected) this.#connection!.subscribe(this.#takeId(), filter, qos);
  }

  unsubscribe(filter: string): void {
    if (this.#isConnected) this.#connection!.unsubscribe(this.#takeId(), filter);
  }

  /** Publishes now, or as soon as a connection is there. */
  publish(topic: string, payload: string, qos: 1 | 2): void {
    const message = { messageId: this.#takeId(), topic, payload, qos, isReleased: false };
    this.#outgoing.push(message);
    if (this.#isConnected) this.#send(message, false);
  }

  /** Takes in what the network brought, without answering. */
  listen(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#inbox.push(...connection.read());
    if (connection.isGone) this.#leave();
  }

  /** Answers up to `count` packets. */
  act(count: number): void {
    this.listen();
    for (const packet of this.#inbox.splice(0, count)) this.#handle(packet);
  }

  #leave(): void {
    this.#connection = undefined;
    this.#isConnected = false;
    this.#inbox = [];
  }

  #takeId(): number {
    this.#nextId = this.#nextId % 60_000 + 1;
    return this.#nextId;
  }

  #send({ topic, payload, qos, messageId, isReleased }: Outgoing, dup: boolean): void {
    if (isReleased) this.#connection!.pubrel(messageId);
    else this.#connection!.publish(topic, payload, { qos, messageId, dup });
  }

  #handle(packet: Received): void {
    if (!this.#isConnected) {
      assert.equal(packet.cmd, "connack", "no packet comes before CONNACK");
      this.#handleConnack(packet);
      return;
    }
    const connection = this.#connection!;
    const messageId = packet.messageId ?? 0;
    switch (packet.cmd) {
      case "publish":
        if (packet.qos !== 2 || !this.#open.has(messageId)) this.received.push(String(packet.payload));
        if (packet.qos === 1) connection.puback(messageId);
        else if (packet.qos === 2) {
          this.#open.add(messageId);
          connection.pubrec(messageId);
        }
        return;
      case "pubrel":
        this.#open.delete(messageId);
        connection.pubcomp(messageId);
        return;
      case "pubrec":
        for (const message of this.#outgoing) if (message.messageId === messageId) message.isReleased = true;
        connection.pubrel(messageId);
        return;
      case "puback":
      case "pubcomp":
        this.#outgoing = this.#outgoing.filter((message) => message.messageId !== messageId);
        return;
      default:
        assert.match(packet.cmd, /^(?:suback|unsuback|pingresp)$/, "nothing else comes from the broker");
    }
  }

  #handleConnack(packet: Received): void {
    assert.equal(packet.reasonCode, 0);
    if (this.#wasConnected) assert.equal(packet.sessionPresent, true, "the broker kept the Session");
    this.#isConnected = this.#wasConnected = true;
    for (const message of this.#outgoing) this.#send(message, true);
  }
}
