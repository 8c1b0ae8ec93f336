/**
 * An honest QoS 1 flow that runs beside an attack: one publisher, one subscriber, numbered messages. It fails on the
 * first message that is missing, repeated or out of order.
 */
import assert from "node:assert/strict";
import { type Endpoint, RawClient } from "../support/raw_client.ts";

/** What the flow saw. */
export interface FlowReport {
  readonly acknowledged: number;
  readonly delivered: number;
}

const WINDOW = 16;

/** A running flow; `finish` ends it and returns when everything acknowledged has been delivered. */
export class HonestFlow implements AsyncDisposable {
  readonly #publisher: RawClient;
  readonly #subscriber: RawClient;
  readonly #topic: string;
  readonly #work: Promise<FlowReport>;
  #isStopping = false;
  #sent = 0;
  #acknowledged = 0;
  #delivered = 0;

  private constructor(publisher: RawClient, subscriber: RawClient, topic: string) {
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#topic = topic;
    this.#work = this.#run();
    // Looked at in `finish`; until then a failure must not count as unhandled.
    this.#work.catch(() => undefined);
  }

  /** Connects both clients, subscribes, and starts publishing. */
  static async start(endpoint: Endpoint, name = "honest"): Promise<HonestFlow> {
    const topic = `${name}/flow`;
    const subscriber = await RawClient.connect(endpoint, { clientId: `${name}-subscriber`, keepAlive: 60 });
    await subscriber.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: topic, qos: 1 }] });
    await subscriber.expect("suback");
    const publisher = await RawClient.connect(endpoint, { clientId: `${name}-publisher`, keepAlive: 60 });
    return new HonestFlow(publisher, subscriber, topic);
  }

  /** Messages delivered so far. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Stops publishing, waits for what is under way, and returns the counts; throws at any gap or repetition. */
  async finish(): Promise<FlowReport> {
    this.#isStopping = true;
    return await this.#work;
  }

  /** Ends the flow if `finish` has not, and closes both connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    await this.#publisher.close();
    await this.#subscriber.close();
  }

  async #run(): Promise<FlowReport> {
    while (!this.#isStopping || this.#delivered === 0) {
      const first = this.#sent;
      for (let index = 0; index < WINDOW; index += 1) {
        await this.#publisher.sendPacket("publish", {
          topic: this.#topic,
          payload: String(this.#sent),
          qos: 1,
          id: (this.#sent % 60_000) + 1,
        });
        this.#sent += 1;
      }
      await Promise.all([this.#takeAcknowledgements(first), this.#takeDeliveries(first)]);
    }
    await this.#subscriber.expectQuiet();
    return { acknowledged: this.#acknowledged, delivered: this.#delivered };
  }

  async #takeAcknowledgements(first: number): Promise<void> {
    for (let number = first; number < first + WINDOW; number += 1) {
      const { wire } = await this.#publisher.expect("puback");
      assert.equal(wire.id, (number % 60_000) + 1, "acknowledgements are out of order");
      assert.equal(wire.reasonCode, 0);
      this.#acknowledged += 1;
    }
  }

  async #takeDeliveries(first: number): Promise<void> {
    for (let number = first; number < first + WINDOW; number += 1) {
      const { wire } = await this.#subscriber.expect("publish");
      assert.equal(wire.payload, String(number), "a message is missing, repeated or out of order");
      await this.#subscriber.sendPacket("puback", { id: wire.id ?? 0 });
      this.#delivered += 1;
    }
  }
}
