/**
 * The decoders against an independent implementation: what `mqtt-packet` writes is read back with the same fields.
 *
 * Method: fast-check draws the fields of a packet, the reference encodes them, and the decoded value must equal the
 * drawn one.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { decodeClientPacket } from "../../src/protocol/codec.ts";
import { PacketType } from "../../src/protocol/packets.ts";
import { encodeProperties } from "../../src/protocol/property_encoder.ts";
import {
  binary,
  buffer,
  defined,
  grouped,
  maybe,
  packetId,
  qos,
  reference,
  text,
  uint16,
  uint32,
  userProperties,
  version,
} from "./reference.ts";

const connect = fc.record({
  version,
  cleanStart: fc.boolean(),
  keepAliveSeconds: uint16,
  clientId: text.map((id) => `c${id}`),
  username: maybe(text),
  password: maybe(binary),
  will: maybe(fc.record({
    topic: text.map((topic) => `w${topic}`),
    payload: binary,
    qos,
    retain: fc.boolean(),
    willDelayInterval: uint32,
    messageExpiryInterval: maybe(uint32),
    isUtf8: fc.boolean(),
    contentType: maybe(text),
    correlationData: maybe(binary),
    userProperties,
  })),
  sessionExpiryInterval: uint32,
  receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
  maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
  topicAliasMaximum: uint16,
  requestResponseInformation: fc.boolean(),
  requestProblemInformation: fc.boolean(),
  userProperties,
  authenticationMethod: maybe(text),
  authenticationData: maybe(binary),
})
  // A Password needs a User Name in v3 and in the reference, and Authentication Data needs its method.
  .map((drawn) => ({
    ...drawn,
    password: drawn.username === undefined ? undefined : drawn.password,
    authenticationData: drawn.authenticationMethod === undefined ? undefined : drawn.authenticationData,
  }));

Deno.test("decodeClientPacket reads every CONNECT that mqtt-packet writes", () => {
  fc.assert(fc.property(connect, (drawn) => {
    const isV5 = drawn.version === 5;
    const { will } = drawn;
    const forwarded = will && encodeProperties({
      payloadFormatIndicator: will.isUtf8,
      ...defined({ contentType: will.contentType, correlationData: will.correlationData }),
      userProperties: will.userProperties,
    });
    assert.deepEqual(decodeClientPacket(referenceConnect(drawn), drawn.version), {
      type: PacketType.CONNECT,
      version: drawn.version,
      cleanStart: drawn.cleanStart,
      keepAliveSeconds: drawn.keepAliveSeconds,
      clientId: drawn.clientId,
      username: drawn.username,
      password: drawn.password,
      will: will && {
        topic: will.topic,
        payload: will.payload,
        qos: will.qos,
        retain: will.retain,
        willDelayInterval: isV5 ? will.willDelayInterval : 0,
        messageExpiryInterval: isV5 ? will.messageExpiryInterval : undefined,
        properties: isV5 ? forwarded : new Uint8Array(0),
        isUtf8: isV5 && will.isUtf8,
      },
      sessionExpiryInterval: isV5 ? drawn.sessionExpiryInterval : drawn.cleanStart ? 0 : 0xffff_ffff,
      receiveMaximum: isV5 ? drawn.receiveMaximum : 65_535,
      maximumPacketSize: isV5 ? drawn.maximumPacketSize : 268_435_460,
      topicAliasMaximum: isV5 ? drawn.topicAliasMaximum : 0,
      requestResponseInformation: isV5 && drawn.requestResponseInformation,
      requestProblemInformation: !isV5 || drawn.requestProblemInformation,
      userProperties: isV5 ? drawn.userProperties : [],
      authenticationMethod: isV5 ? drawn.authenticationMethod : undefined,
      authenticationData: isV5 ? drawn.authenticationData : undefined,
    });
  }));
});

Deno.test("decodeClientPacket reads every SUBSCRIBE and UNSUBSCRIBE that mqtt-packet writes", () => {
  const subscription = fc.record({
    filter: text,
    qos,
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    retainHandling: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
  });
  const drawnPacket = fc.record({
    version,
    packetId,
    subscriptions: fc.array(subscription, { minLength: 1, maxLength: 5 }),
    subscriptionIdentifier: maybe(fc.integer({ min: 1, max: 268_435_455 })),
    userProperties,
  });
  fc.assert(fc.property(drawnPacket, (drawn) => {
    const isV5 = drawn.version === 5;
    const subscribe = reference({
      cmd: "subscribe",
      messageId: drawn.packetId,
      subscriptions: drawn.subscriptions.map((item) => ({
        topic: item.filter,
        qos: item.qos,
        nl: item.noLocal,
        rap: item.retainAsPublished,
        rh: item.retainHandling,
      })),
      properties: defined({
        subscriptionIdentifier: drawn.subscriptionIdentifier,
        userProperties: grouped(drawn.userProperties),
      }),
    }, drawn.version);
    const v3Options = { noLocal: false, retainAsPublished: false, retainHandling: 0 };
    assert.deepEqual(decodeClientPacket(subscribe, drawn.version), {
      type: PacketType.SUBSCRIBE,
      packetId: drawn.packetId,
      subscriptions: drawn.subscriptions.map((item) => ({ ...item, ...(isV5 ? {} : v3Options) })),
      subscriptionIdentifier: isV5 ? drawn.subscriptionIdentifier ?? 0 : 0,
      userProperties: isV5 ? drawn.userProperties : [],
    });
    const filters = drawn.subscriptions.map((item) => item.filter);
    const unsubscribe = reference({
      cmd: "unsubscribe",
      messageId: drawn.packetId,
      unsubscriptions: filters,
      properties: defined({ userProperties: grouped(drawn.userProperties) }),
    }, drawn.version);
    assert.deepEqual(decodeClientPacket(unsubscribe, drawn.version), {
      type: PacketType.UNSUBSCRIBE,
      packetId: drawn.packetId,
      filters,
      userProperties: isV5 ? drawn.userProperties : [],
    });
  }));
});

Deno.test("decodeClientPacket reads every DISCONNECT and AUTH that mqtt-packet writes", () => {
  const drawnPacket = fc.record({
    disconnectReason: fc.constantFrom(
      0x00,
      0x04,
      0x80,
      0x81,
      0x82,
      0x83,
      0x90,
      0x93,
      0x94,
      0x95,
      0x96,
      0x97,
      0x98,
      0x99,
    ),
    authReason: fc.constantFrom(0x18, 0x19),
    sessionExpiryInterval: maybe(uint32),
    reasonString: maybe(text),
    userProperties,
    authenticationMethod: text,
    authenticationData: maybe(binary),
  });
  fc.assert(fc.property(drawnPacket, (drawn) => {
    const details = { reasonString: drawn.reasonString, userProperties: grouped(drawn.userProperties) };
    const disconnect = reference({
      cmd: "disconnect",
      reasonCode: drawn.disconnectReason,
      properties: defined({ sessionExpiryInterval: drawn.sessionExpiryInterval, ...details }),
    }, 5);
    assert.deepEqual(decodeClientPacket(disconnect, 5), {
      type: PacketType.DISCONNECT,
      reasonCode: drawn.disconnectReason,
      sessionExpiryInterval: drawn.sessionExpiryInterval,
      reasonString: drawn.reasonString,
      userProperties: drawn.userProperties,
    });
    const auth = reference({
      cmd: "auth",
      reasonCode: drawn.authReason,
      properties: defined({
        authenticationMethod: drawn.authenticationMethod,
        authenticationData: buffer(drawn.authenticationData),
        ...details,
      }),
    }, 5);
    assert.deepEqual(decodeClientPacket(auth, 5), {
      type: PacketType.AUTH,
      reasonCode: drawn.authReason,
      authenticationMethod: drawn.authenticationMethod,
      authenticationData: drawn.authenticationData,
      reasonString: drawn.reasonString,
      userProperties: drawn.userProperties,
    });
  }));
});

type DrawnConnect = typeof connect extends fc.Arbitrary<infer T> ? T : never;

function referenceConnect(drawn: DrawnConnect): Uint8Array {
  const { will } = drawn;
  return reference({
    cmd: "connect",
    protocolId: drawn.version === 3 ? "MQIsdp" : "MQTT",
    protocolVersion: drawn.version,
    clean: drawn.cleanStart,
    keepalive: drawn.keepAliveSeconds,
    clientId: drawn.clientId,
    ...defined({ username: drawn.username, password: buffer(drawn.password) }),
    ...defined({
      will: will && {
        topic: will.topic,
        payload: Buffer.from(will.payload),
        qos: will.qos,
        retain: will.retain,
        properties: defined({
          willDelayInterval: will.willDelayInterval,
          payloadFormatIndicator: will.isUtf8,
          messageExpiryInterval: will.messageExpiryInterval,
          contentType: will.contentType,
          correlationData: buffer(will.correlationData),
          userProperties: grouped(will.userProperties),
        }),
      },
    }),
    properties: defined({
      sessionExpiryInterval: drawn.sessionExpiryInterval,
      receiveMaximum: drawn.receiveMaximum,
      maximumPacketSize: drawn.maximumPacketSize,
      topicAliasMaximum: drawn.topicAliasMaximum,
      requestResponseInformation: drawn.requestResponseInformation,
      requestProblemInformation: drawn.requestProblemInformation,
      userProperties: grouped(drawn.userProperties),
      authenticationMethod: drawn.authenticationMethod,
      authenticationData: buffer(drawn.authenticationData),
    }),
  }, drawn.version);
}
