/**
 * SUBACK and UNSUBACK against the Maximum Packet Size of the client that asked.
 */
import assert from "node:assert/strict";
import { scenario, World } from "./harness.ts";
import type { TestClient } from "./test_client.ts";

const PACKET_BYTES_MAX = 20;
/** Fixed header 2, Packet Identifier 2, Property Length 1; one Reason Code per filter. */
const FILTERS_THAT_FIT = PACKET_BYTES_MAX - 5;

function smallClient(world: World, clientId: string, sessionExpiryInterval = 0): TestClient {
  return world.client(clientId, { properties: { maximumPacketSize: PACKET_BYTES_MAX, sessionExpiryInterval } });
}

function filters(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `f/${index}`);
}

function subscribe(client: TestClient, ...topics: string[]): void {
  client.subscribe(1, topics.map((topic) => ({ topic, qos: 0 as const })));
}

/** Sizes of all packets a client was sent; each has a Remaining Length of one byte. */
function packetSizes(client: TestClient): number[] {
  const sizes: number[] = [];
  for (let at = 0; at < client.written.length; at += sizes.at(-1)!) {
    assert(client.written[at + 1]! < 0x80, "a packet of less than 128 bytes");
    sizes.push(2 + client.written[at + 1]!);
  }
  return sizes;
}

Deno.test(
  "a SUBACK above the client's Maximum Packet Size is not sent: DISCONNECT 0x95 instead [MQTT-3.1.2-24]",
  scenario({}, (world) => {
    world.client("publisher").publish("f/0", "kept", { retain: true });
    world.settle();
    const fits = smallClient(world, "fits");
    subscribe(fits, ...filters(FILTERS_THAT_FIT));
    assert.deepEqual(fits.heard(), [`suback #1 ${"0,".repeat(FILTERS_THAT_FIT - 1)}0`, "publish f/0 'kept' q0 retain"]);
    assert.equal(Math.max(...packetSizes(fits)), PACKET_BYTES_MAX);
    const client = smallClient(world, "c");
    subscribe(client, ...filters(FILTERS_THAT_FIT + 1));
    // The Retained Message would have fitted; nothing follows a SUBACK that never came.
    assert.deepEqual(client.heard(), ["disconnect 0x95", "closed"]);
    assert(Math.max(...packetSizes(client)) <= PACKET_BYTES_MAX);
  }),
);

Deno.test(
  "an UNSUBACK above the client's Maximum Packet Size is not sent: DISCONNECT 0x95 instead [MQTT-3.1.2-24]",
  scenario({}, (world) => {
    const client = smallClient(world, "c");
    client.unsubscribe(1, ...filters(FILTERS_THAT_FIT));
    assert.deepEqual(client.heard(), [`unsuback #1 ${"0x11,".repeat(FILTERS_THAT_FIT - 1)}0x11`]);
    client.unsubscribe(2, ...filters(FILTERS_THAT_FIT + 1));
    assert.deepEqual(client.heard(), ["disconnect 0x95", "closed"]);
    assert.equal(Math.max(...packetSizes(client)), PACKET_BYTES_MAX);
  }),
);

Deno.test(
  "a client whose SUBACK was too large takes nothing that waits for the group it joined",
  scenario({}, (world) => {
    const member = world.durable("member");
    member.subscribe(1, "$share/group/t", 1);
    assert.deepEqual(member.heard(), ["suback #1 1"]);
    member.lose();
    world.client("publisher").publish("t", "1", { qos: 1, messageId: 1 });
    world.settle();
    const client = smallClient(world, "c", 3_600);
    subscribe(client, ...filters(FILTERS_THAT_FIT), "$share/group/t");
    assert.deepEqual(client.heard(), ["disconnect 0x95", "closed"]);
    assert.deepEqual(world.durable("member").heard(), ["publish t '1' q1 #1"]);
  }),
);

Deno.test("the filters of a Session are bounded in characters together; what is given up makes room", () => {
  // Whole packets only: byte by byte, 16 MiB take minutes.
  const world = new World();
  const client = world.client("c");
  const long = (index: number) => `${index}`.padEnd(65_000, "x");
  const codes: number[] = [];
  for (let index = 0; index < 260; index++) {
    client.subscribe(1, long(index), 0);
    codes.push(...client.read()[0]?.granted ?? []);
  }
  assert.equal(codes.indexOf(0x97), 258, "258 filters of 65 000 characters fit into 16 Mi");
  client.unsubscribe(2, long(7));
  client.subscribe(3, long(300), 0);
  assert.deepEqual(client.heard(), ["unsuback #2 0", "suback #3 0"]);
  world.leaveNothing();
});
