/**
 * The broker as a service: the plain core, wired to configuration, store, identity and time.
 *
 * Four supervised fibers belong to it: one advances the timer wheel, one measures memory, one looks whether the wall clock
 * was set, one publishes `$SYS`. Everything else happens in the core, driven by the listeners.
 */
import * as Context from "effect/Context";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { BanFile } from "../auth/guard/ban_file.ts";
import { Authenticator } from "../auth/identity/authenticator.ts";
import { Authorizer } from "../auth/identity/authorizer.ts";
import type { Config } from "../config/options/schema.ts";
import { ConfigStore } from "../config/reload.ts";
import { VERSION } from "../config/version.ts";
import { Log } from "../logging/log.ts";
import { Supervisor } from "../logging/supervisor.ts";
import { topicFamilies } from "../metrics/broker_families.ts";
import { Metrics } from "../metrics/metrics.ts";
import type { SessionLimits } from "../session/session_limits.ts";
import { MessageStore } from "../storage/message_store.ts";
import { BrokerClock, type SteadyClock, watchClock } from "../system/clock.ts";
import { type Topic, TopicCache } from "../topics/topic.ts";
import { BrokerCore } from "./broker_core.ts";
import { makeGuards } from "./guards.ts";
import { watchMemory } from "./memory_watch.ts";
import { publishSysTopics } from "./sys_topics.ts";
import { TICK_MS } from "./timer_wheel.ts";

/** The running broker. */
export class Broker extends Context.Service<Broker, {
  /** Hot path: plain and synchronous. */
  readonly core: BrokerCore;
}>()("promptmq/broker/Broker") {
  static readonly layer = Layer.effect(
    Broker,
    Effect.gen(function* () {
      const configStore = yield* ConfigStore;
      const metrics = yield* Metrics;
      const limits = limitsOf(configStore.current());
      const topics = new TopicCache();
      const applyTopicLimits = (config: Config) => {
        topics.maxTopicLength = config.mqtt.maxTopicBytes;
        topics.maxTopicLevels = config.mqtt.maxTopicLevels;
      };
      applyTopicLimits(configStore.current());
      // The store goes on with the clock of an earlier run, so it comes first.
      const store = yield* MessageStore;
      const clock = yield* BrokerClock;
      const core = new BrokerCore({
        store,
        counters: metrics.counters,
        limits,
        authenticator: yield* Authenticator,
        authorizer: yield* Authorizer,
        guards: yield* makeGuards,
        log: yield* Log,
        topics,
        connectionsMax: () => configStore.current().mqtt.maxConnections,
        clock: clock.nowMs,
        wallOffsetMs: () => clock.offsetMs,
        defer: queueMicrotask,
        newClientId: () => `promptmq-${crypto.randomUUID()}`,
      });
      (yield* BanFile).whenChanged(() => core.sessions.disconnectBanned(core.clock()));
      yield* configStore.subscribe((config) => {
        Object.assign(limits, limitsOf(config));
        applyTopicLimits(config);
      });
      yield* metrics.addCollector(() => topicFamilies(readTopics(core), configStore.current().metrics.topics));
      yield* Supervisor.fork("timer wheel", advanceWheel(core));
      yield* Supervisor.fork("memory", watchMemory(core.memory));
      const startedMs = clock.nowMs() - metrics.uptimeSeconds() * 1000;
      yield* Supervisor.fork("$SYS topics", publishSys(core, configStore, clock, startedMs));
      clock.whenStepped(() => Effect.as(Effect.sync(() => core.sessions.wallClockSet(core.clock())), true));
      yield* Supervisor.fork("wall clock", watchClock(clock));
      return Broker.of({ core });
    }),
  );
}

function advanceWheel(core: BrokerCore): Effect.Effect<never> {
  return Effect.sync(() => core.wheel.advance(core.clock())).pipe(
    Effect.delay(Duration.millis(TICK_MS)),
    Effect.forever,
  );
}

function publishSys(
  core: BrokerCore,
  configStore: ConfigStore["Service"],
  clock: SteadyClock,
  startedMs: number,
): Effect.Effect<never> {
  const publish = () => {
    const { offsetMs } = clock;
    const facts = { version: VERSION, startedMs, wallOffsetMs: offsetMs, memoryBytes: Deno.memoryUsage().rss };
    publishSysTopics(core, facts, core.clock());
  };
  let waitedMs = Infinity;
  return Effect.sync(() => {
    const intervalMs = configStore.current().mqtt.sysIntervalMs;
    waitedMs += SYS_CHECK_MS;
    if (intervalMs === 0 || waitedMs < intervalMs) return;
    waitedMs = 0;
    publish();
  }).pipe(Effect.andThen(Effect.sleep(Duration.millis(SYS_CHECK_MS))), Effect.forever);
}

/** How often the `$SYS` fiber looks whether `mqtt.sys-interval` has passed, so that a reload takes effect soon. */
const SYS_CHECK_MS = 100;

function readTopics(core: BrokerCore) {
  const topics: { topic: string; messages: number; bytes: number; subscribers: number }[] = [];
  core.topics.forEach((topic: Topic) => {
    if (topic.messages === 0) return;
    const { receivers, groups } = core.trie.match(topic);
    topics.push({
      topic: topic.name,
      messages: topic.messages,
      bytes: topic.bytes,
      subscribers: receivers.length + groups.length,
    });
  });
  return topics;
}

function limitsOf(config: Config): SessionLimits {
  const { mqtt } = config;
  return {
    packetBytesMax: mqtt.maxPacketSize,
    qosMax: mqtt.maxQos,
    isRetainAvailable: mqtt.retainAvailable,
    isWildcardAvailable: mqtt.wildcardAvailable,
    isSharedAvailable: mqtt.sharedSubAvailable,
    inflightMax: mqtt.maxInflight,
    receiveMaximum: mqtt.receiveMaximum,
    topicAliasMax: mqtt.topicAliasMaximum,
    queuedMax: mqtt.maxQueued,
    queuedBytesMax: mqtt.maxQueuedBytes,
    queueFull: mqtt.queueFull,
    outboundBytesMax: mqtt.maxOutboundBytes,
    sessionExpirySecondsMax: mqtt.sessionExpiryMaxSeconds,
    messageExpirySecondsMax: mqtt.messageExpiryMaxSeconds,
    keepAliveSecondsMax: mqtt.keepAliveSeconds,
    clientIdBytesMax: mqtt.maxClientIdBytes,
    inflightBytesMax: mqtt.maxInflightBytes,
    subscriptionsMax: config.limits.subscriptionsPerClient,
    isRecheckedOnDeliver: config.auth.recheckOnDeliver,
  };
}
