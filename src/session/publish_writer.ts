/**
 * The last step of every delivery: one PUBLISH into the client's connection, in the client's version, with a Topic
 * Alias where it has one, and never above its Maximum Packet Size. Nothing here knows windows, queues or the store.
 */
import type { Message } from "../protocol/message.ts";
import { NO_IDENTIFIERS } from "../protocol/publish_encoder.ts";
import type { PacketSink } from "./packet_sink.ts";
import type { Session } from "./session.ts";
import type { SessionContext } from "./session_context.ts";

/**
 * Writes the encoder's present message to the Session's connection and counts it.
 *
 * @param message The message the encoder was begun with.
 * @param flags Low four bits of the fixed header: DUP, QoS, RETAIN.
 * @param packetId 0 at QoS 0.
 * @returns False when it is larger than the client takes: dropped as if delivered, and counted. [MQTT-3.1.2-25]
 */
export function writePublish(
  session: Session,
  context: SessionContext,
  sink: PacketSink,
  message: Message,
  flags: number,
  packetId: number,
  identifiers: readonly number[],
): boolean {
  const { encoder, counters } = context;
  const { isV5, packetBytesMax, outboundAliases } = session;
  const own = isV5 ? identifiers : NO_IDENTIFIERS;
  const size = outboundAliases === undefined
    ? encoder.write(sink.out, isV5, flags, packetId, own, packetBytesMax)
    : encoder.writeAliased(sink.out, outboundAliases, flags, packetId, own, packetBytesMax);
  if (size === 0) {
    counters.messagesDropped.packet_too_large++;
    return false;
  }
  counters.packetsSent++;
  counters.messagesDelivered++;
  counters.bytesDelivered += message.payloadEnd - message.payloadStart;
  if (!sink.isTouched) sink.touch();
  return true;
}
