/**
 * The way in: what each packet of a connected client means for its Session. Sans-I/O, synchronous, allocation-free for
 * PUBLISH and the acknowledgements.
 *
 * One handler serves all Sessions of a broker; it keeps nothing between calls but reusable views. It returns a Fault
 * when the client broke a rule, and the connection then tells the client and closes.
 *
 *   PUBLISH      limits, alias, topic, Receive Maximum, format, permission → host.publish
 *   PUBREL       host.release (PUBCOMP follows its record)
 *   PUBACK…      the Session's Outbox
 *   SUBSCRIBE…   host
 */
import { decodeClientPacket } from "../protocol/codec.ts";
import { encodePingresp } from "../protocol/codec_encode.ts";
import { Message } from "../protocol/message.ts";
import { Fault, PacketType } from "../protocol/packets.ts";
import { copyForwardableProperties } from "../protocol/properties.ts";
import {
  AckFrame,
  AckHeader,
  decodeAck,
  decodePublish,
  isPayloadFormatValid,
  PublishFrame,
} from "../protocol/publish_codec.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { Topic, TopicCache } from "../topics/topic.ts";
import { explainTopicName } from "../topics/topic_rules.ts";
import type { Session } from "./session.ts";
import type { SessionContext } from "./session_context.ts";
import type { SessionHost } from "./session_host.ts";

/** See the head of this file. */
export class PacketHandler {
  readonly #context: SessionContext;
  readonly #topics: TopicCache;
  readonly #host: SessionHost;
  readonly #publish = new PublishFrame();
  readonly #ack = new AckFrame();
  readonly #message = new Message();
  #forwarded = new Uint8Array(FORWARDED_BYTES_MIN);

  constructor(context: SessionContext, topics: TopicCache, host: SessionHost) {
    this.#context = context;
    this.#topics = topics;
    this.#host = host;
  }

  /**
   * Handles one whole packet of a connected client.
   *
   * @param bytes Holds the packet at `start..end`; nothing of it is kept.
   * @param bodyStart Offset of the variable header.
   * @returns undefined, or why the connection must end.
   */
  handlePacket(
    session: Session,
    bytes: Uint8Array,
    start: number,
    bodyStart: number,
    end: number,
    nowMs: number,
  ): Fault | undefined {
    const first = bytes[start]!;
    switch (first >> 4) {
      case PacketType.PUBLISH:
        return decodePublish(bytes, first, bodyStart, end, session.isV5, this.#publish) ??
          this.#handlePublish(session, bytes, nowMs);
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBREL:
      case PacketType.PUBCOMP:
        return decodeAck(bytes, first, bodyStart, end, session.isV5, this.#ack) ??
          this.#handleAck(session, first >> 4, nowMs);
      default:
        return this.#handleRare(session, bytes.subarray(start, end));
    }
  }

  #handlePublish(session: Session, bytes: Uint8Array, nowMs: number): Fault | undefined {
    const frame = this.#publish;
    const { limits, counters } = this.#context;
    const qos = frame.qos;
    const payloadSize = frame.payloadEnd - frame.payloadStart;
    counters.messagesPublished++;
    counters.bytesPublished += payloadSize;
    counters.messageSizeBytes.observe(payloadSize);
    if (qos === 0) counters.qos0Messages++;
    else if (qos === 1) counters.qos1Messages++;
    else counters.qos2Messages++;
    if (qos > limits.qosMax) return QOS_NOT_SUPPORTED;
    if (frame.retain && !limits.isRetainAvailable) return RETAIN_NOT_SUPPORTED;
    const topic = this.#resolveTopic(session, bytes);
    if (topic instanceof Fault) return topic;
    if (qos !== 0) {
      if (qos === 2 && session.inbound.isOpen(frame.packetId)) {
        // [MQTT-4.3.3-10] Sent again before PUBREL: acknowledged again, not routed again.
        this.#host.acknowledge(session, AckHeader.PUBREC, frame.packetId, 0);
        return undefined;
      }
      if (!session.inbound.received() && session.isV5) return RECEIVE_MAXIMUM_EXCEEDED;
    }
    let refusal = 0;
    if (session.isV5 && !isPayloadFormatValid(bytes, frame)) {
      if (qos === 0) return PAYLOAD_FORMAT_INVALID;
      refusal = ReasonCode.PAYLOAD_FORMAT_INVALID;
    } else if (topic.isReserved || !session.permissions.mayPublish(topic, qos, frame.retain)) {
      this.#context.events.dropped("not_authorized", session.clientId);
      if (qos === 0) return undefined;
      refusal = ReasonCode.NOT_AUTHORIZED;
    }
    if (refusal !== 0) {
      this.#host.acknowledge(session, qos === 1 ? AckHeader.PUBACK : AckHeader.PUBREC, frame.packetId, refusal);
      return undefined;
    }
    topic.messages++;
    topic.bytes += payloadSize;
    if (qos === 2) session.inbound.open(frame.packetId);
    this.#fillMessage(session, bytes, topic, nowMs);
    this.#host.publish(session, this.#message, topic, frame.packetId, nowMs);
    return undefined;
  }

  #resolveTopic(session: Session, bytes: Uint8Array): Topic | Fault {
    const { topicStart, topicEnd, properties } = this.#publish;
    const alias = session.isV5 ? properties.topicAlias : 0;
    if (alias !== 0 && alias > session.inbound.aliasMax) return ALIAS_TOO_LARGE;
    if (topicStart === topicEnd && alias !== 0) return session.inbound.topicOf(alias) ?? ALIAS_UNKNOWN;
    const topic = this.#topics.lookup(bytes, topicStart, topicEnd);
    if (topic === undefined) return explainTopicName(bytes, topicStart, topicEnd, this.#topics) ?? TOPIC_NAME_INVALID;
    return alias === 0 || session.inbound.setAlias(alias, topic) ? topic : ALIASES_TOO_LARGE;
  }

  #fillMessage(session: Session, bytes: Uint8Array, topic: Topic, nowMs: number): void {
    const frame = this.#publish;
    const message = this.#message;
    message.qos = frame.qos;
    message.retain = frame.retain;
    message.setTopic(topic.utf8);
    message.setPayload(bytes, frame.payloadStart, frame.payloadEnd);
    let expirySeconds = NO_EXPIRY;
    if (!session.isV5) message.setProperties(bytes, 0, 0);
    else {
      expirySeconds = frame.properties.messageExpiryInterval;
      if (!frame.properties.hasStripped) message.setProperties(bytes, frame.propertiesStart, frame.propertiesEnd);
      else this.#forwardProperties(bytes);
    }
    const secondsMax = this.#context.limits.messageExpirySecondsMax;
    if (secondsMax > 0 && (expirySeconds === NO_EXPIRY || expirySeconds > secondsMax)) expirySeconds = secondsMax;
    message.expiresAtMs = expirySeconds === NO_EXPIRY ? 0 : nowMs + expirySeconds * 1000;
  }

