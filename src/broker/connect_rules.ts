/**
 * What the broker demands of a CONNECT beyond its form, and what it tells the client in CONNACK. Pure.
 */
import { type ConnackProperties, type ConnectPacket, Fault, type Will } from "../protocol/packets.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import { isWellFormedUtf8 } from "../protocol/utf8.ts";
import type { SessionLimits } from "../session/session_limits.ts";
import type { TopicCache } from "../topics/topic.ts";
import { isReservedTopic } from "../topics/topic_rules.ts";

/**
 * Checks Client Identifier and Will Message.
 *
 * @returns undefined, or why the CONNECT is refused.
 */
export function validateConnect(packet: ConnectPacket, limits: SessionLimits, topics: TopicCache): Fault | undefined {
  return validateClientId(packet, limits) ?? (packet.will && validateWill(packet.will, limits, topics));
}

function validateClientId(packet: ConnectPacket, limits: SessionLimits): Fault | undefined {
  const { clientId, version } = packet;
  if (clientId === "") {
    // [MQTT-3.1.3-6] v5 assigns one; 3.1.1 only for a Session that ends with the connection; 3.1 never.
    if (version === 5 || (version === 4 && packet.cleanStart)) return undefined;
    return new Fault(
      ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
      "MQTT-3.1.3-8",
      "empty Client Identifier not allowed here",
    );
  }
  if (clientId.length * 3 <= limits.clientIdBytesMax) return undefined;
  const size = new TextEncoder().encode(clientId).length;
  if (size <= limits.clientIdBytesMax) return undefined;
  const text = `Client Identifier has ${size} bytes, the limit is ${limits.clientIdBytesMax}`;
  return new Fault(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "MQTT-3.1.3-8", text);
}

function validateWill(will: Will, limits: SessionLimits, topics: TopicCache): Fault | undefined {
  if (will.qos > limits.qosMax) {
    return new Fault(ReasonCode.QOS_NOT_SUPPORTED, "MQTT-3.2.2-12", "Will QoS above the Maximum QoS");
  }
  if (will.retain && !limits.isRetainAvailable) {
    return new Fault(ReasonCode.RETAIN_NOT_SUPPORTED, "MQTT-3.2.2-13", "Will Retain although retain is not available");
  }
  if (isReservedTopic(will.topic)) {
    return new Fault(ReasonCode.NOT_AUTHORIZED, "MQTT-4.7.2-1", "Will Topic belongs to the broker");
  }
  if (topics.intern(will.topic) === undefined) {
    return new Fault(ReasonCode.TOPIC_NAME_INVALID, "MQTT-4.7.1-1", "Will Topic is not a valid Topic Name");
  }
  if (will.isUtf8 && !isWellFormedUtf8(will.payload, 0, will.payload.length)) {
    return new Fault(
      ReasonCode.PAYLOAD_FORMAT_INVALID,
      "MQTT-3.1.2-8",
      "Will Payload is not the UTF-8 it claims to be",
    );
  }
  return undefined;
}

/** Session Expiry Interval in seconds that the Session gets: what the client asked for, within the configured bound. */
export function grantedSessionExpiry(asked: number, limits: SessionLimits): number {
  return limits.sessionExpirySecondsMax > 0 ? Math.min(asked, limits.sessionExpirySecondsMax) : asked;
}

/**
 * Keep Alive in seconds that the connection gets; 0 = none.
 *
 * Only a v5 client can be told another value than it asked for, so a v3 client keeps its own. [MQTT-3.1.2-21]
 */
export function grantedKeepAlive(packet: ConnectPacket, limits: SessionLimits): number {
  const asked = packet.keepAliveSeconds;
  const max = limits.keepAliveSecondsMax;
  return packet.version === 5 && max > 0 && (asked === 0 || asked > max) ? max : asked;
}

/** What CONNACK tells a v5 client of a Session that was opened: only what differs from the defaults. */
export function connackProperties(
  packet: ConnectPacket,
  limits: SessionLimits,
  granted: { readonly clientId: string; readonly sessionExpiryInterval: number },
  keepAliveSeconds: number,
  authenticationData: Uint8Array | undefined,
): ConnackProperties {
  const properties: ConnackProperties = { receiveMaximum: limits.receiveMaximum };
  properties.maximumPacketSize = limits.packetBytesMax;
  if (limits.topicAliasMax > 0) properties.topicAliasMaximum = limits.topicAliasMax;
  if (limits.qosMax < 2) properties.maximumQoS = limits.qosMax as 0 | 1;
  if (!limits.isRetainAvailable) properties.retainAvailable = false;
  if (!limits.isWildcardAvailable) properties.wildcardSubscriptionAvailable = false;
  if (!limits.isSharedAvailable) properties.sharedSubscriptionAvailable = false;
  if (granted.clientId !== packet.clientId) properties.assignedClientIdentifier = granted.clientId;
  if (granted.sessionExpiryInterval !== packet.sessionExpiryInterval) {
    properties.sessionExpiryInterval = granted.sessionExpiryInterval;
  }
  if (keepAliveSeconds !== packet.keepAliveSeconds) properties.serverKeepAlive = keepAliveSeconds;
  // [MQTT-4.12.0-5]
  if (packet.authenticationMethod !== undefined) {
    properties.authenticationMethod = packet.authenticationMethod;
    if (authenticationData !== undefined) properties.authenticationData = authenticationData;
  }
  return properties;
}
