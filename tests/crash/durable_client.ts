/**
 * What clients of a broker that fails do, in the few words that the tests need: Sessions that outlive their connection,
 * one publication after the other, and deliveries that are taken or left.
 */
import assert from "node:assert/strict";
import { type Endpoint, RawClient, type Received } from "../support/raw_client.ts";
import type { WireFields, WirePacket } from "../support/wire_packets.ts";

/** Connects to a Session that does not end with its connection, and begins it if it is not there. */
export async function durable(endpoint: Endpoint, clientId: string, fields: WireFields = {}): Promise<RawClient> {
  const properties = [["sessionExpiryInterval", NEVER] as const];
  return await RawClient.connect(endpoint, { clientId, cleanStart: false, properties, keepAlive: 0, ...fields });
}

/** Begins a Session that is owed what matches `filter`, and leaves it. */
export async function subscribeAndLeave(endpoint: Endpoint, clientId: string, filter: string, qos = 2): Promise<void> {
  await using client = await durable(endpoint, clientId);
  await subscribe(client, filter, qos);
}

/** Subscribes; must be granted as asked. */
export async function subscribe(client: RawClient, filter: string, qos = 2): Promise<void> {
  await client.sendPacket("subscribe", { id: 1, subscriptions: [{ filter, qos }] });
  const { wire } = await client.expect("suback");
  assert.deepEqual(wire.reasonCodes, [qos]);
}

/** Publishes with QoS 1 and waits for the PUBACK, which must not refuse. */
export async function publish(client: RawClient, id: number, payload: string, fields: WireFields = {}): Promise<void> {
  await client.sendPacket("publish", { topic: "t", qos: 1, id, payload, ...fields });
  const { wire } = await client.expect("puback");
  assert.equal(wire.id, id);
  assert.ok((wire.reasonCode ?? 0) < 0x80, `refused with ${wire.reasonCode}`);
}

/** Publishes with QoS 2 up to the PUBCOMP. */
export async function publishExactlyOnce(client: RawClient, id: number, payload: string): Promise<void> {
  await client.sendPacket("publish", { topic: "t", qos: 2, id, payload });
  assert.equal((await client.expect("pubrec")).wire.id, id);
  await client.sendPacket("pubrel", { id });
  assert.equal((await client.expect("pubcomp")).wire.id, id);
}

/** Takes all that a Session is owed, and acknowledges it. */
export async function takeOwed(endpoint: Endpoint, clientId: string): Promise<WirePacket[]> {
  await using client = await durable(endpoint, clientId);
  return await takeAll(client);
}

/** Payloads of all that a Session is owed. */
export async function payloadsOwed(endpoint: Endpoint, clientId: string): Promise<string[]> {
  return (await takeOwed(endpoint, clientId)).map(({ payload }) => String(payload));
}

/**
 * Takes and acknowledges messages until nothing more comes: two publications in a row are acknowledged with nothing before.
 * What is owed at QoS 2 may wait for a commit, and leaves right after what is acknowledged with that one.
 */
export async function takeAll(client: RawClient): Promise<WirePacket[]> {
  const taken: WirePacket[] = [];
  for (let quiet = 0; quiet < 2; quiet++) {
    await client.sendPacket("publish", { topic: "nobody", qos: 1, id: MARKER_ID, payload: "" });
    for (;;) {
      const { wire } = await nextOf(client);
      if (wire.type === "puback" && wire.id === MARKER_ID) break;
      quiet = -1;
      if (wire.type === "publish") taken.push(wire);
      await answer(client, wire);
    }
  }
  return taken;
}

/** Answers what a receiver has to answer. */
async function answer(client: RawClient, { type, qos, id = 0 }: WirePacket): Promise<void> {
  if (type === "publish" && qos === 1) await client.sendPacket("puback", { id });
  if (type === "publish" && qos === 2) await client.sendPacket("pubrec", { id });
  if (type === "pubrel") await client.sendPacket("pubcomp", { id });
}

async function nextOf(client: RawClient): Promise<Received> {
  const received = await client.next("a message or PUBACK");
  assert.ok(received, "the connection ended");
  return received;
}

/** Names for a row of messages. */
export function payloads(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `m${index + 1}`);
}

const NEVER = 0xffff_ffff;
/** Packet Identifier that no test uses. */
const MARKER_ID = 65_535;
