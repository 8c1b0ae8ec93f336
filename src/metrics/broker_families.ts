/**
 * The broker's own metric families: which name, type and help each number of `Counters` is exposed under.
 *
 * The names are a contract with dashboards and alerts. This file reads counters and never changes them, and it is
 * called once per scrape, so clarity wins over speed here.
 *
 * There is no `promptmq_gc_duration_seconds`: the runtime accepts an observer for garbage collections but never
 * reports one, and a histogram that is always empty would read as "no pauses".
 */
import { type Counters, DROP_REASONS } from "./counters.ts";
import type { LabelledCounter } from "./labelled_counter.ts";
import { type Family, type Sample, scalar } from "./prometheus.ts";
import { storageFamilies } from "./storage_families.ts";

/** What is measured about the process at the moment of a scrape. */
export interface ProcessReading {
  /** Resident memory in bytes. */
  readonly memoryBytes: number;
  /** Seconds since the broker was built. */
  readonly uptimeSeconds: number;
  /** PUBLISH packets received and sent per second, lately. */
  readonly messagesPerSecond: number;
}

/** Traffic of one Topic Name since it was first seen. */
export interface TopicReading {
  readonly topic: string;
  /** Application Messages published to the topic. */
  readonly messages: number;
  /** Their payload bytes. */
  readonly bytes: number;
  /** Subscriptions that match the topic now. */
  readonly subscribers: number;
}

/** All families of one broker, in the order they are exposed. O(labels). */
export function brokerFamilies(counters: Counters, process: ProcessReading): Family[] {
  return [
    ...connectionFamilies(counters),
    ...messageFamilies(counters),
    ...stateFamilies(counters),
    ...storageFamilies(counters.storage),
    ...processFamilies(process),
  ];
}

/**
 * Series per Topic Name for the busiest topics, by messages; ties go by name so that scrapes agree.
 *
 * @param topicsMax How many topics get series, because each costs the scraper three series for as long as it keeps data.
 */
export function topicFamilies(topics: readonly TopicReading[], topicsMax: number): Family[] {
  const busiest = topics.toSorted((a, b) => b.messages - a.messages || (a.topic < b.topic ? -1 : 1))
    .slice(0, topicsMax);
  const samples = (value: (reading: TopicReading) => number): Sample[] =>
    busiest.map((reading) => ({ labels: { topic: reading.topic }, value: value(reading) }));
  return [
    {
      type: "counter",
      name: "promptmq_topic_messages_total",
      help: "Application Messages published to the topic; busiest topics only.",
      samples: samples((reading) => reading.messages),
    },
    {
      type: "counter",
      name: "promptmq_topic_bytes_total",
      help: "Payload bytes published to the topic; busiest topics only.",
      samples: samples((reading) => reading.bytes),
    },
    {
      type: "gauge",
      name: "promptmq_topic_subscribers",
      help: "Subscriptions that match the topic; busiest topics only.",
      samples: samples((reading) => reading.subscribers),
    },
  ];
}

/**
 * How much runs at the same time in this process.
 *
 * @param fibers Supervised background fibers running now; a connection has no fiber, but a loop of its own.
 */
export function taskFamilies(counters: Counters, fibers: number): Family[] {
  const help = "Network connections open and supervised background fibers running.";
  return [scalar("gauge", "promptmq_tasks_total", help, counters.connectionsCurrent + fibers)];
}

function connectionFamilies(counters: Counters): Family[] {
  return [
    scalar("gauge", "promptmq_connections_current", "Network connections open now.", counters.connectionsCurrent),
    scalar("counter", "promptmq_connections_total", "Network connections accepted.", counters.connectionsTotal),
    scalar("counter", "promptmq_disconnections_total", "Network connections ended.", counters.disconnectionsTotal),
    {
      type: "histogram",
      name: "promptmq_connection_duration_seconds",
      help: "Seconds a network connection lasted.",
      histogram: counters.connectionDurationSeconds,
    },
    byReason(
      "promptmq_connects_refused_total",
      "Clients refused, by reason; docs/refusals.md explains them.",
      counters.connectsRefused,
    ),
    byReason(
      "promptmq_protocol_errors_total",
      "Connections ended because the peer broke a rule, by Reason Code.",
      counters.protocolErrors,
    ),
    byReason(
      "promptmq_clients_limited_total",
      "Times a client was made to wait or disconnected because of a rate.",
      counters.clientsLimited,
    ),
  ];
}

function messageFamilies(counters: Counters): Family[] {
  return [
    scalar("counter", "promptmq_messages_published_total", "PUBLISH packets received.", counters.messagesPublished),
    scalar("counter", "promptmq_messages_received_total", "PUBLISH packets sent.", counters.messagesDelivered),
    scalar("counter", "promptmq_bytes_published_total", "Payload bytes of PUBLISH received.", counters.bytesPublished),
    scalar("counter", "promptmq_bytes_received_total", "Payload bytes of PUBLISH sent.", counters.bytesDelivered),
    {
      type: "histogram",
      name: "promptmq_message_processing_latency_microseconds",
      help: "Microseconds from reading a PUBLISH to writing it to its receivers.",
      histogram: counters.messageProcessingLatencyMicroseconds,
    },
    {
      type: "histogram",
      name: "promptmq_message_size_bytes",
      help: "Payload bytes of a received PUBLISH.",
      histogram: counters.messageSizeBytes,
    },
    scalar("counter", "promptmq_qos0_messages_total", "PUBLISH packets received with QoS 0.", counters.qos0Messages),
    scalar("counter", "promptmq_qos1_messages_total", "PUBLISH packets received with QoS 1.", counters.qos1Messages),
    scalar("counter", "promptmq_qos2_messages_total", "PUBLISH packets received with QoS 2.", counters.qos2Messages),
    {
      type: "counter",
      name: "promptmq_messages_dropped_total",
      help: "Messages a receiver should have got and did not, by reason.",
      samples: DROP_REASONS.map((reason) => ({ labels: { reason }, value: counters.messagesDropped[reason] })),
    },
  ];
}

function stateFamilies(counters: Counters): Family[] {
  return [
    scalar(
      "gauge",
      "promptmq_messages_inflight",
      "QoS 1 and 2 messages sent, not completed.",
      counters.messagesInflight,
    ),
    scalar("gauge", "promptmq_messages_queued", "Messages waiting in Session queues.", counters.messagesQueued),
    scalar("gauge", "promptmq_retained_messages", "Retained Messages stored.", counters.retainedMessages),
    {
      type: "gauge",
      name: "promptmq_sessions",
      help: "Sessions with (online) and without (offline) a network connection.",
      samples: [
        { labels: { state: "online" }, value: counters.sessionsOnline },
        { labels: { state: "offline" }, value: counters.sessionsOffline },
      ],
    },
    scalar("gauge", "promptmq_subscriptions", "Subscriptions of all Sessions.", counters.subscriptions),
  ];
}

function processFamilies(process: ProcessReading): Family[] {
  return [
    scalar("gauge", "promptmq_memory_usage_bytes", "Resident memory of the process.", process.memoryBytes),
    scalar("gauge", "promptmq_uptime_seconds", "Seconds since the broker was started.", process.uptimeSeconds),
    scalar(
      "gauge",
      "promptmq_throughput_messages_per_second",
      "PUBLISH packets received and sent per second since the previous scrape.",
      process.messagesPerSecond,
    ),
  ];
}

function byReason(name: string, help: string, counter: LabelledCounter): Family {
  return {
    type: "counter",
    name,
    help,
    samples: counter.entries().map(([reason, value]) => ({ labels: { reason }, value })),
  };
}
