/**
 * `$SYS/broker/…`: the broker's own numbers as Retained Messages, for clients that have nothing but MQTT.
 */
import type { Counters } from "../metrics/counters.ts";
import { Message } from "../protocol/message.ts";
import type { BrokerCore } from "./broker_core.ts";
import { BROKER } from "./publish_source.ts";

/** Numbers that are not counters. */
export interface SysFacts {
  readonly version: string;
  /** Broker time in milliseconds. */
  readonly startedMs: number;
  /** Wall time minus broker time in milliseconds. */
  readonly wallOffsetMs: number;
  /** Resident memory of the process in bytes. */
  readonly memoryBytes: number;
}

/** Publishes every topic once, retained, at QoS 0. */
export function publishSysTopics(core: BrokerCore, facts: SysFacts, nowMs: number): void {
  const message = new Message();
  const encoder = new TextEncoder();
  for (const [name, value] of sysTopics(core.counters, facts, nowMs)) {
    const topic = core.topics.intern(`$SYS/broker/${name}`);
    // Only a configured limit below these short names can refuse one.
    if (topic === undefined) continue;
    const payload = encoder.encode(value);
    message.qos = 0;
    message.retain = true;
    message.setTopic(topic.utf8);
    message.setPayload(payload, 0, payload.length);
    core.router.publish(BROKER, message, topic, 0, nowMs);
  }
}

function sysTopics(counters: Counters, facts: SysFacts, nowMs: number): [name: string, value: string][] {
  const connected = counters.sessionsOnline;
  const disconnected = counters.sessionsOffline;
  const { storage } = counters;
  return [
    ["version", `promptmq ${facts.version}`],
    ["time", new Date(nowMs + facts.wallOffsetMs).toISOString()],
    ["uptime", String(Math.floor((nowMs - facts.startedMs) / 1000))],
    ["started", new Date(facts.startedMs + facts.wallOffsetMs).toISOString()],
    ["load/bytes/received", String(counters.bytesIn)],
    ["load/bytes/sent", String(counters.bytesOut)],
    ["clients/connected", String(connected)],
    ["clients/disconnected", String(disconnected)],
    ["clients/maximum", String(counters.connectionsMaximum)],
    ["clients/total", String(connected + disconnected)],
    ["packets/received", String(counters.packetsReceived)],
    ["packets/sent", String(counters.packetsSent)],
    ["messages/received", String(counters.messagesPublished)],
    ["messages/sent", String(counters.messagesDelivered)],
    ["messages/dropped", String(counters.messagesDroppedTotal())],
    ["messages/inflight", String(counters.messagesInflight)],
    ["retained", String(counters.retainedMessages)],
    ["subscriptions", String(counters.subscriptions)],
    ["system/memory", String(facts.memoryBytes)],
    ["durability/loss_window_ms", String(Math.round(storage.readLossWindowSeconds() * 1000))],
    ["durability/unsynced_bytes", String(storage.walUnsyncedBytes)],
    ["durability/fsync_p99_us", String(Math.round(storage.walFsyncDurationSeconds.quantile(0.99) * 1e6))],
  ];
}