  /** Copies the properties that go on to receivers, leaving out what belongs to this hop. [MQTT-3.3.2-8] */
  #forwardProperties(bytes: Uint8Array): void {
    const { propertiesStart, propertiesEnd } = this.#publish;
    if (this.#forwarded.length < propertiesEnd - propertiesStart) {
      this.#forwarded = new Uint8Array(propertiesEnd - propertiesStart);
    }
    const end = copyForwardableProperties(bytes, propertiesStart, propertiesEnd, this.#forwarded, 0);
    this.#message.setProperties(this.#forwarded, 0, end);
  }

  #handleAck(session: Session, type: number, nowMs: number): undefined {
    const ack = this.#ack;
    if (type === PacketType.PUBACK) session.outbox.handlePuback(ack, nowMs);
    else if (type === PacketType.PUBREC) session.outbox.handlePubrec(ack, nowMs);
    else if (type === PacketType.PUBCOMP) session.outbox.handlePubcomp(ack, nowMs);
    else {
      // [MQTT-4.3.3-11] PUBREL is always answered; v3 has no code for an identifier that is not open. One that comes again
      // is recorded again: the record of the first may not be safe, and PUBCOMP lets the client use the identifier anew.
      const isOpen = session.inbound.release(ack.packetId);
      const code = isOpen || !session.isV5 ? 0 : ReasonCode.PACKET_IDENTIFIER_NOT_FOUND;
      this.#host.release(session, ack.packetId, code);
    }
  }

  #handleRare(session: Session, packet: Uint8Array): Fault | undefined {
    const decoded = decodeClientPacket(packet, session.version);
    if (decoded instanceof Fault) return decoded;
    switch (decoded.type) {
      case PacketType.CONNECT:
        return SECOND_CONNECT;
      case PacketType.SUBSCRIBE:
        this.#host.subscribe(session, decoded);
        return undefined;
      case PacketType.UNSUBSCRIBE:
        this.#host.unsubscribe(session, decoded);
        return undefined;
      case PacketType.PINGREQ:
        this.#pong(session);
        return undefined;
      case PacketType.DISCONNECT:
        return this.#host.disconnected(session, decoded);
      case PacketType.AUTH:
        return this.#host.authenticate(session, decoded);
    }
  }

  #pong(session: Session): void {
    const sink = session.sink;
    if (sink === null || !sink.isOpen) return;
    sink.out.append(PINGRESP);
    this.#context.counters.packetsSent++;
    sink.touch();
  }
}

const NO_EXPIRY = -1;
const FORWARDED_BYTES_MIN = 1_024;
const PINGRESP = encodePingresp();
const QOS_NOT_SUPPORTED = new Fault(
  ReasonCode.QOS_NOT_SUPPORTED,
  "MQTT-3.2.2-11",
  "PUBLISH with a QoS above the Maximum QoS",
);
const RETAIN_NOT_SUPPORTED = new Fault(
  ReasonCode.RETAIN_NOT_SUPPORTED,
  "MQTT-3.2.2-14",
  "PUBLISH with RETAIN although retained messages are not available",
);
const TOPIC_NAME_INVALID = new Fault(ReasonCode.TOPIC_NAME_INVALID, "MQTT-3.3.2-2", "Topic Name is not valid");
const ALIAS_UNKNOWN = new Fault(
  ReasonCode.PROTOCOL_ERROR,
  "MQTT-3.3.2-12",
  "Topic Alias without a Topic Name has not been set on this connection",
);
const ALIAS_TOO_LARGE = new Fault(
  ReasonCode.TOPIC_ALIAS_INVALID,
  "MQTT-3.3.2-9",
  "Topic Alias above the Topic Alias Maximum",
);
const ALIASES_TOO_LARGE = new Fault(
  ReasonCode.QUOTA_EXCEEDED,
  "MQTT-3.3.2-12",
  "Topic Aliases of this connection take too much memory",
);
const RECEIVE_MAXIMUM_EXCEEDED = new Fault(
  ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
  "MQTT-3.3.4-9",
  "more unacknowledged messages than the Receive Maximum",
);
const PAYLOAD_FORMAT_INVALID = new Fault(
  ReasonCode.PAYLOAD_FORMAT_INVALID,
  "MQTT-3.3.2-4",
  "payload is not the UTF-8 that its Payload Format Indicator promises",
);
const SECOND_CONNECT = new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-3.1.0-2", "second CONNECT on one connection");
