/**
 * MQTT.js, the client most used with JavaScript, against the real broker: versions 5 and 3.1.1, TCP and WebSocket.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from "mqtt";
import { Broker } from "../support/broker.ts";
import { EventQueue, within } from "../support/event_queue.ts";

interface Delivery {
  readonly topic: string;
  readonly payload: string;
  readonly packet: IPublishPacket;
}

/** An MQTT.js client whose messages are awaited as events. */
class TestClient implements AsyncDisposable {
  readonly #messages = new EventQueue<Delivery>();

  private constructor(readonly client: MqttClient) {
    client.on("message", (topic: string, payload: Buffer, packet: IPublishPacket) => {
      this.#messages.push({ topic, payload: payload.toString(), packet });
    });
  }

  static async connect(url: string, options: IClientOptions = {}): Promise<TestClient> {
    // Native timers: the default ones live in a worker that outlasts the test. Messages are listened for from the
    // start: those of a resumed session may come in one piece with the CONNACK.
    const client = mqtt.connect(url, { reconnectPeriod: 0, timerVariant: "native", ...options });
    const self = new TestClient(client);
    const connected = Promise.withResolvers<void>();
    client.once("connect", () => connected.resolve());
    client.once("error", connected.reject);
    await within(connected.promise, "MQTT.js to connect");
    return self;
  }

  async message(): Promise<Delivery> {
    const delivery = await this.#messages.next("a message for MQTT.js");
    assert.ok(delivery);
    return delivery;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.endAsync(true);
  }
}

const tcpUrl = (broker: Broker): string => `mqtt://${broker.tcp.hostname}:${broker.tcp.port}`;
const wsUrl = (broker: Broker): string => `ws://${broker.ws.hostname}:${broker.ws.port}/mqtt`;

for (
  const [name, url, protocolVersion] of [
    ["MQTT 5 over TCP", tcpUrl, 5],
    ["MQTT 3.1.1 over TCP", tcpUrl, 4],
    ["MQTT 5 over WebSocket", wsUrl, 5],
    ["MQTT 3.1.1 over WebSocket", wsUrl, 4],
  ] as const
) {
  Deno.test(`MQTT.js with ${name} publishes and subscribes at every QoS [MQTT-4.2.0-1]`, async () => {
    await using broker = await Broker.start();
    await using client = await TestClient.connect(url(broker), { protocolVersion });
    await client.client.subscribeAsync("js/#", { qos: 2 });
    for (const qos of [0, 1, 2] as const) {
      await client.client.publishAsync(`js/${qos}`, `payload ${qos}`, { qos });
      const delivery = await client.message();
      assert.equal(delivery.topic, `js/${qos}`);
      assert.equal(delivery.payload, `payload ${qos}`);
      assert.equal(delivery.packet.qos, qos);
    }
  });
}

Deno.test("MQTT.js resumes its session and gets what was queued", async () => {
  await using broker = await Broker.start();
  const durable: IClientOptions = {
    clientId: "js-durable",
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 600 },
  };
  {
    await using first = await TestClient.connect(tcpUrl(broker), durable);
    await first.client.subscribeAsync("js/queue", { qos: 1 });
  }
  await using publisher = await TestClient.connect(tcpUrl(broker), { protocolVersion: 5 });
  for (let index = 0; index < 50; index += 1) await publisher.client.publishAsync("js/queue", `${index}`, { qos: 1 });
  await using second = await TestClient.connect(tcpUrl(broker), durable);
  for (let index = 0; index < 50; index += 1) assert.equal((await second.message()).payload, `${index}`);
});

Deno.test("MQTT.js gets a retained message and MQTT 5 properties", async () => {
  await using broker = await Broker.start();
  await using client = await TestClient.connect(tcpUrl(broker), { protocolVersion: 5 });
  await client.client.publishAsync("js/kept", "k", {
    retain: true,
    qos: 1,
    properties: { contentType: "text/plain", userProperties: { unit: "°C" }, responseTopic: "js/answer" },
  });
  await client.client.subscribeAsync("js/kept", { qos: 1 });
  const { packet, payload } = await client.message();
  assert.equal(payload, "k");
  assert.equal(packet.retain, true);
  assert.equal(packet.properties?.contentType, "text/plain");
  assert.equal(packet.properties?.responseTopic, "js/answer");
  assert.deepEqual({ ...packet.properties?.userProperties }, { unit: "°C" });
});

Deno.test("MQTT.js reads $SYS topics", async () => {
  await using broker = await Broker.start();
  await using client = await TestClient.connect(tcpUrl(broker), { protocolVersion: 5 });
  await client.client.subscribeAsync("$SYS/broker/version");
  const { payload, packet } = await client.message();
  assert.equal(packet.retain, true);
  assert.match(payload, /promptmq|\d+\.\d+/i);
});
