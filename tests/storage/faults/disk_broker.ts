/**
 * A broker core over a durable store on a faulty disk, with clients that are only memory: what reaches a client, whatever
 * the disk does. Time is that of the store's rig and stands still until it is moved.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { makeAuthenticator } from "../../../src/auth/identity/authenticator.ts";
import { askBy } from "../../../src/auth/identity/questions.ts";
import { BrokerCore } from "../../../src/broker/broker_core.ts";
import { Counters } from "../../../src/metrics/counters.ts";
import type { SessionLimits } from "../../../src/session/session_limits.ts";
import { asMessageStore } from "../../../src/storage/durable_store.ts";
import type { RecoveredState } from "../../../src/storage/model/durable_state.ts";
import { ALL_PERMITTED } from "../../../src/topics/permissions.ts";
import { TopicCache } from "../../../src/topics/topic.ts";
import { makeGuards } from "../../broker/guards.ts";
import type { Received } from "../../broker/packet_text.ts";
import { type ClientWorld, type ConnectOptions, TestClient } from "../../broker/test_client.ts";
import type { StoreRig } from "../store_rig.ts";

/** See the head of this file. */
export class DiskBroker implements ClientWorld {
  readonly feed = "whole";
  readonly counters = new Counters();
  readonly core: BrokerCore;
  readonly #rig: StoreRig;
  readonly #clients: TestClient[] = [];
  #turns: (() => void)[] = [];
  /** What the broker threw when it heard of a commit. */
  #failure: unknown = undefined;

  constructor(rig: StoreRig, limits: Partial<SessionLimits> = {}) {
    this.#rig = rig;
    // The rig has taken what was recovered, which is handed out once.
    let recovered: RecoveredState | undefined = rig.recovered;
    const takeRecovered = () => {
      const taken = recovered;
      recovered = undefined;
      return taken;
    };
    const port = new Proxy(asMessageStore(rig.store), {
      get: (store, name) => {
        if (name === "takeRecovered") return takeRecovered;
        if (name === "whenCommitted") return (listener: (committed: number) => void) => this.#listen(listener);
        const value: unknown = Reflect.get(store, name, store);
        return typeof value === "function" ? value.bind(store) : value;
      },
    });
    this.core = new BrokerCore({
      store: port,
      counters: this.counters,
      log: { level: 0, write: () => {}, limited: () => {} },
      limits: { ...LIMITS, ...limits },
      authenticator: makeAuthenticator(() => "true", [], [], ASK),
      topics: new TopicCache(),
      authorizer: { permissionsOf: (_principal, heard) => ASK(ALL_PERMITTED, heard) },
      guards: makeGuards(),
      connectionsMax: () => 1_000,
      clock: () => rig.time.nowMs,
      wallOffsetMs: () => 0,
      defer: (end) => this.#turns.push(end),
      newClientId: () => assert.fail("every client has a name"),
    });
  }

  get nowMs(): number {
    return this.#rig.time.nowMs;
  }

  settle(): void {
    for (let isBusy = true; isBusy;) {
      const turns = this.#turns;
      this.#turns = [];
      for (const end of turns) end();
      isBusy = this.#turns.length > 0;
      for (const client of this.#clients) isBusy = client.step() || isBusy;
    }
  }

  /** Settles, and lets syncs be done that are not held, until nothing is left to do now; time stands still. */
  async rest(): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      this.settle();
      await this.#rig.advance();
    }
    this.settle();
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** Opens a connection and connects; the CONNACK must be a success. */
  async client(clientId: string, options: ConnectOptions = {}): Promise<TestClient> {
    const peer = {
      remoteAddress: "127.0.0.1",
      isLoopback: true,
      certificate: undefined,
      listener: { name: "test", anonymous: undefined, versions: undefined },
    };
    const limits = { messageRate: 0, byteRate: 0, isWait: true };
    const settings = { writeBufferBytes: 64, readTimeoutMs: 30_000, writeTimeoutMs: 30_000, limits };
    const client = new TestClient(this, peer, settings);
    this.#clients.push(client);
    client.sendConnect({ clientId, ...options });
    await this.rest();
    assert.match(client.answer(), /^connack 0/);
    return client;
  }

  /** As `client`, with a Session that outlives its connection by an hour. */
  durable(clientId: string): Promise<TestClient> {
    return this.client(clientId, { clean: false, properties: { sessionExpiryInterval: 3_600 } });
  }

  /** Publishes at QoS 1, each in a turn and a sync of its own, and sees each acknowledged. */
  async publish(publisher: TestClient, topic: string, payloads: readonly string[]): Promise<void> {
    for (const [index, payload] of payloads.entries()) {
      publisher.publish(topic, payload, { qos: 1, messageId: index + 1 });
      await this.rest();
      assert.deepEqual(publisher.read().map(({ cmd, reasonCode }) => `${cmd} ${reasonCode ?? 0}`), ["puback 0"]);
    }
  }

  /** A failure there would end in a promise of the group commit, where no test hears of it. */
  #listen(listener: (committed: number) => void): void {
    this.#rig.store.whenCommitted((committed) => {
      try {
        listener(committed);
      } catch (failure) {
        this.#failure ??= failure;
      }
    });
  }

  /** Everything that comes to a client until nothing more comes, acknowledged at QoS 1. */
  async drain(client: TestClient): Promise<Received[]> {
    const all: Received[] = [];
    for (;;) {
      await this.rest();
      const publishes = client.read().filter(({ cmd }) => cmd === "publish");
      if (publishes.length === 0) return all;
      all.push(...publishes);
      for (const { messageId } of publishes) client.puback(messageId!);
    }
  }
}

const ASK = askBy(Effect.runFork);
/** Turns and syncs that one packet leads to, and some more. */
const ROUNDS = 6;
const LIMITS: SessionLimits = {
  packetBytesMax: 1_048_576,
  qosMax: 2,
  isRetainAvailable: true,
  isWildcardAvailable: true,
  isSharedAvailable: true,
  inflightMax: 20,
  receiveMaximum: 1_024,
  topicAliasMax: 65_535,
  queuedMax: 100_000,
  queuedBytesMax: 0,
  queueFull: "drop-oldest",
  outboundBytesMax: 16_777_216,
  sessionExpirySecondsMax: 0,
  messageExpirySecondsMax: 0,
  keepAliveSecondsMax: 0,
  clientIdBytesMax: 65_535,
  subscriptionsMax: 0,
  isRecheckedOnDeliver: false,
  inflightBytesMax: 0,
};
