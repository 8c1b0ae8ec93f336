/**
 * The clients of a crash test and what they do: publishers that number their messages, durable subscribers of which
 * some are away for a while, and a shared group.
 *
 * Plain; `tick` moves everything and is called every few milliseconds.
 */

import { DurableClient } from "./durable_client.ts";
import { type Ledger, Receiver, SentTopic } from "./ledger.ts";
import { encodePayload, sequenceOf } from "./payload.ts";
import type { SeededRandom } from "./seeded_random.ts";

/** Filter of the topics that every publisher keeps a Retained Message on. */
export const RETAINED_FILTER = "crashtest/+/kept/#";

/** See the head of this file. */
export class Traffic implements PublishingContext {
  /** Port of the broker, undefined while there is none. */
  port: number | undefined = undefined;
  /** Whether new messages are sent. */
  isPublishing = false;
  /** Whether subscribers may go away; else all come back. */
  mayLeave = false;
  /** What clients say is wrong; only the first ones. */
  readonly troubles: string[] = [];
  readonly #publishers: Publisher[] = [];
  readonly #subscribers: Subscriber[] = [];
  readonly ledger: Ledger;
  readonly random: SeededRandom;

  /** @param pairs How many publishers and how many subscribers. */
  constructor(ledger: Ledger, random: SeededRandom, pairs: number) {
    this.ledger = ledger;
    this.random = random;
    for (let index = 0; index < pairs; index++) {
      this.#addPublisher(`publisher-${index + 1}`);
      const qos = index % 2 === 0 ? 2 : 1;
      const presence = index < 2 ? "always" : "sometimes";
      const name = `${presence}-qos${qos}-${index + 1}`;
      this.#addSubscriber(name, "crashtest/#", presence, ledger.addReceiver(new Receiver(name, qos, "kept")));
    }
    const pool = ledger.addReceiver(new Receiver("shared", 2, "not_promised"));
    this.#addSubscriber("shared-1", SHARED_FILTER, "always", pool);
    this.#addSubscriber("shared-2", SHARED_FILTER, "sometimes", pool);
  }

