/**
 * MQTT.js as a client that gives up at the first refusal, for tests of who is let in.
 */
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { within } from "./event_queue.ts";
import type { Endpoint } from "./raw_client.ts";

/** Connects; resolves when the broker has accepted the client, and rejects with what MQTT.js says otherwise. */
export async function connectMqttJs({ hostname, port }: Endpoint, options: IClientOptions): Promise<MqttClient> {
  // Native timers: the default ones live in a worker that outlasts the test.
  const client = mqtt.connect({ hostname, port, reconnectPeriod: 0, timerVariant: "native", ...options });
  const connected = Promise.withResolvers<void>();
  client.once("connect", () => connected.resolve());
  client.once("error", connected.reject);
  try {
    await within(connected.promise, "MQTT.js to connect");
  } catch (error) {
    await client.endAsync(true);
    throw error;
  }
  return client;
}
