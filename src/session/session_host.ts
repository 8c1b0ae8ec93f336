/**
 * What a Session machine asks of the broker around it. Implemented by `broker/`; tests implement it to watch.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import type { Message } from "../protocol/message.ts";
import type { AuthPacket, DisconnectPacket, Fault, SubscribePacket, UnsubscribePacket } from "../protocol/packets.ts";
import type { Topic } from "../topics/topic.ts";
import type { Session } from "./session.ts";

/** The broker as the packet handler sees it. All methods are synchronous and return before anything is delivered. */
export interface SessionHost {
  /**
   * Routes a message. For QoS 1 and 2 the host acknowledges `packetId` once the message is committed.
   *
   * @param message Valid until the call returns.
   * @param packetId 0 at QoS 0.
   */
  publish(publisher: Session, message: Message, topic: Topic, packetId: PacketId, nowMs: number): void;
  /** Acknowledges a QoS 1 or 2 PUBLISH without routing it, in order with the others. */
  acknowledge(publisher: Session, header: number, packetId: PacketId, reasonCode: number): void;
  /** Records that PUBREL released a Packet Identifier, then answers PUBCOMP. */
  release(publisher: Session, packetId: PacketId, reasonCode: number): void;
  subscribe(session: Session, packet: SubscribePacket): void;
  unsubscribe(session: Session, packet: UnsubscribePacket): void;
  /** The client said goodbye; the connection ends after this. */
  disconnected(session: Session, packet: DisconnectPacket): Fault | undefined;
  /** Re-authentication. [MQTT 5.0, 4.12.1] */
  authenticate(session: Session, packet: AuthPacket): Fault | undefined;
}
