/**
 * The encoders: the golden bytes of every packet a server sends, what the Maximum Packet Size leaves out, and the
 * parser of `mqtt-packet` as an independent reader.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  encodeAuth,
  encodeConnack,
  encodeDisconnect,
  encodeSuback,
  encodeUnsuback,
} from "../../src/protocol/codec_encode.ts";
import { SERVER_ROWS } from "../golden/packets/server.ts";
import { bytesOf } from "../golden/packets/row.ts";
import {
  binary,
  defined,
  grouped,
  maybe,
  packetId,
  parse,
  propertiesOf,
  text,
  uint16,
  uint32,
  userProperties,
} from "./reference.ts";

for (const row of SERVER_ROWS) {
  Deno.test(row.title, () => assert.deepEqual(row.encode(), bytesOf(row.bytes)));
}

Deno.test("encoders leave out User Properties first, then the Reason String [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.15.2-2] [MQTT-3.15.2-3]", () => {
  const reasonString = "because";
  const userProperties = [["a", "b"]] as const;
  type Details = { reasonString?: string; userProperties?: typeof userProperties };
  const encoders: ((details: Details, maxPacketSize?: number) => Uint8Array)[] = [
    (details, size) => encodeConnack(5, true, 0, { ...details, receiveMaximum: 9 }, size),
    (details, size) => encodeSuback(5, 7, [0, 1], details, size),
    (details, size) => encodeUnsuback(5, 7, [0, 0x11], details, size),
    (details, size) => encodeDisconnect(0x9c, { ...details, serverReference: "x" }, size),
    (details, size) => encodeAuth(0x18, { ...details, authenticationMethod: "m" }, size),
  ];
  for (const encode of encoders) {
    const whole = encode({ reasonString, userProperties });
    const withReason = encode({ reasonString });
    const bare = encode({});
    assert(bare.length < withReason.length && withReason.length < whole.length);
    assert.deepEqual(encode({ reasonString, userProperties }, whole.length), whole);
    assert.deepEqual(encode({ reasonString, userProperties }, whole.length - 1), withReason);
    assert.deepEqual(encode({ reasonString, userProperties }, withReason.length), withReason);
    assert.deepEqual(encode({ reasonString, userProperties }, withReason.length - 1), bare);
    assert.deepEqual(encode({ reasonString, userProperties }, 1), bare);
  }
});

Deno.test("encodeSuback writes a Remaining Length of two and three bytes [MQTT-1.5.5-1]", () => {
  const short = encodeSuback(4, 1, new Array(126).fill(1));
  assert.deepEqual(short.subarray(0, 5), Uint8Array.of(0x90, 0x80, 0x01, 0, 1));
  const long = encodeSuback(4, 1, new Array(16_382).fill(1));
  assert.deepEqual(long.subarray(0, 6), Uint8Array.of(0x90, 0x80, 0x80, 0x01, 0, 1));
  assert.equal(long.length, 4 + 16_384);
});

Deno.test("encodeDisconnect throws on text that no length field can describe", () => {
  encodeDisconnect(0x80, { reasonString: "x".repeat(65_535) });
  assert.throws(() => encodeDisconnect(0x80, { reasonString: "x".repeat(65_536) }), /length field/);
});

Deno.test("encodeConnack writes what mqtt-packet reads", () => {
  const properties = fc.record({
    sessionExpiryInterval: uint32,
    receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
    maximumQoS: fc.constantFrom<0 | 1>(0, 1),
    retainAvailable: fc.boolean(),
    maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
    assignedClientIdentifier: text,
    topicAliasMaximum: uint16,
    reasonString: text,
    wildcardSubscriptionAvailable: fc.boolean(),
    subscriptionIdentifiersAvailable: fc.boolean(),
    sharedSubscriptionAvailable: fc.boolean(),
    serverKeepAlive: uint16,
    responseInformation: text,
    serverReference: text,
    authenticationMethod: text,
  }, { requiredKeys: [] });
  const code = fc.constantFrom(0x00, 0x80, 0x87);
  fc.assert(fc.property(fc.boolean(), code, properties, maybe(userProperties), (sessionPresent, code, drawn, list) => {
    const packet = parse(encodeConnack(5, sessionPresent, code, { ...drawn, ...defined({ userProperties: list }) }), 5);
    assert.equal(packet.cmd, "connack");
    assert.equal(packet.sessionPresent, sessionPresent && code === 0);
    assert.equal(packet.reasonCode, code);
    assert.deepEqual(
      propertiesOf(packet),
      defined({ ...drawn, userProperties: grouped(list ?? []) }),
    );
  }));
});

Deno.test("encodeSuback, encodeUnsuback, encodeDisconnect and encodeAuth write what mqtt-packet reads", () => {
  const drawnPacket = fc.record({
    packetId,
    subackCodes: fc.array(fc.constantFrom(0, 1, 2, 0x80, 0x87, 0x8f, 0x97, 0x9e, 0xa1, 0xa2), {
      minLength: 1,
      maxLength: 200,
    }),
    unsubackCodes: fc.array(fc.constantFrom(0x00, 0x11, 0x80, 0x87, 0x8f, 0x91), { minLength: 1, maxLength: 200 }),
    disconnectReason: fc.constantFrom(0x00, 0x81, 0x8b, 0x8e, 0x9c),
    reasonString: text,
    userProperties: userProperties.filter((list) => list.length > 0),
    serverReference: text,
    authenticationData: binary,
  });
  fc.assert(fc.property(drawnPacket, ({ packetId, subackCodes, unsubackCodes, ...drawn }) => {
    const details = { reasonString: drawn.reasonString, userProperties: drawn.userProperties };
    const read = { reasonString: drawn.reasonString, userProperties: grouped(drawn.userProperties) };

    const suback = parse(encodeSuback(5, packetId, subackCodes, details), 5);
    assert.deepEqual([suback.cmd, suback.messageId, suback.granted], ["suback", packetId, subackCodes]);
    assert.deepEqual(propertiesOf(suback), read);

    const unsuback = parse(encodeUnsuback(5, packetId, unsubackCodes, details), 5);
    assert.deepEqual([unsuback.cmd, unsuback.messageId, unsuback.granted], ["unsuback", packetId, unsubackCodes]);
    assert.deepEqual(propertiesOf(unsuback), read);

    const { serverReference, authenticationData } = drawn;
    const disconnect = parse(encodeDisconnect(drawn.disconnectReason, { ...details, serverReference }), 5);
    assert.deepEqual([disconnect.cmd, disconnect.reasonCode], ["disconnect", drawn.disconnectReason]);
    assert.deepEqual(propertiesOf(disconnect), { ...read, serverReference });

    const auth = parse(encodeAuth(0x18, { ...details, authenticationMethod: "m", authenticationData }), 5);
    assert.deepEqual([auth.cmd, auth.reasonCode], ["auth", 0x18]);
    const authProperties = { ...read, authenticationMethod: "m", authenticationData: Buffer.from(authenticationData) };
    assert.deepEqual(propertiesOf(auth), authProperties);
  }));
});
