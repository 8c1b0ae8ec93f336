/**
 * A whole broker core in virtual time, for tests: no sockets, no clock, no microtasks.
 *
 * Turns end when the test settles the world; commits happen at once or, with `world.store.isSlow`, when the test says
 * so. `restart` lets the broker die and start again from what its store kept. `scenario` runs a test twice, with packets arriving whole and byte by byte, demands the same bytes from the broker
 * in both, and checks at the end that everybody leaving leaves nothing behind.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { makeAuthenticator } from "../../src/auth/identity/authenticator.ts";
import type { Authorizer, Principal } from "../../src/auth/identity/authorizer.ts";
import type { EnhancedAuthenticator } from "../../src/auth/identity/enhanced_authentication.ts";
import { type AnonymousPolicy, type IdentityProvider, named } from "../../src/auth/identity/identity.ts";
import { askBy } from "../../src/auth/identity/questions.ts";
import { BrokerCore } from "../../src/broker/broker_core.ts";
import type { ClientOrigin, ListenerTraits } from "../../src/broker/client_origin.ts";
import { BROKER } from "../../src/broker/publish_source.ts";
import { TICK_MS } from "../../src/broker/timer_wheel.ts";
import type { ConnectionSettings } from "../../src/listeners/transport/connection.ts";
import type { LogWriter } from "../../src/logging/log.ts";
import { Counters } from "../../src/metrics/counters.ts";
import { Message } from "../../src/protocol/message.ts";
import type { SessionLimits } from "../../src/session/session_limits.ts";
import { ALL_PERMITTED, type Permissions } from "../../src/topics/permissions.ts";
import { TopicCache } from "../../src/topics/topic.ts";
import { assertAgreement } from "./agreement.ts";
import { makeGuards } from "./guards.ts";
import { asMessageStore, type Crash, SlowStore } from "./slow_store.ts";
import { type ConnectOptions, type Feed, TestClient } from "./test_client.ts";

/** What a world can be built with. */
export interface WorldOptions {
  /** False for a store that forgets. */
  readonly isDurable?: boolean;
  readonly limits?: Partial<SessionLimits>;
  readonly anonymous?: AnonymousPolicy;
  readonly providers?: readonly IdentityProvider[];
  readonly enhanced?: readonly EnhancedAuthenticator[];
  /** What a client may do, where it differs from everything. */
  readonly permissions?: (principal: Principal) => Partial<Permissions>;
  /** Stands in for `permissions` where a backend has to be asked. */
  readonly authorizer?: Authorizer["Service"];
  readonly connectionsMax?: number;
  readonly settings?: Partial<ConnectionSettings>;
}

/** See the head of this file. */
export class World {
  nowMs = START_MS;
  /** Wall time minus `nowMs`; see `setWallClock`. */
  wallOffsetMs = 0;
  store = new SlowStore();
  counters = new Counters();
  readonly limits: SessionLimits;
  readonly settings: ConnectionSettings;
  core: BrokerCore;
  readonly guards = makeGuards();
  readonly clients: TestClient[] = [];
  /** Messages of the lines logged, without their fields. */
  readonly logged: string[] = [];
  #turns: (() => void)[] = [];
  #clientIds = 0;
  #turnHeard: (() => void) | undefined = undefined;
  readonly #options: WorldOptions;

  constructor(options: WorldOptions = {}, readonly feed: Feed = "whole") {
    this.limits = { ...LIMITS, ...options.limits };
    this.settings = {
      writeBufferBytes: 64,
      readTimeoutMs: 30_000,
      writeTimeoutMs: 30_000,
      limits: { messageRate: 0, byteRate: 0, isWait: true },
      ...options.settings,
    };
    this.#options = options;
    this.store.isDurable = options.isDurable ?? true;
    this.core = this.#start();
  }

