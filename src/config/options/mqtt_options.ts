/**
 * The options of the protocol: what clients are granted, and the bounds that protect the broker from them.
 */

import { option } from "../kinds/option.ts";
import { boolean, durationMs, integer, oneOf, seconds, size } from "../kinds/value_types.ts";

const DAY_MS = 86_400_000;
/** Largest packet the protocol can express: fixed header and Remaining Length 268 435 455. [MQTT 5.0, 2.1.4] */
const PACKET_BYTES_MAX = 268_435_460;
/** Largest Four Byte Integer. */
const UINT32_MAX = 4_294_967_295;
const UINT16_MAX = 65_535;

/** Options of section `mqtt`. */
export const mqtt = {
  maxPacketSize: option({
    key: "mqtt.max-packet-size",
    type: size({ min: 128, max: PACKET_BYTES_MAX }),
    defaultText: "1MiB",
    reload: "live",
    flag: "max-packet-size",
    doc: "Largest packet accepted, advertised to MQTT 5 clients as Maximum Packet Size.",
  }),
  maxClientIdBytes: option({
    key: "mqtt.max-client-id-len",
    // [MQTT-3.1.3-5] 1 to 23 bytes must be allowed
    type: integer({ min: 23, max: UINT16_MAX }),
    defaultText: "65535",
    reload: "live",
    flag: "max-client-id-len",
    doc: "Longest Client Identifier accepted, in bytes of UTF-8.",
  }),
  maxTopicBytes: option({
    key: "mqtt.max-topic-len",
    type: integer({ min: 1, max: UINT16_MAX }),
    defaultText: "65535",
    reload: "live",
    flag: "max-topic-len",
    doc: "Longest Topic Name or Topic Filter accepted, in bytes of UTF-8.",
  }),
  maxTopicLevels: option({
    key: "mqtt.max-topic-levels",
    type: integer({ min: 1, max: UINT16_MAX }),
    defaultText: "128",
    reload: "live",
    doc: "Most levels accepted in a Topic Name or Topic Filter.",
  }),
  maxQos: option({
    key: "mqtt.max-qos",
    type: oneOf(0, 1, 2),
    defaultText: "2",
    reload: "live",
    flag: "max-qos",
    doc: "Highest QoS accepted and granted, advertised as Maximum QoS.",
  }),
  keepAliveSeconds: option({
    key: "mqtt.keep-alive",
    type: seconds({ min: 0, max: UINT16_MAX }),
    defaultText: "60",
    reload: "live",
    flag: "keep-alive",
    doc:
      "Largest Keep Alive accepted, in seconds. A client that asks for more, or for 0, gets it as Server Keep Alive; " +
      "0 = as the client wishes.",
  }),
  maxInflight: option({
    key: "mqtt.max-inflight",
    type: integer({ min: 1, max: UINT16_MAX }),
    defaultText: "20",
    reload: "live",
    flag: "max-inflight",
    doc:
      "Most QoS 1 and QoS 2 messages sent to one client and not yet acknowledged, also bounded by its Receive Maximum.",
  }),
  maxInflightBytes: option({
    key: "mqtt.max-inflight-bytes",
    type: size({ min: 0 }),
    defaultText: "0",
    reload: "live",
    doc: "Most bytes of QoS 1 and QoS 2 messages sent to one client and not yet acknowledged; one message is always " +
      "allowed. 0 = unbounded.",
  }),
  receiveMaximum: option({
    key: "mqtt.receive-maximum",
    type: integer({ min: 1, max: UINT16_MAX }),
    defaultText: "1024",
    reload: "live",
    doc: "Most QoS 1 and QoS 2 messages a client may have under way to the broker, advertised as Receive Maximum.",
  }),
  topicAliasMaximum: option({
    key: "mqtt.topic-alias-max",
    type: integer({ min: 0, max: UINT16_MAX }),
    defaultText: "65535",
    reload: "live",
    doc: "Highest Topic Alias a client may use, advertised as Topic Alias Maximum; 0 = none.",
  }),
  maxQueued: option({
    key: "mqtt.max-queued",
    type: integer({ min: 0 }),
    defaultText: "100000",
    reload: "live",
    doc: "Most messages queued for one Session; 0 = unbounded.",
  }),
  maxQueuedBytes: option({
    key: "mqtt.max-queued-bytes",
    type: size({ min: 0 }),
    defaultText: "0",
    reload: "live",
    doc: "Most bytes of messages queued for one Session; 0 = unbounded.",
  }),
  queueFull: option({
    key: "mqtt.queue-full",
    type: oneOf("drop-oldest", "drop-newest", "reject"),
    defaultText: "drop-oldest",
    reload: "live",
    doc:
      "What gives way when a queue is full, or those of all members of a Shared Subscription. `reject` refuses the " +
      "publication with Quota exceeded (0x97).",
  }),
  maxOutboundBytes: option({
    key: "mqtt.max-outbound-bytes",
    type: size({ min: 65_536, max: 4 * 2 ** 30 }),
    defaultText: "16MiB",
    reload: "live",
    doc:
      "Most bytes waiting to be written to one connection. Past it QoS 0 messages are dropped and counted, others wait.",
  }),
  sessionExpiryMaxSeconds: option({
    key: "mqtt.session-expiry-max",
    type: seconds({ min: 0, max: UINT32_MAX }),
    defaultText: "0",
    reload: "live",
    doc: "Longest Session Expiry Interval granted, in seconds; 0 = as the client asks.",
  }),
  messageExpiryMaxSeconds: option({
    key: "mqtt.message-expiry-max",
    type: seconds({ min: 0, max: UINT32_MAX }),
    defaultText: "0",
    reload: "live",
    doc: "Longest Message Expiry Interval granted, in seconds, also given to messages without one; 0 = as published.",
  }),
  retainAvailable: option({
    key: "mqtt.retain-available",
    type: boolean(),
    defaultText: "true",
    reload: "live",
    flag: "retain-available",
    doc: "Whether Retained Messages are accepted, advertised as Retain Available.",
  }),
  wildcardAvailable: option({
    key: "mqtt.wildcard-available",
    type: boolean(),
    defaultText: "true",
    reload: "live",
    flag: "wildcard-available",
    doc: "Whether Topic Filters may hold wildcards, advertised as Wildcard Subscription Available.",
  }),
  sharedSubAvailable: option({
    key: "mqtt.shared-sub-available",
    type: boolean(),
    defaultText: "true",
    reload: "live",
    flag: "shared-sub-available",
    doc: "Whether Shared Subscriptions are accepted, advertised as Shared Subscription Available.",
  }),
  maxConnections: option({
    key: "mqtt.max-connections",
    type: integer({ min: 1, max: 10_000_000 }),
    defaultText: "10000",
    reload: "live",
    flag: "max-connections",
    doc: "Most clients at one time, each from the verdict on its CONNECT until it leaves; more are refused with " +
      "Quota exceeded (0x97). One that takes its own Session over is not one more.",
  }),
  sysIntervalMs: option({
    key: "mqtt.sys-interval",
    type: durationMs({ min: 0, max: DAY_MS }),
    defaultText: "10s",
    reload: "live",
    doc: "Time between two publications of the `$SYS` topics; 0 = off.",
  }),
};
