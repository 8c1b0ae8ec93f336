/**
 * A client without a socket: a real `Connection` on a transport that is only memory.
 *
 * Packets are built and read by `mqtt-packet`. The client does nothing by itself; it acknowledges only what a test
 * tells it to. Bytes it sends reach the broker at once, either in one piece or one by one (`Feed`); what the broker
 * writes becomes visible when the world settles.
 */
import { generate, type IConnectPacket, type IPublishPacket, type ISubscription, type Packet } from "mqtt-packet";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { BrokerCore } from "../../src/broker/broker_core.ts";
import type { ClientOrigin } from "../../src/broker/client_origin.ts";
import { Connection, type ConnectionSettings, type Transport } from "../../src/listeners/transport/connection.ts";
import { PacketReader, type Received, textOf } from "./packet_text.ts";

/** How bytes reach the broker: as they were sent, or each in a read of its own. */
export type Feed = "whole" | "bytewise";

/** Fields of a CONNECT; absent ones are the defaults of a v5 client that starts clean, without Keep Alive. */
export type ConnectOptions = Partial<Omit<IConnectPacket, "cmd" | "messageId" | "length">>;

/** Fields of a PUBLISH besides topic and payload. */
export type PublishOptions = Partial<Pick<IPublishPacket, "qos" | "retain" | "dup" | "messageId" | "properties">>;

/** What a client lives in. */
export interface ClientWorld {
  readonly core: BrokerCore;
  readonly feed: Feed;
  readonly nowMs: number;
  /** Ends turns and lets the network take bytes until nothing is left to do now. */
  readonly settle: () => void;
}

/** See the head of this file. */
export class TestClient implements Transport {
  readonly connection: Connection;
  /** While true, the network takes none of the bytes that the broker writes. */
  isStalled = false;
  /** True once the broker closed the socket, and how. */
  ending: "finished" | "aborted" | undefined = undefined;
  /** True once `Connection.closed` was told. */
  isGone = false;
  /** All bytes the broker wrote. */
  written: number[] = [];
  readonly #world: ClientWorld;
  #version: 3 | 4 | 5 = 5;
  #reader = new PacketReader(5);
  #received: Received[] = [];
  #unread: Uint8Array = new Uint8Array(0);
  #isPresenting = false;
  #writing: { readonly storage: Uint8Array; readonly length: number } | undefined = undefined;
  #hasToldEnd = false;

  constructor(world: ClientWorld, origin: ClientOrigin, settings: ConnectionSettings) {
    this.#world = world;
    this.connection = new Connection(world.core, this, origin, settings);
  }

