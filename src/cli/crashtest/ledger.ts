/**
 * The books of a crash test: what was sent, what was acknowledged, what arrived where, and what follows from that.
 *
 * Plain and without I/O. Messages of one topic come from one publisher and are numbered from 1. A receiver is one
 * durable Session, or all members of a shared group together. Memory: a byte per message, and a byte per message and
 * receiver.
 */

/** One stream of numbered messages. */
export class SentTopic {
  readonly name: string;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  /** Number of the message sent last. */
  sent = 0;
  /** Highest number that was acknowledged. */
  acknowledgedMax = 0;
  /** 1 for each acknowledged number. */
  readonly acknowledged = new ByteCounts();

  constructor(name: string, qos: 1 | 2, retain: boolean) {
    this.name = name;
    this.qos = qos;
    this.retain = retain;
  }
}

/** What arrived at one receiver. */
export class Receiver {
  readonly name: string;
  readonly grantedQos: 1 | 2;
  /** Order holds for a Session; members of a shared group receive side by side. */
  readonly order: "kept" | "not_promised";
  delivered = 0;
  readonly #arrivals = new Map<SentTopic, Arrivals>();

  constructor(name: string, grantedQos: 1 | 2, order: "kept" | "not_promised") {
    this.name = name;
    this.grantedQos = grantedQos;
    this.order = order;
  }

  /** How often each number of a topic arrived. */
  arrivals(topic: SentTopic): Arrivals {
    let known = this.#arrivals.get(topic);
    if (known === undefined) this.#arrivals.set(topic, known = { counts: new ByteCounts(), highest: 0 });
    return known;
  }
}

interface Arrivals {
  readonly counts: ByteCounts;
  /** Highest number that arrived. */
  highest: number;
}

/** A growing array of small counts. */
export class ByteCounts {
  #bytes = new Uint8Array(1024);

  get(index: number): number {
    return this.#bytes[index] ?? 0;
  }

  /** Adds one, up to 255; returns the count before. */
  increment(index: number): number {
    if (index >= this.#bytes.length) {
      const grown = new Uint8Array(Math.max(index + 1, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    const before = this.#bytes[index]!;
    if (before < 255) this.#bytes[index] = before + 1;
    return before;
  }
}

/** A promise that was not kept. */
export type Fault =
  | "lost"
  | "duplicate_qos2"
  | "out_of_order"
  | "never_sent"
  | "session_lost"
  | "retained_lost"
  | "stalled"
  | "broker_ended";

/** See the head of this file. */
export class Ledger {
  readonly topics: SentTopic[] = [];
  readonly receivers: Receiver[] = [];
  acknowledged = 0;
  delivered = 0;
  duplicatesQos1 = 0;
  duplicatesQos2 = 0;
  /** Messages that were acknowledged and have not arrived, counted per receiver. */
  outstanding = 0;
  readonly faults = new Map<Fault, number>();
  /** The first faults of each kind in words. */
  readonly examples: string[] = [];
  readonly #byName = new Map<string, SentTopic>();

  addTopic(topic: SentTopic): SentTopic {
    this.topics.push(topic);
    this.#byName.set(topic.name, topic);
    return topic;
  }

  addReceiver(receiver: Receiver): Receiver {
    this.receivers.push(receiver);
    return receiver;
  }

  /** The next message of a topic is about to be sent. Returns its number. */
  send(topic: SentTopic): number {
    return ++topic.sent;
  }

  /** The broker has taken responsibility for a message. */
  acknowledge(topic: SentTopic, sequence: number): void {
    if (topic.acknowledged.increment(sequence) > 0) return;
    this.acknowledged++;
    topic.acknowledgedMax = Math.max(topic.acknowledgedMax, sequence);
    for (const receiver of this.receivers) {
      if (receiver.arrivals(topic).counts.get(sequence) === 0) this.outstanding++;
    }
  }

  /** A message has reached the application behind a receiver. */
  deliver(receiver: Receiver, topicName: string, sequence: number): void {
    const topic = this.#byName.get(topicName);
    if (topic === undefined || !(sequence >= 1 && sequence <= topic.sent)) {
      return this.fault("never_sent", `${receiver.name} got ${topicName} number ${sequence}, which nobody sent`);
    }
    receiver.delivered++;
    this.delivered++;
    const arrivals = receiver.arrivals(topic);
    if (arrivals.counts.increment(sequence) > 0) return this.#duplicate(receiver, topic, sequence);
    if (topic.acknowledged.get(sequence) > 0) this.outstanding--;
    if (sequence < arrivals.highest && receiver.order === "kept") {
      this.fault("out_of_order", `${receiver.name} got ${topicName} number ${sequence} after ${arrivals.highest}`);
    }
    arrivals.highest = Math.max(arrivals.highest, sequence);
  }

  /** Notes a promise that was not kept. */
  fault(kind: Fault, example: string): void {
    const count = (this.faults.get(kind) ?? 0) + 1;
    this.faults.set(kind, count);
    if (count <= EXAMPLES_PER_KIND) this.examples.push(example);
  }

  /** Counts what was acknowledged and has not arrived as lost; called once, when nothing more will come. */
  close(): void {
    for (const receiver of this.receivers) {
      for (const topic of this.topics) {
        const { counts } = receiver.arrivals(topic);
        for (let sequence = 1; sequence <= topic.sent; sequence++) {
          if (topic.acknowledged.get(sequence) === 0 || counts.get(sequence) > 0) continue;
          this.fault("lost", `${receiver.name} never got ${topic.name} number ${sequence}, which was acknowledged`);
        }
      }
    }
  }

  #duplicate(receiver: Receiver, topic: SentTopic, sequence: number): void {
    if (topic.qos === 1 || receiver.grantedQos === 1) {
      this.duplicatesQos1++;
      return;
    }
    this.duplicatesQos2++;
    this.fault("duplicate_qos2", `${receiver.name} got ${topic.name} number ${sequence} twice at QoS 2`);
  }
}

const EXAMPLES_PER_KIND = 5;
