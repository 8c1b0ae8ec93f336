import * as assert from "node:assert/strict";
import { brokerFamilies, taskFamilies, topicFamilies } from "../../src/metrics/broker_families.ts";
import { Counters, DROP_REASONS } from "../../src/metrics/counters.ts";
import { type Family, renderFamilies } from "../../src/metrics/prometheus.ts";

const PROCESS = { memoryBytes: 1000, uptimeSeconds: 2.5, messagesPerSecond: 40 };

/** Every sample of the exposition by its name with labels. */
function samplesOf(families: readonly Family[]): Map<string, string> {
  const lines = renderFamilies(families).trimEnd().split("\n").filter((line) => !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]));
}

Deno.test("brokerFamilies exposes each counter under its own name", () => {
  const counters = new Counters();
  const expected: Record<string, number> = {
    promptmq_connections_current: counters.connectionsCurrent = 11,
    promptmq_connections_total: counters.connectionsTotal = 12,
    promptmq_disconnections_total: counters.disconnectionsTotal = 13,
    promptmq_messages_published_total: counters.messagesPublished = 14,
    promptmq_messages_received_total: counters.messagesDelivered = 15,
    promptmq_bytes_published_total: counters.bytesPublished = 16,
    promptmq_bytes_received_total: counters.bytesDelivered = 17,
    promptmq_qos0_messages_total: counters.qos0Messages = 18,
    promptmq_qos1_messages_total: counters.qos1Messages = 19,
    promptmq_qos2_messages_total: counters.qos2Messages = 20,
    promptmq_messages_inflight: counters.messagesInflight = 21,
    promptmq_messages_queued: counters.messagesQueued = 22,
    promptmq_retained_messages: counters.retainedMessages = 23,
    'promptmq_sessions{state="online"}': counters.sessionsOnline = 24,
    'promptmq_sessions{state="offline"}': counters.sessionsOffline = 25,
    promptmq_subscriptions: counters.subscriptions = 26,
    promptmq_memory_usage_bytes: 1000,
    promptmq_uptime_seconds: 2.5,
    promptmq_throughput_messages_per_second: 40,
  };
  const samples = samplesOf(brokerFamilies(counters, PROCESS));
  for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), String(value), name);
});

Deno.test("taskFamilies adds connections and background fibers", () => {
  const counters = new Counters();
  counters.connectionsCurrent = 11;
  assert.deepEqual([...samplesOf(taskFamilies(counters, 5))], [["promptmq_tasks_total", "16"]]);
});

Deno.test("brokerFamilies exposes every drop reason from the start", () => {
  const counters = new Counters();
  for (let count = 0; count < 3; count++) counters.messageDropped("expired");
  const samples = samplesOf(brokerFamilies(counters, PROCESS));
  for (const reason of DROP_REASONS) {
    assert.equal(
      samples.get(`promptmq_messages_dropped_total{reason="${reason}"}`),
      reason === "expired" ? "3" : "0",
    );
  }
});

Deno.test("brokerFamilies exposes refusals and protocol errors by reason", () => {
  const counters = new Counters();
  counters.connectsRefused.add("not_authorized");
  counters.protocolErrors.add("malformed_packet");
  counters.protocolErrors.add("malformed_packet");
  const samples = samplesOf(brokerFamilies(counters, PROCESS));
  assert.equal(samples.get('promptmq_connects_refused_total{reason="not_authorized"}'), "1");
  assert.equal(samples.get('promptmq_protocol_errors_total{reason="malformed_packet"}'), "2");
});

Deno.test("brokerFamilies keeps the bounds dashboards were built for", () => {
  const bounds = new Map<string, readonly number[]>();
  for (const family of brokerFamilies(new Counters(), PROCESS)) {
    if (!/wal|sqlite/.test(family.name) && family.type === "histogram") {
      bounds.set(family.name, family.histogram.bounds);
    }
  }
  assert.deepEqual(Object.fromEntries(bounds), {
    promptmq_connection_duration_seconds: [1, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 28800],
    promptmq_message_processing_latency_microseconds: [100, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000],
    promptmq_message_size_bytes: [64, 256, 1024, 4096, 16384, 65536, 262144, 1048576],
  });
});

Deno.test("families of the broker, its tasks and topics use each name once and only legal ones", () => {
  const counters = new Counters();
  const families = [...brokerFamilies(counters, PROCESS), ...taskFamilies(counters, 1), ...topicFamilies([], 1)];
  const names = families.map((family) => family.name);
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.match(name, /^promptmq_[a-z0-9_]+$/);
});

Deno.test("topicFamilies keeps the topics with the most messages, ties by name", () => {
  const topics = [
    { topic: "b", messages: 5, bytes: 50, subscribers: 1 },
    { topic: "c", messages: 9, bytes: 10, subscribers: 2 },
    { topic: "a", messages: 5, bytes: 70, subscribers: 3 },
    { topic: "d", messages: 1, bytes: 99, subscribers: 4 },
  ];
  const samples = samplesOf(topicFamilies(topics, 2));
  assert.deepEqual([...samples], [
    ['promptmq_topic_messages_total{topic="c"}', "9"],
    ['promptmq_topic_messages_total{topic="a"}', "5"],
    ['promptmq_topic_bytes_total{topic="c"}', "10"],
    ['promptmq_topic_bytes_total{topic="a"}', "70"],
    ['promptmq_topic_subscribers{topic="c"}', "2"],
    ['promptmq_topic_subscribers{topic="a"}', "3"],
  ]);
  assert.equal(topics[0]?.topic, "b", "the caller's array is left as it was");
});