  write(storage: Uint8Array, length: number): void {
    assert(this.#writing === undefined, "one write at a time");
    assert(length > 0, "a write has bytes");
    this.#writing = { storage, length };
  }

  resume(): void {
    this.#present();
  }

  finish(): void {
    assert(this.#writing === undefined, "nothing is left to write when the socket is finished");
    this.ending ??= "finished";
  }

  abort(): void {
    this.ending ??= "aborted";
  }

  /** Bytes the connection has not used up. */
  get unreadBytes(): number {
    return this.#unread.length;
  }

  /** Sends CONNECT without waiting for the answer. */
  sendConnect(options: ConnectOptions = {}): this {
    const version = options.protocolVersion ?? 5;
    this.#version = version;
    this.#reader = new PacketReader(version);
    return this.send({
      cmd: "connect",
      protocolId: version === 3 ? "MQIsdp" : "MQTT",
      protocolVersion: version,
      clientId: "",
      clean: true,
      keepalive: 0,
      ...options,
    });
  }

  /** Sends CONNECT, settles the world, and returns the CONNACK as text; what follows it stays to be read. */
  connect(options: ConnectOptions = {}): string {
    this.sendConnect(options);
    return this.answer();
  }

  /** Settles the world, and returns the next packet as text; what follows it stays to be read. */
  answer(): string {
    this.#world.settle();
    const next = this.#received.shift();
    return next === undefined ? "nothing" : textOf(next);
  }

  /** Sends one packet within the present turn. */
  send(packet: Packet): this {
    return this.sendBytes(generate(packet, { protocolVersion: this.#version }));
  }

  /** Sends several packets in one read. */
  sendTogether(...packets: readonly Packet[]): this {
    return this.sendBytes(
      Buffer.concat(packets.map((packet) => generate(packet, { protocolVersion: this.#version }))),
    );
  }

  /** Sends bytes as they are. */
  sendBytes(bytes: Uint8Array): this {
    if (this.#world.feed === "whole") this.#receive(bytes);
    else for (const byte of bytes) this.#receive(Uint8Array.of(byte));
    return this;
  }

  publish(topic: string, payload: string, options: PublishOptions = {}): this {
    return this.send(publishPacket(topic, payload, options));
  }

  subscribe(messageId: number, filters: string | readonly ISubscription[], qos: 0 | 1 | 2 = 2, identifier = 0): this {
    const subscriptions = typeof filters === "string" ? [{ topic: filters, qos }] : [...filters];
    const properties = identifier === 0 ? {} : { properties: { subscriptionIdentifier: identifier } };
    return this.send({ cmd: "subscribe", messageId, subscriptions, ...properties });
  }

  unsubscribe(messageId: number, ...unsubscriptions: string[]): this {
    return this.send({ cmd: "unsubscribe", messageId, unsubscriptions });
  }

  puback(messageId: number): this {
    return this.send({ cmd: "puback", messageId });
  }

  pubrec(messageId: number, reasonCode = 0): this {
    return this.send({ cmd: "pubrec", messageId, reasonCode });
  }

  pubrel(messageId: number): this {
    return this.send({ cmd: "pubrel", messageId });
  }

  pubcomp(messageId: number): this {
    return this.send({ cmd: "pubcomp", messageId });
  }

  disconnect(reasonCode = 0, sessionExpiryInterval?: number): this {
    const properties = sessionExpiryInterval === undefined ? {} : { properties: { sessionExpiryInterval } };
    return this.send({ cmd: "disconnect", reasonCode, ...properties });
  }

  auth(reasonCode: number, authenticationMethod: string, data: string): this {
    const properties = { authenticationMethod, authenticationData: Buffer.from(data) };
    return this.send({ cmd: "auth", reasonCode, properties });
  }

  /** The network dies: no goodbye, and nothing that was on its way arrives. */
  lose(): this {
    if (this.isGone) return this;
    this.isGone = true;
    this.#writing = undefined;
    this.connection.closed();
    return this;
  }

  /** The broker dies: what was on its way to it is lost, and nobody hears of the connection any more. */
  crash(): void {
    this.isGone = true;
    this.#writing = undefined;
    this.#unread = new Uint8Array(0);
  }

  /** The client closes its sending side. */
  end(): this {
    this.connection.receiveEnded(this.#world.nowMs);
    return this;
  }

  /** Settles the world and returns the packets that came since the last call. */
  read(): Received[] {
    this.#world.settle();
    const received = this.#received;
    this.#received = [];
    return received;
  }

  /** As `read`, as text, with `closed` or `cut` at the end when the broker ended the connection. */
  heard(): string[] {
    const lines = this.read().map(textOf);
    if (this.ending !== undefined && !this.#hasToldEnd) {
      this.#hasToldEnd = true;
      lines.push(this.ending === "finished" ? "closed" : "cut");
    }
    return lines;
  }

  /** The network takes `count` bytes of the present write, without finishing it. */
  takeSome(count: number): void {
    assert(this.#writing !== undefined && count < this.#writing.length, "a write with more bytes is under way");
    this.connection.wrote(count);
  }

  /** Finishes the present write, or closes an ended connection; false when there was nothing to do. */
  step(): boolean {
    if (this.isGone) return false;
    const write = this.#writing;
    if (write !== undefined && !this.isStalled && this.ending !== "aborted") {
      const bytes = write.storage.slice(0, write.length);
      this.written.push(...bytes);
      this.#received.push(...this.#reader.read(bytes));
      this.#writing = undefined;
      this.connection.wrote(this.connection.writingBytes);
      this.connection.written(write.storage);
      return true;
    }
    if (this.ending === undefined) return false;
    this.lose();
    return true;
  }

  #receive(bytes: Uint8Array): void {
    if (this.isGone) return;
    const unread = new Uint8Array(this.#unread.length + bytes.length);
    unread.set(this.#unread);
    unread.set(bytes, this.#unread.length);
    this.#unread = unread;
    this.#present();
  }

  /** Shows the connection what it has not used up, unless that is just happening. */
  #present(): void {
    if (this.#isPresenting || this.isGone || this.#unread.length === 0 || this.connection.isPaused) return;
    this.#isPresenting = true;
    // At an offset, as in a read buffer, and spoiled afterwards: nothing of it may be kept.
    const buffer = new Uint8Array(2 + this.#unread.length);
    buffer.set(this.#unread, 2);
    const used = this.connection.receive(buffer, 2, buffer.length, this.#world.nowMs);
    this.#isPresenting = false;
    this.#unread = buffer.slice(used);
    buffer.fill(0xee);
  }
}

/** A PUBLISH; QoS 1 and 2 need a `messageId`. */
export function publishPacket(topic: string, payload: string, options: PublishOptions = {}): IPublishPacket {
  return { cmd: "publish", topic, payload, qos: 0, retain: false, dup: false, ...options };
}