  /** Clients that should be online and are not, by Client Identifier. */
  awaited(): string[] {
    const subscribers = this.#subscribers.filter(({ ticksAway }) => ticksAway === 0);
    return [...this.#publishers, ...subscribers].filter(({ client }) => !client.isOnline)
      .map(({ client }) => client.clientId);
  }

  /** Messages that were sent and are neither acknowledged nor given up. */
  get inFlight(): number {
    return this.#publishers.reduce((sum, { inFlight }) => sum + inFlight, 0);
  }

  /** Subscribes all; called once, when all are online. */
  async subscribe(): Promise<void> {
    await Promise.all(this.#subscribers.map(({ client, filter, receiver }) => {
      return client.subscribe(filter, receiver.grantedQos);
    }));
  }

  /** Connects who is to be connected, lets subscribers come and go, and publishes. */
  tick(): void {
    for (const subscriber of this.#subscribers) this.#tickSubscriber(subscriber);
    for (const { client } of this.#publishers) if (this.port !== undefined) client.ensureConnected(this.port);
    for (const publisher of this.#publishers) publisher.tick();
  }

  /** Sends one more message on every topic. */
  publishLast(): void {
    for (const publisher of this.#publishers) publisher.publishEach();
  }

  close(): void {
    for (const { client } of [...this.#publishers, ...this.#subscribers]) client.close();
  }

  #tickSubscriber(subscriber: Subscriber): void {
    const { client, presence } = subscriber;
    if (subscriber.ticksAway > 0 && this.mayLeave) {
      subscriber.ticksAway--;
      return;
    }
    subscriber.ticksAway = 0;
    if (this.port === undefined) return;
    client.ensureConnected(this.port);
    if (presence === "always" || !this.mayLeave || !client.isOnline || !this.random.happens(LEAVING_CHANCE)) return;
    subscriber.ticksAway = this.random.between(1, TICKS_AWAY_MAX);
    client.leave(this.random.happens(0.5) ? "with_disconnect" : "without_disconnect");
  }

  #addPublisher(name: string): void {
    const topics = [
      new SentTopic(`crashtest/${name}/one`, 1, false),
      new SentTopic(`crashtest/${name}/two`, 2, false),
      new SentTopic(`crashtest/${name}/kept/one`, 1, true),
      new SentTopic(`crashtest/${name}/kept/two`, 2, true),
    ];
    for (const topic of topics) this.ledger.addTopic(topic);
    this.#publishers.push(new Publisher(this.#client(name, () => {}), topics, this));
  }

  #addSubscriber(name: string, filter: string, presence: Presence, receiver: Receiver): void {
    const client = this.#client(name, (topic, payload) => this.ledger.deliver(receiver, topic, sequenceOf(payload)));
    this.#subscribers.push({ client, filter, presence, receiver, ticksAway: 0 });
  }

  #client(clientId: string, message: (topic: string, payload: Uint8Array) => void): DurableClient {
    let isKnown = false;
    return new DurableClient(clientId, "durable", {
      message,
      accepted: (sessionPresent) => {
        if (isKnown && !sessionPresent) {
          this.ledger.fault("session_lost", `${clientId} came back and its Session was not there`);
        }
        isKnown = true;
      },
      trouble: (text) => {
        if (this.troubles.length < TROUBLES_MAX) this.troubles.push(text);
      },
    });
  }
}

/** Keeps its window full, so that a kill nearly always hits messages under way, but for a bound per tick. */
class Publisher {
  readonly client: DurableClient;
  inFlight = 0;
  readonly #topics: readonly SentTopic[];
  readonly #context: PublishingContext;
  /** Messages that may still be sent in this tick. */
  #budget = 0;

  constructor(client: DurableClient, topics: readonly SentTopic[], context: PublishingContext) {
    this.client = client;
    this.#topics = topics;
    this.#context = context;
  }

  tick(): void {
    this.#budget = PUBLISHED_PER_TICK;
    this.#fillWindow();
  }

  publishEach(): void {
    for (const topic of this.#topics) this.#send(topic, 0);
  }

  #fillWindow(): void {
    const { random } = this.#context;
    while (this.#budget > 0 && this.inFlight < WINDOW && this.client.isOnline && this.#context.isPublishing) {
      this.#budget--;
      const topic = this.#topics[random.between(0, this.#topics.length - 1)]!;
      this.#send(topic, random.happens(0.02) ? LARGE_BYTES : random.between(0, 200));
    }
  }

  #send(topic: SentTopic, fillingBytes: number): void {
    const { ledger } = this.#context;
    const sequence = ledger.send(topic);
    this.inFlight++;
    this.client.publish(topic.name, encodePayload(this.client.clientId, sequence, fillingBytes), topic, (outcome) => {
      this.inFlight--;
      if (outcome === "acknowledged") ledger.acknowledge(topic, sequence);
      this.#fillWindow();
    });
  }
}

/** What publishers share: the traffic itself. */
interface PublishingContext {
  readonly isPublishing: boolean;
  readonly ledger: Ledger;
  readonly random: SeededRandom;
}

type Presence = "always" | "sometimes";

interface Subscriber {
  readonly client: DurableClient;
  readonly filter: string;
  readonly presence: Presence;
  readonly receiver: Receiver;
  /** Ticks that it stays away. */
  ticksAway: number;
}

const SHARED_FILTER = "$share/pool/crashtest/#";
/** Messages that one publisher has sent and not heard of. */
const WINDOW = 10;
const PUBLISHED_PER_TICK = 20;
/** Larger than a read buffer. */
const LARGE_BYTES = 20_000;
/** That a subscriber goes away in one tick: about once in two seconds. */
const LEAVING_CHANCE = 0.01;
const TICKS_AWAY_MAX = 150;
const TROUBLES_MAX = 20;
