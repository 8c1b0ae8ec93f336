/**
 * A whole broker with TLS, and how clients of several kinds reach it.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { Broker } from "./broker.ts";
import type { CertificateFiles, TestAuthority } from "./certificates.ts";
import { type Endpoint, RawClient } from "./raw_client.ts";
import { TlsClient } from "./tls_client.ts";
import type { WireFields } from "./wire_packets.ts";

/** What differs from a broker that asks clients for nothing. */
export interface SecureBrokerOptions {
  readonly clientAuth?: "none" | "optional" | "require";
  /** Served in place of a certificate for this host. */
  readonly server?: CertificateFiles;
  /** In place of the authority's own. */
  readonly tlsCa?: string;
  /** More lines of section `server`, without indentation. */
  readonly serverLines?: readonly string[];
  readonly flags?: readonly string[];
}

/** Starts a broker with TLS and WebSocket over TLS on free ports of this host, besides the usual listeners. */
export async function startSecureBroker(authority: TestAuthority, options: SecureBrokerOptions = {}): Promise<Broker> {
  const { cert, key } = options.server ?? await authority.server();
  const clientAuth = options.clientAuth ?? "none";
  const lines = [
    ...["tls: true", `tls-cert: ${cert}`, `tls-key: ${key}`, "tls-bind: 127.0.0.1:0", "wss-bind: 127.0.0.1:0"],
    ...(clientAuth === "none" ? [] : [`tls-client-auth: ${clientAuth}`, `tls-ca: ${options.tlsCa ?? authority.cert}`]),
    ...(options.serverLines ?? []),
  ];
  const config = `server:\n${lines.map((line) => `  ${line}\n`).join("")}`;
  return await Broker.start({ config, flags: options.flags ?? [] });
}

/** The address of a listener as the ready line gives it. */
export function addressOf(broker: Broker, name: "tcp" | "ws" | "tls" | "wss" | "unix"): string {
  const address = broker.log.find(({ msg }) => msg === "promptmq is ready")?.[name];
  assert.ok(typeof address === "string", `the ready line names no ${name} address`);
  return address;
}

/** The same as host and port. */
export function endpointOf(broker: Broker, name: "tcp" | "ws" | "tls" | "wss"): Endpoint {
  const address = addressOf(broker, name);
  const colon = address.lastIndexOf(":");
  return { hostname: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}

/** What a client of `node:tls` needs: whom it trusts, and its own certificate where it has one. */
export function tlsOptions(authority: TestAuthority, own?: CertificateFiles): ConnectionOptions {
  const pair = own === undefined ? {} : { cert: readFileSync(own.cert, "utf8"), key: readFileSync(own.key, "utf8") };
  return { ca: readFileSync(authority.cert, "utf8"), servername: "localhost", ...pair };
}

/** Connects over TLS and returns after a successful CONNACK. */
export async function connectSecurely(
  endpoint: Endpoint,
  options: ConnectionOptions,
  fields: WireFields,
): Promise<RawClient> {
  const { client, reasonCode } = await sayConnect(endpoint, options, fields);
  assert.equal(reasonCode, 0, "CONNACK refuses the connection");
  return client;
}

/** Connects over TLS, sends CONNECT and returns with the Reason Code of CONNACK. */
export async function sayConnect(
  endpoint: Endpoint,
  options: ConnectionOptions,
  fields: WireFields,
): Promise<{ readonly client: RawClient; readonly reasonCode: number | undefined }> {
  const stream = await TlsClient.connect(endpoint, options);
  const client = new RawClient(stream.asByteStream(), fields.version ?? 5);
  await client.sendPacket("connect", fields);
  const { wire } = await client.expect("connack");
  return { client, reasonCode: wire.reasonCode };
}