  #start(): BrokerCore {
    const options = this.#options;
    return new BrokerCore({
      store: asMessageStore(this.store),
      counters: this.counters,
      log: this.#logWriter(),
      limits: this.limits,
      authenticator: makeAuthenticator(
        () => options.anonymous ?? "true",
        options.providers ?? [TRUSTING],
        options.enhanced ?? [],
        ASK,
      ),
      topics: new TopicCache(),
      authorizer: options.authorizer ??
        {
          permissionsOf: (principal, heard) => ASK({ ...ALL_PERMITTED, ...options.permissions?.(principal) }, heard),
        },
      guards: this.guards,
      connectionsMax: () => options.connectionsMax ?? 1_000,
      clock: () => this.nowMs,
      wallOffsetMs: () => this.wallOffsetMs,
      defer: (end) => {
        this.#turns.push(end);
        this.#turnHeard?.();
      },
      newClientId: () => `assigned-${++this.#clientIds}`,
    });
  }

  /** Sets the wall clock, and lets the broker notice. */
  setWallClock(wallOffsetMs: number): void {
    this.wallOffsetMs = wallOffsetMs;
    this.core.sessions.wallClockSet(this.nowMs);
  }

  /** The broker dies with all its connections, and starts again from what its store kept. */
  restart(crash: Crash): void {
    for (const client of this.clients) client.crash();
    this.#turns = [];
    this.store = this.store.survivor(crash);
    this.counters = new Counters();
    this.core = this.#start();
  }

  /**
   * Opens a network connection; CONNECT is up to the test.
   *
   * @param from Whether from this host, or what else there is to say of where it comes from.
   */
  open(from: boolean | Partial<ClientOrigin> = true): TestClient {
    const isLoopback = from === true;
    const place: ClientOrigin = {
      remoteAddress: isLoopback ? "127.0.0.1" : "192.0.2.1",
      isLoopback,
      certificate: undefined,
      listener: LISTENER,
    };
    const origin = typeof from === "boolean" ? place : { ...place, ...from };
    const client = new TestClient(this, origin, this.settings);
    this.clients.push(client);
    return client;
  }

  /** Opens a connection and connects; the CONNACK must be a success. */
  client(clientId: string, options: ConnectOptions = {}): TestClient {
    const client = this.open();
    assert.match(client.connect({ clientId, ...options }), /^connack 0/);
    return client;
  }

  /** A durable v5 client with a Session Expiry Interval of an hour that resumes its Session. */
  durable(clientId: string, options: ConnectOptions = {}): TestClient {
    return this.client(clientId, { clean: false, properties: { sessionExpiryInterval: 3_600 }, ...options });
  }

  /** Ends turns and lets the network take bytes until nothing is left to do now. */
  settle(): void {
    let isBusy = true;
    for (let rounds = 0; isBusy; rounds++) {
      assert(rounds < ROUNDS_MAX, "the broker comes to rest");
      const turns = this.#turns;
      this.#turns = [];
      for (const end of turns) end();
      isBusy = this.#turns.length > 0;
      for (const client of this.clients) isBusy = client.step() || isBusy;
    }
  }

  /** Lets a slow store finish what it was asked for, and settles. */
  commit(): void {
    this.settle();
    this.store.finishCommit();
    this.settle();
  }

  /** Lets time pass. Timers fire tick by tick at first, in bigger strides over long times. */
  pass(milliseconds: number): void {
    const stride = Math.max(TICK_MS, Math.ceil(milliseconds / 300));
    const endMs = this.nowMs + milliseconds;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, this.nowMs + stride);
      this.core.wheel.advance(this.nowMs);
      this.settle();
    }
  }

  /** Settles, and resolves with the next turn that something outside of the test starts, such as a promise. */
  nextTurn(): Promise<void> {
    this.settle();
    return new Promise((resolve) => {
      this.#turnHeard = () => {
        this.#turnHeard = undefined;
        resolve();
      };
    });
  }

  /** Everybody leaves, every Session ends, nothing is retained: then nothing may be left. */
  leaveNothing(): void {
    this.store.isFull = false;
    this.#commitAll();
    for (const client of this.clients) client.lose();
    this.#commitAll();
    // All Sessions expire, but for those that never do: a client that starts clean ends them.
    this.nowMs += LONGEST_EXPIRY_MS;
    this.core.wheel.advance(this.nowMs);
    this.#commitAll();
    for (const session of [...this.core.sessions.sessions.values()]) {
      const other = this.open();
      const { clientId, username } = session;
      other.sendConnect({ clientId, clean: true, ...(username === undefined ? {} : { username }) });
      this.#commitAll();
      other.lose();
      this.#commitAll();
    }
    this.#clearRetained();
    this.#commitAll();
    const { counters } = this;
    const left = {
      connections: counters.connectionsCurrent,
      sessionsOnline: counters.sessionsOnline,
      sessionsOffline: counters.sessionsOffline,
      inflight: counters.messagesInflight,
      queued: counters.messagesQueued,
      subscriptions: counters.subscriptions,
      retained: counters.retainedMessages,
      storedMessages: this.store.liveMessages,
      sessions: this.core.sessions.sessions.size,
    };
    assert.deepEqual(Object.entries(left).filter(([, count]) => count !== 0), []);
    assert.equal(counters.connectionsTotal, counters.disconnectionsTotal);
    if (this.store.isDurable) assertAgreement(this);
  }

  #logWriter(): LogWriter {
    return {
      level: 0,
      write: (_level, message) => this.logged.push(message),
      limited: (_key, _level, message) => this.logged.push(message),
    };
  }

  #commitAll(): void {
    this.store.isSlow = false;
    this.commit();
  }

  #clearRetained(): void {
    const message = new Message();
    message.retain = true;
    for (const name of this.store.retainedTopics) {
      const topic = this.core.topics.intern(name)!;
      message.setTopic(topic.utf8);
      this.core.router.publish(BROKER, message, topic, 0, this.nowMs);
    }
  }
}

