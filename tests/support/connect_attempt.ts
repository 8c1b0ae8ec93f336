/**
 * CONNECT and what the broker answers, from any address: a listener with `proxy-protocol: true` takes the word of a
 * proxy on this host for it.
 */
import assert from "node:assert/strict";
import { type Endpoint, RawClient } from "./raw_client.ts";
import type { WireProperty } from "./wire_properties.ts";
import { encodeWire, type WireFields } from "./wire_packets.ts";

/** The answer to a CONNECT, and the connection it came over. */
export interface Attempt extends AsyncDisposable {
  readonly client: RawClient;
  /** Reason Code of CONNACK, before MQTT 5 its return code. */
  readonly code: number | undefined;
  readonly properties: readonly WireProperty[];
}

/** The header of a proxy that speaks for a client. */
export function proxyHeader(address: string): Uint8Array {
  const family = address.includes(":") ? "TCP6" : "TCP4";
  const local = address.includes(":") ? "::1" : "127.0.0.1";
  return new TextEncoder().encode(`PROXY ${family} ${address} ${local} 52110 1883\r\n`);
}

/**
 * Connects and hears the answer.
 *
 * @param address Where the client seems to be; undefined = no proxy, so this host.
 */
export async function attempt(endpoint: Endpoint, fields: WireFields, address?: string): Promise<Attempt> {
  const version = fields.version ?? 5;
  const client = await RawClient.open(endpoint, version);
  const header = address === undefined ? [] : [proxyHeader(address)];
  await client.send(...header, encodeWire("connect", fields, version));
  const { wire } = await client.expect("connack");
  const { reasonCode: code, properties = [] } = wire;
  return { client, code, properties, [Symbol.asyncDispose]: () => client.close() };
}

/** Connects, and returns the Reason Code of CONNACK; a connection that was refused must have ended then. */
export async function connectCode(endpoint: Endpoint, fields: WireFields, address?: string): Promise<number> {
  await using answer = await attempt(endpoint, fields, address);
  if (answer.code !== 0) await answer.client.expectClose();
  else await answer.client.expectQuiet();
  return answer.code!;
}

/** Connects and returns after a successful CONNACK. */
export async function connectedFrom(endpoint: Endpoint, fields: WireFields, address?: string): Promise<RawClient> {
  const { client, code } = await attempt(endpoint, fields, address);
  assert.equal(code, 0, "CONNACK refuses the connection");
  return client;
}
