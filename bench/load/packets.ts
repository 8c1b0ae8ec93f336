/**
 * The bytes the load generator writes, and the few fields it reads back.
 *
 * This is a deliberately small MQTT client codec of its own: it shares nothing with `src/protocol`, so a broker
 * defect cannot hide behind the same defect in the tool that measures it. It knows only what a load needs: CONNECT,
 * SUBSCRIBE with one Topic Filter, PUBLISH from a fixed template, the four acknowledgements and PINGREQ.
 *
 * Every payload starts with a stamp of 16 bytes, big-endian, followed by filler up to the asked size:
 *
 *     byte  0..3   publisher index, u32
 *     byte  4..7   sequence number of that publisher, u32, from 0
 *     byte  8..15  send time, f64, milliseconds of the generator's monotonic clock
 *
 * Worked example: publisher 2, sequence 258, at 1.5 ms → 00000002 00000102 3FF8000000000000.
 */

/** 4 = MQTT 3.1.1, 5 = MQTT 5.0. [MQTT-3.1.2-1] */
export type LoadVersion = 4 | 5;

/** Quality of Service level. [MQTT 5.0, 4.3] */
export type LoadQos = 0 | 1 | 2;

/** Size of the stamp, and so the smallest payload, in bytes. */
export const STAMP_BYTES = 16;

/** First bytes of the packets the generator sends or expects, flags included. [MQTT 5.0, 2.1] */
export const FirstByte = {
  CONNECT: 0x10,
  CONNACK: 0x20,
  PUBLISH: 0x30,
  PUBACK: 0x40,
  PUBREC: 0x50,
  PUBREL: 0x62,
  PUBCOMP: 0x70,
  SUBSCRIBE: 0x82,
  SUBACK: 0x90,
  PINGREQ: 0xc0,
  PINGRESP: 0xd0,
  DISCONNECT: 0xe0,
} as const;

/** Size in bytes of an acknowledgement as the generator writes it, in both versions. [MQTT 5.0, 3.4.2.1] */
export const ACK_BYTES = 4;

/** Keep Alive in seconds that every connection asks for; the generator pings well within it. */
export const KEEP_ALIVE_SECONDS = 60;

/** What a client proves itself with. */
export interface LoadUser {
  readonly username: string;
  readonly password: string;
}

/**
 * Encodes a CONNECT with Clean Start.
 *
 * @param clientId Client Identifier, ASCII.
 * @param user User Name and Password, or undefined for neither.
 */
export function encodeConnect(version: LoadVersion, clientId: string, user?: LoadUser): Uint8Array {
  const flags = FLAG_CLEAN_START | (user === undefined ? 0 : FLAGS_USER);
  const head = [0, 4, 0x4d, 0x51, 0x54, 0x54, version, flags, 0, KEEP_ALIVE_SECONDS];
  if (version === 5) head.push(0);
  const credentials = user === undefined ? [] : [...encodeString(user.username), ...encodeString(user.password)];
  return encodePacket(FirstByte.CONNECT, [...head, ...encodeString(clientId), ...credentials]);
}

const FLAG_CLEAN_START = 0x02;
/** User Name Flag and Password Flag. [MQTT 5.0, 3.1.2] */
const FLAGS_USER = 0xc0;

/**
 * Encodes a SUBSCRIBE with one Topic Filter.
 *
 * @param packetId 1 to 65535.
 * @param qos Maximum QoS asked for.
 */
export function encodeSubscribe(version: LoadVersion, packetId: number, filter: string, qos: LoadQos): Uint8Array {
  const head = [packetId >> 8, packetId & 0xff];
  if (version === 5) head.push(0);
  return encodePacket(FirstByte.SUBSCRIBE, [...head, ...encodeString(filter), qos]);
}

/** Encodes a PINGREQ. [MQTT 5.0, 3.12] */
export function encodePing(): Uint8Array {
  return Uint8Array.of(FirstByte.PINGREQ, 0);
}

