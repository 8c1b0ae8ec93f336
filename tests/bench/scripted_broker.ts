/**
 * A stand-in broker for tests of the load generator: it does what it is told to each PUBLISH, right or wrong.
 *
 * It serves MQTT 3.1.1 with QoS 0 and 1 on a free loopback port, without topics: whatever the script returns goes to
 * every subscriber. It shares no code with the generator or the broker.
 */

/** What to do with one PUBLISH. */
export interface Script {
  /**
   * Decides what each subscriber gets for a PUBLISH.
   *
   * @param packet The whole packet, as received.
   * @param index How many came before it.
   */
  relay(packet: Uint8Array, index: number): readonly Uint8Array[];
  /** PUBACKs per QoS 1 PUBLISH. */
  readonly acksPerPublish: number;
  /** Close the publisher's connection instead of handling the PUBLISH with this index; -1 = never. */
  readonly hangUpAt: number;
}

/** A running stand-in. */
export interface ScriptedBroker extends AsyncDisposable {
  readonly port: number;
}

/** A script that behaves: every PUBLISH once, one PUBACK each. */
export const HONEST: Script = { relay: (packet) => [packet], acksPerPublish: 1, hangUpAt: -1 };

/** Starts the stand-in; dispose it to close every socket. */
export function startScriptedBroker(script: Script): ScriptedBroker {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const subscribers: Deno.Conn[] = [];
  const serving: Promise<void>[] = [];
  const open = new Set<Deno.Conn>();
  let published = 0;

  const handle = async (connection: Deno.Conn, packet: Uint8Array): Promise<boolean> => {
    const type = packet[0]! >> 4;
    if (type === 1) await connection.write(Uint8Array.of(0x20, 2, 0, 0));
    if (type === 12) await connection.write(Uint8Array.of(0xd0, 0));
    if (type === 8) {
      subscribers.push(connection);
      await connection.write(Uint8Array.of(0x90, 3, packet[2]!, packet[3]!, packet[packet.length - 1]!));
    }
    if (type !== 3) return true;
    const index = published++;
    if (index === script.hangUpAt) return false;
    for (const part of script.relay(packet, index)) {
      for (const subscriber of subscribers) await writeAll(subscriber, part);
    }
    if ((packet[0]! & 0x06) !== 0) {
      const idAt = 4 + ((packet[2]! << 8) | packet[3]!);
      const ack = Uint8Array.of(0x40, 2, packet[idAt]!, packet[idAt + 1]!);
      for (let copy = 0; copy < script.acksPerPublish; copy++) await writeAll(connection, ack);
    }
    return true;
  };

  const accepting = (async () => {
    for await (const connection of listener) {
      open.add(connection);
      serving.push(
        serve(connection, handle).finally(() => {
          if (open.delete(connection)) connection.close();
        }),
      );
    }
  })();

  return {
    port: listener.addr.port,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const connection of [...open]) {
        open.delete(connection);
        connection.close();
      }
      await accepting;
      await Promise.all(serving);
    },
  };
}

/** Hands packets to `handle` until it returns false or the connection ends. Packets are shorter than 128 bytes. */
async function serve(
  connection: Deno.Conn,
  handle: (connection: Deno.Conn, packet: Uint8Array) => Promise<boolean>,
): Promise<void> {
  let pending = new Uint8Array(0);
  const chunk = new Uint8Array(4096);
  try {
    for (let count = await connection.read(chunk); count !== null; count = await connection.read(chunk)) {
      const bytes = new Uint8Array(pending.length + count);
      bytes.set(pending);
      bytes.set(chunk.subarray(0, count), pending.length);
      let at = 0;
      for (; bytes.length - at >= 2 && bytes.length - at >= 2 + bytes[at + 1]!; at += 2 + bytes[at + 1]!) {
        if (!await handle(connection, bytes.slice(at, at + 2 + bytes[at + 1]!))) return;
      }
      pending = bytes.slice(at);
    }
  } catch (cause) {
    // The generator or the test has closed the socket.
    if (!(cause instanceof Deno.errors.BadResource) && !isPeerGone(cause)) throw cause;
  }
}

function isPeerGone(cause: unknown): boolean {
  return cause instanceof Deno.errors.BrokenPipe || cause instanceof Deno.errors.ConnectionReset ||
    cause instanceof Deno.errors.Interrupted;
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await connection.write(bytes.subarray(written));
}
