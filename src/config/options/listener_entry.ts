/**
 * One listener as configured: an entry of the `listeners:` list, or what the keys of section `server` say of the simple
 * case. Only the shape; `listener_options.ts` declares the options of an entry.
 */
import type { BindAddress } from "../../system/bind_address.ts";

/** How clients come in. */
export type ListenerType = "tcp" | "tls" | "ws" | "wss" | "unix";

/** Whether a TLS listener asks clients for a certificate; `server.tls-client-auth`. */
export type ClientAuth = "none" | "optional" | "require";

/** A version of the protocol as operators write it. */
export type ProtocolVersionName = "3.1" | "3.1.1" | "5";

/** See the head of this file. */
export interface ListenerEntry {
  /** For logs and metrics; unique. */
  readonly name: string;
  readonly type: ListenerType;
  /** Undefined for type `unix` only. */
  readonly bind: BindAddress | undefined;
  /** Path of the socket for type `unix`, else undefined. */
  readonly socketPath: string | undefined;
  /** URL path of types `ws` and `wss`; `/` is accepted as well. */
  readonly wsPath: string;
  /** PEM files of types `tls` and `wss`: certificate chain, its key, and the authorities that sign client certificates. */
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsCa: string | undefined;
  readonly clientAuth: ClientAuth;
  /** True = every connection begins with a PROXY protocol header, v1 or v2, sent by a trusted proxy. */
  readonly proxyProtocol: boolean;
  /** Versions that are served; empty = all. */
  readonly protocolVersions: readonly ProtocolVersionName[];
  /** Policy for clients that prove nothing; undefined = `auth.allow-anonymous`. */
  readonly allowAnonymous: boolean | "loopback" | undefined;
  /** Connections at once; 0 = only `mqtt.max-connections` counts. */
  readonly maxConnections: number;
  /** New connections per second that are accepted; others wait. 0 = unbounded. */
  readonly connectRate: number;
  /** PUBLISH packets per second of all its clients together; 0 = unbounded. */
  readonly messageRate: number;
  /** Received bytes per second of all its clients together; 0 = unbounded. */
  readonly byteRate: number;
}
