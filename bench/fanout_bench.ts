/**
 * Fan-out: one message through the router to many Sessions, without sockets.
 *
 * A timed call publishes one message, ends the turn, and lets every receiver acknowledge at QoS 1. The figure divided
 * by the number of receivers is the cost of one delivery. Targets with 100 receivers and 64 B: below 40 ns per
 * delivery at QoS 0, below 200 ns at QoS 1 with its PUBACK.
 */

import { CountedEvents } from "../src/broker/counted_events.ts";
import { PromisedRoom } from "../src/broker/promised_room.ts";
import { RetainedMessages } from "../src/broker/retained_messages.ts";
import { Router } from "../src/broker/router.ts";
import { SharedDelivery } from "../src/broker/shared_delivery.ts";
import { TimerWheel } from "../src/broker/timer_wheel.ts";
import { Turn } from "../src/broker/turn.ts";
import { Counters } from "../src/metrics/counters.ts";
import { Message } from "../src/protocol/message.ts";
import type { QoS } from "../src/protocol/packets.ts";
import { AckFrame } from "../src/protocol/publish_codec.ts";
import { PublishEncoder } from "../src/protocol/publish_encoder.ts";
import { ProgressLine } from "../src/session/progress_line.ts";
import { Session } from "../src/session/session.ts";
import type { SessionContext } from "../src/session/session_context.ts";
import { MemoryMessageStore } from "../src/storage/message_store.ts";
import { MemoryLog } from "../src/storage/volatile/memory_log.ts";
import { SubscriptionTrie } from "../src/topics/subscription_trie.ts";
import { type Topic, TopicCache } from "../src/topics/topic.ts";
import { BENCH_LIMITS, BufferSink, V3_TRAITS } from "./bench_session.ts";

const TOPIC = "site/12/device/345/temperature";
const FILTER = "site/#";
const LOG_BYTES_MAX = 67_108_864;
const CLIENT_ID = "publisher";

/** A router with subscribers that are all online. */
class Fanout {
  readonly sinks: BufferSink[] = [];
  readonly sessions: Session[] = [];
  readonly turn: Turn;
  readonly router: Router;
  readonly counters = new Counters();
  readonly #publisher: Session;
  readonly #publisherSink = new BufferSink();
  readonly #topic: Topic;
  readonly #message = new Message();
  readonly #ack = new AckFrame();

  constructor(receivers: number, payloadBytes: number, readonly qos: QoS, group = "") {
    const store = new MemoryMessageStore(new MemoryLog(LOG_BYTES_MAX));
    const { counters } = this;
    const events = new CountedEvents(counters);
    const encoder = new PublishEncoder();
    const progress = new ProgressLine(() => {});
    const context: SessionContext = { store, encoder, counters, limits: BENCH_LIMITS, progress, events };
    const trie = new SubscriptionTrie<Session>();
    const promised = new PromisedRoom(BENCH_LIMITS);
    const shared = new SharedDelivery(context, trie, promised, new TimerWheel(0));
    // The turn is ended by the benchmark itself, so there is nothing to defer to.
    this.turn = new Turn(() => {}, () => store.commit(), () => {}, () => 0);
    this.router = new Router(context, trie, new RetainedMessages(store, counters), shared, promised, this.turn);
    for (let index = 0; index < receivers; index++) this.#subscribe(context, trie, index, group);
    this.#publisher = new Session(CLIENT_ID, context);
    this.#publisher.attach(this.#publisherSink, V3_TRAITS);
    this.#topic = new TopicCache().intern(TOPIC)!;
    this.#message.setTopic(this.#topic.utf8);
    this.#message.setPayload(new Uint8Array(payloadBytes).fill(0x78), 0, payloadBytes);
    this.#message.qos = qos;
  }

  #subscribe(context: SessionContext, trie: SubscriptionTrie<Session>, index: number, group: string): void {
    const sink = new BufferSink();
    const session = new Session(`subscriber-${index}`, context);
    session.attach(sink, V3_TRAITS);
    this.sinks.push(sink);
    this.sessions.push(session);
    const options = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 } as const;
    trie.add({ subscriber: session, filter: FILTER, group, qos: this.qos, ...options });
  }

  /** Publishes one message, ends the turn and completes every delivery. */
  publish(): void {
    this.router.publish(this.#publisher, this.#message, this.#topic, this.qos === 0 ? 0 : 1, 1000);
    this.turn.end();
    this.#publisherSink.clear();
    const { sinks, sessions } = this;
    for (let index = 0; index < sinks.length; index++) {
      const sink = sinks[index]!;
      if (this.qos > 0 && sink.out.length > 0) this.#acknowledge(sessions[index]!, sink);
      sink.clear();
    }
  }

  #acknowledge(session: Session, sink: BufferSink): void {
    const { bytes } = sink.out;
    const body = bytes[1]! > 0x7f ? 3 : 2;
    const at = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!);
    this.#ack.packetId = (bytes[at]! << 8) | bytes[at + 1]!;
    this.#ack.reasonCode = 0;
    session.outbox.handlePuback(this.#ack, 1000);
  }
}

function benchFanout(receivers: number, payloadBytes: number, qos: 0 | 1, isBaseline = false): void {
  const fanout = new Fanout(receivers, payloadBytes, qos);
  const name = `publish to ${receivers}: QoS ${qos}, ${payloadBytes} B`;
  Deno.bench({ name, group: `QoS ${qos}`, baseline: isBaseline }, () => {
    const before = fanout.counters.messagesDelivered;
    fanout.publish();
    if (fanout.counters.messagesDelivered - before !== receivers) throw new Error("not everybody got it");
  });
}

benchFanout(1, 64, 0, true);
benchFanout(10, 64, 0);
benchFanout(100, 64, 0);
benchFanout(1000, 64, 0);
benchFanout(100, 1024, 0);
benchFanout(1, 64, 1, true);
benchFanout(10, 64, 1);
benchFanout(100, 64, 1);
benchFanout(1000, 64, 1);
benchFanout(100, 1024, 1);

{
  const fanout = new Fanout(10, 64, 1, "workers");
  Deno.bench({ name: "publish to one of 10 members: QoS 1, 64 B", group: "shared" }, () => {
    const before = fanout.counters.messagesDelivered;
    fanout.publish();
    if (fanout.counters.messagesDelivered - before !== 1) throw new Error("not exactly one got it");
  });
}
