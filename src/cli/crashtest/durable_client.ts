/**
 * An MQTT client with a Session that outlives its connections: MQTT.js, told when to connect and where.
 *
 * What must be known of MQTT.js for its reports to be the broker's doing:
 *
 *  - Messages to be sent stay in `outgoingStore` until they are acknowledged and are sent again in their order, also
 *    on another connection, because one client object lives through the whole test and is given its stores back.
 *  - A QoS 2 message reaches the application when its PUBREL comes; until then `incomingStore` holds it by Packet
 *    Identifier, also across connections. A PUBLISH that is repeated before PUBREL replaces the stored one and is not
 *    told twice; a PUBREL that is repeated finds nothing and is only answered. So a message that is told twice was sent
 *    twice as if it were new.
 *  - Acknowledgements that come up while no connection is open wait in `queue` and would be sent on the next one, where
 *    their Packet Identifiers may mean other messages. They are dropped: the broker repeats what they were to answer.
 *  - Without a resumed Session MQTT.js would subscribe again and hide the loss (`resubscribe: false`).
 */

import { MqttClient, Store, UniqueMessageIdProvider } from "mqtt";
import { connect as connectTcp } from "node:net";

/** What a client tells. */
export interface ClientEvents {
  /** A CONNACK came that accepts the connection. */
  accepted?(sessionPresent: boolean): void;
  /** A message has reached the application. */
  message?(topic: string, payload: Uint8Array): void;
  /** Something that is neither a lost connection nor expected. */
  trouble?(text: string): void;
}

/** How a client leaves. */
export type Leaving = "with_disconnect" | "without_disconnect";

/** Whether the Session outlives the connection. */
export type SessionLife = "durable" | "until_closed";

/** See the head of this file. */
export class DurableClient {
  readonly clientId: string;
  /** True from when MQTT.js is ready to publish to the end of the connection. */
  isOnline = false;
  readonly #client: MqttClient;
  readonly #stores = { incomingStore: new Store({ clean: false }), outgoingStore: new Store({ clean: false }) };
  #port = 0;
  #state: "offline" | "connecting" | "leaving" = "offline";
  #hasStarted = false;

  constructor(clientId: string, life: SessionLife, events: ClientEvents) {
    this.clientId = clientId;
    const client = new MqttClient(() => connectTcp({ host: "127.0.0.1", port: this.#port, noDelay: true }), {
      clientId,
      clean: life === "until_closed",
      protocolId: "MQTT",
      protocolVersion: 5,
      properties: { sessionExpiryInterval: life === "durable" ? SESSION_EXPIRY_SECONDS : 0 },
      keepalive: 30,
      connectTimeout: CONNECT_TIMEOUT_MS,
      reconnectPeriod: 0,
      resubscribe: false,
      manualConnect: true,
      timerVariant: "native",
      // The lowest free Packet Identifier: one that the broker wrongly takes for open is used again soon.
      messageIdProvider: new UniqueMessageIdProvider(),
      ...this.#stores,
    });
    client.on("packetreceive", (packet) => {
      if (packet.cmd === "connack" && packet.reasonCode === 0) events.accepted?.(packet.sessionPresent);
    });
    client.on("connect", () => this.isOnline = true);
    client.on("message", (topic, payload) => events.message?.(topic, payload));
    client.on("error", (error) => {
      if (!isConnectionLoss(error)) events.trouble?.(`${clientId}: ${error.message}`);
    });
    client.on("close", () => {
      this.isOnline = false;
      this.#state = "offline";
    });
    this.#client = client;
  }

  /** Connects unless it is connected or about to be. */
  ensureConnected(port: number): void {
    if (this.#state !== "offline") return;
    this.#state = "connecting";
    this.#port = port;
    // The queue holds nothing but answers on a connection that is over, see the head of this file.
    this.#client.queue.length = 0;
    if (this.#hasStarted) this.#client.reconnect(this.#stores);
    else this.#client.connect();
    this.#hasStarted = true;
  }

  /** Ends the connection; the Session stays. */
  leave(leaving: Leaving): void {
    if (this.#state !== "connecting") return;
    // Before CONNACK a DISCONNECT would be kept for later.
    const isForced = leaving === "without_disconnect" || !this.isOnline;
    this.#state = "leaving";
    this.isOnline = false;
    this.#client.end(isForced);
  }

  /** Publishes; the callback says whether the broker took responsibility. Only while `isOnline`. */
  publish(
    topic: string,
    payload: string,
    options: { readonly qos: 1 | 2; readonly retain: boolean },
    done: (outcome: "acknowledged" | "not_acknowledged") => void,
  ): void {
    this.#client.publish(topic, payload, { ...options }, (error) => {
      // "Packet Identifier not found" answers a PUBREL that was repeated because its PUBCOMP was lost.
      const isTaken = !error || ("code" in error && error.code === PACKET_IDENTIFIER_NOT_FOUND);
      done(isTaken ? "acknowledged" : "not_acknowledged");
    });
  }

  /** Subscribes; the promise fails when the broker refuses. */
  async subscribe(filter: string, qos: 0 | 1 | 2): Promise<void> {
    await this.#client.subscribeAsync(filter, { qos });
  }

  /** Ends the client for good. */
  close(): void {
    this.#client.removeAllListeners("message");
    // One that never connected has nothing to end, and MQTT.js would fail over it.
    if (this.#client.stream !== undefined) this.#client.end(true);
  }
}

/** The system's own words for a connection that ended or was not made. */
function isConnectionLoss(error: Error): boolean {
  return "code" in error && typeof error.code === "string" && error.code.startsWith("E");
}

const SESSION_EXPIRY_SECONDS = 86_400;
const CONNECT_TIMEOUT_MS = 10_000;
/** 0x92. [MQTT 5.0, 3.7.2.1] */
const PACKET_IDENTIFIER_NOT_FOUND = 0x92;
