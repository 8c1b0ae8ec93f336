/**
 * The way in of one Session: which inbound messages are open, and what the client may still send.
 * [MQTT 5.0, 3.3.4, 4.3.3 and 4.9]
 *
 *   received      a QoS 1 or 2 PUBLISH came; it counts against the Receive Maximum until it is answered
 *   open          a QoS 2 one is accepted: the same Packet Identifier again is a repetition, until PUBREL
 *   release       PUBREL, or the message was refused after all
 *   acknowledged  an answer leaves; the one that ends an exchange gives the quota back
 *
 * Packet Identifiers belong to the Session, all else to the present connection, which was told its limits with CONNACK: a
 * reload changes them for later ones.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import { AckHeader } from "../protocol/publish_codec.ts";
import type { Topic } from "../topics/topic.ts";
import { PacketIdSet } from "./packet_id_set.ts";
import type { SessionLimits } from "./session_limits.ts";
import { InboundAliases } from "./topic_aliases.ts";

/** See the head of this file. */
export class Inbound {
  /** Packet Identifiers of QoS 2 messages between PUBLISH and PUBREL. [MQTT-4.3.3-10] */
  readonly #open = new PacketIdSet();
  #unacknowledged = 0;
  #receiveMaximum = 0;
  #aliasMax = 0;
  #aliases: InboundAliases | undefined = undefined;

  /** Topic Alias Maximum of the present connection. */
  get aliasMax(): number {
    return this.#aliasMax;
  }

  /** Memory of the open Packet Identifiers. */
  get bytesHeld(): number {
    return this.#open.bytesHeld;
  }

  /** True while more than one message waits for its answer. */
  get hasSeveralUnacknowledged(): boolean {
    return this.#unacknowledged > 1;
  }

  /** Takes up the QoS 2 messages that waited for PUBREL before a restart. [MQTT-4.3.3-10] */
  restore(packetIds: Iterable<PacketId>): void {
    for (const packetId of packetIds) this.#open.add(packetId);
  }

  /** A connection begins, and is told these limits. */
  begin(limits: SessionLimits): void {
    this.#unacknowledged = 0;
    this.#receiveMaximum = limits.receiveMaximum;
    this.#aliasMax = limits.topicAliasMax;
    this.#aliases = undefined;
  }

  /** The connection ended. Of a client that is away, nothing is kept but open Packet Identifiers. */
  end(): void {
    this.#aliases = undefined;
    this.#open.trim();
  }

  /** The Session ended: nothing is open any more. */
  discard(): void {
    this.#open.clear();
  }

  /** True when a QoS 2 message with this Packet Identifier was accepted and not released. */
  isOpen(packetId: PacketId): boolean {
    return this.#open.has(packetId);
  }

  /** Counts a QoS 1 or 2 message. @returns False when it is above the Receive Maximum. [MQTT-3.3.4-9] */
  received(): boolean {
    return ++this.#unacknowledged <= this.#receiveMaximum;
  }

  /** Accepts a QoS 2 message. */
  open(packetId: PacketId): void {
    this.#open.add(packetId);
  }

  /** Ends a QoS 2 message. @returns False when it was not open. */
  release(packetId: PacketId): boolean {
    return this.#open.delete(packetId);
  }

  /** An answer to the present connection leaves. [MQTT-4.9.0-2] */
  acknowledged(header: number, reasonCode: number): void {
    // A good PUBREC is not the last answer.
    if (header === AckHeader.PUBREC && reasonCode < 0x80) return;
    if (this.#unacknowledged > 0) this.#unacknowledged--;
  }

  /** The topic that an alias stands for; undefined when it has not been set. */
  topicOf(alias: number): Topic | undefined {
    return this.#aliases === undefined ? undefined : this.#aliases.get(alias);
  }

  /** Sets or replaces an alias. @returns False when the client's aliases would take more memory than they may. */
  setAlias(alias: number, topic: Topic): boolean {
    return (this.#aliases ??= new InboundAliases()).set(alias, topic);
  }
}
