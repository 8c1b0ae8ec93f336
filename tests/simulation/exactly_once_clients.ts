/**
 * Two clients that keep MQTT 5.0, 4.3.3 to the letter, for runs in which the power goes: a publisher at QoS 2 that keeps
 * what is not complete and sends it again, and a subscriber with a durable Session that remembers, across connections, the
 * Packet Identifiers it has received and that were not released, and hands each message to its application once.
 *
 * Their network is memory: what the broker writes arrives when the scheduler says so, and never when it died before.
 */
import { generate, type IConnectPacket, type Packet } from "mqtt-packet";
import assert from "node:assert/strict";
import { Connection, type Transport } from "../../src/listeners/transport/connection.ts";
import { PacketReader, type Received, textOf } from "../broker/packet_text.ts";
import type { Machine } from "./machine.ts";

/** What the two share. */
abstract class Qos2Client {
  /** True once CONNACK came. */
  isOn = false;
  #wire: Wire | undefined = undefined;

  constructor(
    readonly clientId: string,
    readonly receiveMaximum: number,
    protected readonly machine: Machine,
    protected readonly trace: (line: string) => void,
  ) {}

  get isOff(): boolean {
    return this.#wire === undefined;
  }

  connect(): void {
    this.lose();
    this.trace(`${this.clientId} connects`);
    this.#wire = new Wire(this.machine, (packet) => this.#receive(packet), () => this.lose());
    const packet: IConnectPacket = {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: 5,
      clientId: this.clientId,
      clean: false,
      keepalive: 0,
      properties: { sessionExpiryInterval: 0xffff_ffff, receiveMaximum: this.receiveMaximum },
    };
    this.send(packet);
  }

  /** The network is gone. */
  lose(): void {
    const wire = this.#wire;
    this.#wire = undefined;
    this.isOn = false;
    this.lost();
    wire?.lose();
  }

  /** The network takes what the broker has written; false when there was nothing. */
  step(): boolean {
    return this.#wire?.step() ?? false;
  }

  protected send(packet: Packet): void {
    this.#wire?.send(packet);
  }

  /** CONNACK came, `isPresent` = for the Session there was. */
  protected abstract connected(isPresent: boolean): void;
  protected abstract received(packet: Received): void;
  protected abstract lost(): void;

  #receive(packet: Received): void {
    this.trace(`${this.clientId} <- ${textOf(packet)}`);
    if (packet.cmd !== "connack") return this.received(packet);
    assert.equal(packet.reasonCode, 0);
    this.isOn = true;
    this.connected(packet.sessionPresent === true);
  }
}

/** Sends numbered messages at QoS 2. */
export class Qos2Publisher extends Qos2Client {
  /** Of all messages ever sent. */
  readonly payloads: string[] = [];
  /** Those that PUBREC came for. */
  readonly acknowledged = new Set<string>();
  /** By Packet Identifier, in the order of the first PUBLISH; `isReceived` = PUBREC came. */
  readonly #outgoing = new Map<number, { readonly payload: string; isReceived: boolean }>();
  #nextId = 0;

  get isBusy(): boolean {
    return this.#outgoing.size > 0;
  }

  /** Sends one more message, unless as many as `window` are on their way. */
  publish(window: number): void {
    if (!this.isOn || this.#outgoing.size >= window) return;
    // Identifiers are used again soon.
    do this.#nextId = this.#nextId % (2 * window) + 1; while (this.#outgoing.has(this.#nextId));
    const payload = `message ${this.payloads.length}`;
    this.payloads.push(payload);
    this.#outgoing.set(this.#nextId, { payload, isReceived: false });
    this.trace(`${this.clientId} publishes ${payload} #${this.#nextId}`);
    this.#publish(this.#nextId, payload, false);
  }

  protected connected(isPresent: boolean): void {
    assert(isPresent || this.acknowledged.size === 0, `${this.clientId} lost its Session`);
    for (const [packetId, { payload, isReceived }] of this.#outgoing) {
      if (isReceived) this.send({ cmd: "pubrel", messageId: packetId });
      else this.#publish(packetId, payload, true);
    }
  }

  protected received({ cmd, messageId, reasonCode }: Received): void {
    const packetId = messageId!;
    const outgoing = this.#outgoing.get(packetId);
    assert(outgoing !== undefined, `${cmd} #${packetId} for nothing`);
    if (cmd === "pubrec") {
      assert((reasonCode ?? 0) < 0x80, `PUBREC #${packetId} with ${reasonCode}`);
      outgoing.isReceived = true;
      this.acknowledged.add(outgoing.payload);
      this.send({ cmd: "pubrel", messageId: packetId });
    } else {
      // [MQTT 5.0, 3.7.2.1] Not found is no error here: the identifier was released, and the answer was lost with the power.
      assert.equal(cmd, "pubcomp");
      this.#outgoing.delete(packetId);
    }
  }

  protected lost(): void {}

  #publish(packetId: number, payload: string, dup: boolean): void {
    this.send({ cmd: "publish", topic: "t", payload, qos: 2, retain: false, dup, messageId: packetId });
  }
}