/** Encodes a normal DISCONNECT, which has the same bytes in both versions. [MQTT 5.0, 3.14] */
export function encodeDisconnect(): Uint8Array {
  return Uint8Array.of(FirstByte.DISCONNECT, 0);
}

/** Writes an acknowledgement with Reason Code 0 in its shortest form, valid in both versions, at an offset. */
export function writeAck(out: Uint8Array, offset: number, firstByte: number, packetId: number): void {
  out[offset] = firstByte;
  out[offset + 1] = 2;
  out[offset + 2] = packetId >> 8;
  out[offset + 3] = packetId & 0xff;
}

/** What every PUBLISH of one publisher has in common. */
export interface PublishShape {
  readonly version: LoadVersion;
  readonly qos: LoadQos;
  readonly retain: boolean;
  /** Topic Name. */
  readonly topic: string;
  /** Payload size in bytes, at least {@link STAMP_BYTES}. */
  readonly payloadBytes: number;
  /** Publisher index, written into the stamp. */
  readonly publisher: number;
}

/** One encoded PUBLISH whose changing fields are patched in place. */
export interface PublishTemplate {
  /** The whole packet. */
  readonly packet: Uint8Array;
  /** Offset of the Packet Identifier, or -1 for QoS 0. */
  readonly packetIdOffset: number;
  /** Offset of the stamp. */
  readonly stampOffset: number;
}

/** Encodes the PUBLISH that all messages of one publisher are patched from. */
export function encodePublishTemplate(shape: PublishShape): PublishTemplate {
  const topic = encodeString(shape.topic);
  const idBytes = shape.qos > 0 ? 2 : 0;
  const propertyBytes = shape.version === 5 ? 1 : 0;
  const payload = new Uint8Array(Math.max(STAMP_BYTES, shape.payloadBytes)).fill(0x78);
  new DataView(payload.buffer).setUint32(0, shape.publisher);
  const body = new Uint8Array(topic.length + idBytes + propertyBytes + payload.length);
  body.set(topic, 0);
  body.set(payload, body.length - payload.length);
  const first = FirstByte.PUBLISH | (shape.qos << 1) | (shape.retain ? 1 : 0);
  const packet = encodePacket(first, body);
  const bodyOffset = packet.length - body.length;
  return {
    packet,
    packetIdOffset: shape.qos > 0 ? bodyOffset + topic.length : -1,
    stampOffset: packet.length - payload.length,
  };
}

/**
 * Finds the payload of a PUBLISH.
 *
 * @param bytes Buffer that holds the packet.
 * @param start Offset of the Variable Header.
 * @returns Offset of the payload, computed from lengths the peer wrote, so the caller must check it against the end.
 */
export function payloadOffsetOf(bytes: Uint8Array, start: number, qos: number, version: LoadVersion): number {
  let at = start + 2 + ((bytes[start]! << 8) | bytes[start + 1]!);
  if (qos > 0) at += 2;
  if (version === 4) return at;
  let propertyBytes = 0;
  let shift = 0;
  let byte: number;
  do {
    byte = bytes[at++]!;
    propertyBytes |= (byte & 0x7f) << shift;
    shift += 7;
  } while (byte & 0x80 && shift < 28);
  return at + propertyBytes;
}

function encodeString(text: string): Uint8Array {
  const utf8 = new TextEncoder().encode(text);
  const bytes = new Uint8Array(2 + utf8.length);
  bytes[0] = utf8.length >> 8;
  bytes[1] = utf8.length & 0xff;
  bytes.set(utf8, 2);
  return bytes;
}

function encodePacket(firstByte: number, body: ArrayLike<number>): Uint8Array {
  const head = [firstByte];
  let left = body.length;
  do {
    const digit = left & 0x7f;
    left >>= 7;
    head.push(left > 0 ? digit | 0x80 : digit);
  } while (left > 0);
  const packet = new Uint8Array(head.length + body.length);
  packet.set(head, 0);
  packet.set(body, head.length);
  return packet;
}
