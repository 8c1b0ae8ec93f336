/**
 * Opens a connection and, for subscribers, its subscription, and refuses everything but success.
 *
 * Runs before the measured part, one packet at a time; nothing else may arrive on the connection meanwhile, because
 * publishers start only after the last SUBACK and topics are new in every run.
 */

import { encodeConnect, encodeSubscribe, FirstByte, type LoadQos, type LoadUser, type LoadVersion } from "./packets.ts";

/** Where and how to connect. */
export interface HandshakeTarget {
  /** TCP port on 127.0.0.1. */
  readonly port: number;
  readonly version: LoadVersion;
  /** PEM text of the authority to trust; undefined = no TLS. */
  readonly caCert: string | undefined;
  readonly user: LoadUser | undefined;
}

/** A handshake that did not end in success. */
export class HandshakeError extends Error {
  override readonly name = "HandshakeError";
}

/**
 * Connects to 127.0.0.1 and waits for a CONNACK with Reason Code 0.
 *
 * @returns The socket, owned by the caller, without Nagle delay.
 * @throws HandshakeError when the broker refuses or answers something else; Deno's errors when it is unreachable.
 */
export async function connectClient(target: HandshakeTarget, clientId: string): Promise<Deno.Conn> {
  const connection = await openSocket(target);
  try {
    await writeAll(connection, encodeConnect(target.version, clientId, target.user));
    const packet = await readPacket(connection);
    expectPacket(packet, FirstByte.CONNACK, "CONNACK");
    const reasonCode = packet[packet.length - bodyBytesOf(packet) + 1];
    if (reasonCode !== 0) throw new HandshakeError(`Cannot connect ${clientId}: CONNACK with code ${reasonCode}`);
    return connection;
  } catch (cause) {
    connection.close();
    throw cause;
  }
}

/**
 * Opens the socket. With TLS every handshake is a full one: `startTls` begins each time with an empty session cache. It
 * also is three times as fast as `connectTls`, and leaves the socket's own options within reach.
 */
async function openSocket(target: HandshakeTarget): Promise<Deno.Conn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: target.port });
  connection.setNoDelay(true);
  if (target.caCert === undefined) return connection;
  const secured = await Deno.startTls(connection, { hostname: "127.0.0.1", caCerts: [target.caCert] });
  try {
    await secured.handshake();
    return secured;
  } catch (cause) {
    secured.close();
    throw cause;
  }
}

/**
 * Subscribes and waits for a SUBACK that grants the asked QoS.
 *
 * @throws HandshakeError when the broker refuses, grants less or answers something else.
 */
export async function subscribeClient(
  connection: Deno.Conn,
  version: LoadVersion,
  filter: string,
  qos: LoadQos,
): Promise<void> {
  await writeAll(connection, encodeSubscribe(version, 1, filter, qos));
  const packet = await readPacket(connection);
  expectPacket(packet, FirstByte.SUBACK, "SUBACK");
  const granted = packet[packet.length - 1];
  if (granted !== qos) {
    throw new HandshakeError(`Cannot subscribe ${filter}: asked for QoS ${qos}, got code ${granted}`);
  }
}

/**
 * Runs `open` for indexes 0 to `count` - 1 with a bounded number under way, and keeps the results in order.
 *
 * @param concurrency Most openings under way at once.
 */
export async function openAll<A>(
  count: number,
  concurrency: number,
  open: (index: number) => Promise<A>,
): Promise<A[]> {
  const results = new Array<A>(count);
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const index = next++;
      results[index] = await open(index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, worker));
  return results;
}

const PACKET_BYTES_MAX = 1024;

/** Reads until one packet is whole; a byte more than that is an error, because nothing else is due. */
async function readPacket(connection: Deno.Conn): Promise<Uint8Array> {
  const bytes = new Uint8Array(PACKET_BYTES_MAX);
  let filled = 0;
  while (true) {
    const count = await connection.read(bytes.subarray(filled));
    if (count === null) throw new HandshakeError("The broker closed the connection during the handshake");
    filled += count;
    const size = filled < 2 ? Infinity : wholeBytesOf(bytes.subarray(0, filled));
    if (filled > size) throw new HandshakeError("The broker sent more than the answer during the handshake");
    if (filled === size) return bytes.slice(0, filled);
    if (filled === bytes.length) throw new HandshakeError("The broker's answer in the handshake is too long");
  }
}

/** Size of the packet that starts here, or Infinity while its Remaining Length is not complete. */
function wholeBytesOf(bytes: Uint8Array): number {
  let length = 0;
  for (let index = 1; index < bytes.length && index < 5; index++) {
    length |= (bytes[index]! & 0x7f) << (7 * (index - 1));
    if (bytes[index]! < 0x80) return index + 1 + length;
  }
  return Infinity;
}

function bodyBytesOf(packet: Uint8Array): number {
  let offset = 1;
  while (packet[offset]! >= 0x80) offset++;
  return packet.length - offset - 1;
}

function expectPacket(packet: Uint8Array, firstByte: number, name: string): void {
  if (packet[0] === firstByte) return;
  throw new HandshakeError(`Cannot finish the handshake: expected ${name}, got a packet starting with ${packet[0]}`);
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await connection.write(bytes.subarray(written));
}