/** Receives at QoS 2, and acknowledges when it is told to. */
export class Qos2Subscriber extends Qos2Client {
  /** What the application got, in order. */
  readonly application: string[] = [];
  /** What must not happen and did. Nobody sees it as a client does not, so it goes on. */
  readonly violations: string[] = [];
  /** True once SUBACK came. */
  isSubscribed = false;
  /** [MQTT-4.3.3-10] Payloads by Packet Identifier, received and not released. */
  readonly #unreleased = new Map<number, string>();
  /** Answers to send, in order. */
  #answers: { readonly cmd: "pubrec" | "pubcomp"; readonly messageId: number }[] = [];

  get owesAnswers(): boolean {
    return this.#answers.length > 0;
  }

  answer(count: number): void {
    for (; count > 0 && this.isOn && this.#answers.length > 0; count--) {
      const answer = this.#answers.shift()!;
      this.trace(`${this.clientId} ${answer.cmd} #${answer.messageId}`);
      this.send(answer);
    }
  }

  protected connected(isPresent: boolean): void {
    assert(isPresent || !this.isSubscribed, `${this.clientId} lost its Session`);
    if (!isPresent) this.#unreleased.clear();
    if (!this.isSubscribed) this.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t", qos: 2 }] });
  }

  protected received(packet: Received): void {
    const packetId = packet.messageId!;
    switch (packet.cmd) {
      case "suback":
        this.isSubscribed = true;
        return;
      case "publish": {
        const payload = String(packet.payload);
        assert.equal(packet.qos, 2);
        const known = this.#unreleased.get(packetId);
        if (known === undefined) {
          this.#unreleased.set(packetId, payload);
          if (this.application.includes(payload)) this.#violated(`twice: ${payload} came again as #${packetId}`);
          this.application.push(payload);
        } // Discarded: the client knows the identifier alone.
        else if (known !== payload) this.#violated(`lost: ${payload} came as #${packetId}, which ${known} has`);
        this.#answers.push({ cmd: "pubrec", messageId: packetId });
        return;
      }
      case "pubrel":
        this.#unreleased.delete(packetId);
        this.#answers.push({ cmd: "pubcomp", messageId: packetId });
        return;
      default:
        assert.fail(`${this.clientId} got ${packet.cmd}`);
    }
  }

  protected lost(): void {
    this.#answers = [];
  }

  #violated(what: string): void {
    this.violations.push(what);
    this.trace(what);
  }
}

/** One network connection. */
class Wire implements Transport {
  readonly #connection: Connection;
  readonly #machine: Machine;
  readonly #receive: (packet: Received) => void;
  readonly #end: () => void;
  readonly #reader = new PacketReader(5);
  #writing: { readonly storage: Uint8Array; readonly packets: readonly Received[] } | undefined = undefined;
  #unread: Uint8Array = new Uint8Array(0);
  #isPresenting = false;
  #isEnded = false;
  #isGone = false;

  /** @param end Called when the broker has closed the connection. */
  constructor(machine: Machine, receive: (packet: Received) => void, end: () => void) {
    this.#machine = machine;
    this.#receive = receive;
    this.#end = end;
    const limits = { messageRate: 0, byteRate: 0, isWait: true };
    const settings = { writeBufferBytes: 64, readTimeoutMs: 3_000_000, writeTimeoutMs: 3_000_000, limits };
    const listener = { name: "simulated", anonymous: undefined, versions: undefined };
    const peer = { remoteAddress: "127.0.0.1", isLoopback: true, certificate: undefined, listener };
    this.#connection = new Connection(machine.process.core, this, peer, settings);
  }

  write(storage: Uint8Array, length: number): void {
    this.#writing = { storage, packets: this.#machine.isDead ? [] : this.#reader.read(storage.slice(0, length)) };
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
    const bytes = generate(packet, { protocolVersion: 5 });
    const unread = new Uint8Array(this.#unread.length + bytes.length);
    unread.set(this.#unread);
    unread.set(bytes, this.#unread.length);
    this.#unread = unread;
    this.#present();
  }

  step(): boolean {
    if (this.#isGone || this.#machine.isDead) return false;
    const write = this.#writing;
    if (write !== undefined) {
      this.#writing = undefined;
      for (const packet of write.packets) {
        this.#receive(packet);
        if (this.#isGone) return true;
      }
      this.#connection.wrote(this.#connection.writingBytes);
      this.#connection.written(write.storage);
      return true;
    }
    if (!this.#isEnded) return false;
    this.#end();
    return true;
  }

  lose(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#writing = undefined;
    if (!this.#machine.isDead) this.#connection.closed();
  }

  #present(): void {
    if (this.#isPresenting || this.#isGone || this.#unread.length === 0 || this.#connection.isPaused) return;
    if (this.#machine.isDead) return;
    this.#isPresenting = true;
    const bytes = this.#unread;
    const used = this.#connection.receive(bytes, 0, bytes.length, this.#machine.nowMs);
    this.#isPresenting = false;
    this.#unread = bytes.slice(used);
  }
}
