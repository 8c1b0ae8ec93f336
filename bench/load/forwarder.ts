/**
 * What the load generator is measured against to learn its own ceiling: it hands on bytes and understands nothing.
 *
 *     deno run -A bench/load/forwarder.ts --port 1883
 *     deno run -A bench/load/forwarder.ts --port 8883 --tls-cert server.crt --tls-key server.key
 *
 * One publisher, one subscriber, MQTT 3.1.1, QoS 0. CONNECT, SUBSCRIBE and PINGREQ are answered when they begin a chunk;
 * whatever else a connection sends goes to the last subscriber as it came. A run must be shorter than the ping interval
 * of the generator, whose PINGREQ would be handed on in the middle of a publisher's stream. It runs until it is ended.
 */

import { FirstByte } from "./packets.ts";

const READ_BYTES = 65_536;

/** Where the forwarder listens; TLS when it has a certificate. */
export interface ForwarderOptions {
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** PEM text. */
  readonly cert?: string;
  /** PEM text. */
  readonly key?: string;
}

/** Starts to listen and returns the port; connections are served in the background until `close`. */
export function startForwarder(options: ForwarderOptions): { readonly port: number; close(): void } {
  const address = { hostname: "127.0.0.1", port: options.port };
  const { cert, key } = options;
  const listener = cert !== undefined && key !== undefined
    ? Deno.listenTls({ ...address, cert, key })
    : Deno.listen(address);
  const hub: Hub = { subscriber: undefined };
  const open = new Set<Deno.Conn>();
  void accept(listener, hub, open);
  return {
    port: listener.addr.port,
    close: () => {
      listener.close();
      for (const connection of open) connection.close();
      open.clear();
    },
  };
}

interface Hub {
  subscriber: Deno.Conn | undefined;
}

async function accept(listener: Deno.Listener<Deno.TcpConn | Deno.TlsConn>, hub: Hub, open: Set<Deno.Conn>) {
  for await (const connection of listener) {
    open.add(connection);
    if ("setNoDelay" in connection) connection.setNoDelay(true);
    void serve(connection, hub).finally(() => {
      if (open.delete(connection)) connection.close();
    });
  }
}

async function serve(connection: Deno.Conn, hub: Hub): Promise<void> {
  const chunk = new Uint8Array(READ_BYTES);
  try {
    for (let count = await connection.read(chunk); count !== null; count = await connection.read(chunk)) {
      const answer = answerTo(chunk);
      if (chunk[0] === FirstByte.SUBSCRIBE) hub.subscriber = connection;
      await writeAll(answer === undefined ? hub.subscriber : connection, answer ?? chunk.subarray(0, count));
    }
  } catch (cause) {
    // A run that ends closes its sockets in any order; what is left of it has nobody to go to.
    if (!isGone(cause)) throw cause;
  }
}

function answerTo(chunk: Uint8Array): Uint8Array | undefined {
  switch (chunk[0]) {
    case FirstByte.CONNECT:
      return Uint8Array.of(FirstByte.CONNACK, 2, 0, 0);
    case FirstByte.SUBSCRIBE:
      return Uint8Array.of(FirstByte.SUBACK, 3, chunk[2]!, chunk[3]!, 0);
    case FirstByte.PINGREQ:
      return Uint8Array.of(FirstByte.PINGRESP, 0);
    default:
      return undefined;
  }
}

function isGone(cause: unknown): boolean {
  const gone = [
    Deno.errors.BadResource,
    Deno.errors.BrokenPipe,
    Deno.errors.ConnectionReset,
    Deno.errors.Interrupted,
    Deno.errors.UnexpectedEof,
    // What TLS says about a connection that never began one, such as the probe for readiness.
    Deno.errors.InvalidData,
  ];
  return gone.some((kind) => cause instanceof kind);
}

async function writeAll(connection: Deno.Conn | undefined, bytes: Uint8Array): Promise<void> {
  if (connection === undefined) return;
  for (let written = 0; written < bytes.length;) written += await connection.write(bytes.subarray(written));
}

if (import.meta.main) {
  const valueOf = (name: string) => {
    const at = Deno.args.indexOf(`--${name}`);
    return at < 0 ? undefined : Deno.args[at + 1];
  };
  const [certPath, keyPath] = [valueOf("tls-cert"), valueOf("tls-key")];
  startForwarder({
    port: Number(valueOf("port") ?? 1883),
    ...(certPath !== undefined && { cert: Deno.readTextFileSync(certPath) }),
    ...(keyPath !== undefined && { key: Deno.readTextFileSync(keyPath) }),
  });
}