/** Believes every name it is told. */
const TRUSTING: IdentityProvider = {
  name: "trusting",
  verify: ({ username }) => username === undefined ? undefined : { kind: "accept", identity: named(username) },
};
const ASK = askBy(Effect.runFork);
const LISTENER: ListenerTraits = { name: "test", anonymous: undefined, versions: undefined };

/** Makes a test of a scenario; see the head of this file. */
export function scenario(options: WorldOptions, body: (world: World) => void): () => void {
  return () => {
    const [whole, bytewise] = FEEDS.map((feed) => {
      const world = new World(options, feed);
      body(world);
      return finish(world);
    });
    assert.deepEqual(bytewise, whole, "packets that arrive byte by byte are answered alike");
  };
}

/** As `scenario`, for bodies that wait for promises; `makeOptions` is called for each run. */
export function asyncScenario(
  makeOptions: () => WorldOptions,
  body: (world: World) => Promise<void>,
): () => Promise<void> {
  return async () => {
    const outputs: string[][] = [];
    for (const feed of FEEDS) {
      const world = new World(makeOptions(), feed);
      await body(world);
      outputs.push(finish(world));
    }
    assert.deepEqual(outputs[1], outputs[0], "packets that arrive byte by byte are answered alike");
  };
}

function finish(world: World): string[] {
  world.settle();
  if (world.store.isDurable && !world.store.isSlow) assertAgreement(world);
  const outputs = world.clients.map((client) => client.written.map((byte) => byte.toString(16)).join(" "));
  world.leaveNothing();
  return outputs;
}

const FEEDS: readonly Feed[] = ["whole", "bytewise"];
const START_MS = 1_000_000_000;
const LONGEST_EXPIRY_MS = 0xffff_ffff * 1000;
/** Far more than any scenario needs. */
const ROUNDS_MAX = 10_000;
const LIMITS: SessionLimits = {
  packetBytesMax: 1_048_576,
  qosMax: 2,
  isRetainAvailable: true,
  isWildcardAvailable: true,
  isSharedAvailable: true,
  inflightMax: 20,
  receiveMaximum: 1_024,
  topicAliasMax: 65_535,
  queuedMax: 1_000,
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
