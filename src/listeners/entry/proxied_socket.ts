/**
 * Reads the PROXY header from a socket and gives the rest of the bytes to whoever reads on.
 *
 * The header has to be whole before anything else is done for the connection, because all rules are asked with the
 * address in it.
 */
import type { HalfCloseSocket } from "../transport/websocket.ts";
import type { Entrance } from "./entrance.ts";
import { type IncomingClient, LOCAL_ADDRESS } from "./incoming_client.ts";
import { PendingSocket } from "./pending_socket.ts";
import { parseProxyHeader, PROXY_HEADER_BYTES_MAX, type ProxySource } from "./proxy_protocol.ts";

/**
 * Lets a trusted proxy say who the client is, within `server.read-timeout`.
 *
 * @returns What came after the header, may be empty; undefined when the socket was closed, counted and logged instead.
 */
export async function hearProxy(
  socket: HalfCloseSocket,
  client: IncomingClient,
  entrance: Entrance,
): Promise<Uint8Array | undefined> {
  // Who may open a socket that only its owner can open is trusted with what it says.
  const isTrusted = client.remoteAddress === LOCAL_ADDRESS || entrance.isTrustedProxy(client.remoteAddress);
  if (!isTrusted) entrance.refuse(client, "proxy_untrusted");
  if (!isTrusted || !entrance.mayWait(client)) {
    socket.close();
    return undefined;
  }
  const pending = new PendingSocket(entrance, () => socket.close());
  pending.limit(() => entrance.refuse(client, "proxy_header", "no header in time"));
  const introduction = await readIntroduction(socket);
  entrance.madeKnown();
  if (!pending.end()) return undefined;
  if ("detail" in introduction) {
    entrance.refuse(client, "proxy_header", introduction.detail);
    socket.close();
    return undefined;
  }
  entrance.introduce(client, introduction.source);
  return introduction.rest;
}

/** A header that was read: who the client is, and the bytes that came after the header. */
export interface Introduction {
  readonly source: ProxySource;
  /** May be empty. */
  readonly rest: Uint8Array;
}

/** What came instead of a header. */
export interface NoIntroduction {
  /** For the log. */
  readonly detail: string;
}

/** Reads the header. Ends early when the socket does; a limit of time is the caller's, who closes the socket. */
export async function readIntroduction(socket: HalfCloseSocket): Promise<Introduction | NoIntroduction> {
  const bytes = new Uint8Array(PROXY_HEADER_BYTES_MAX);
  let length = 0;
  for (;;) {
    const count = await socket.read(bytes.subarray(length)).catch(() => null);
    if (count === null) return { detail: "the connection ended within the header" };
    length += count;
    const parsed = parseProxyHeader(bytes.subarray(0, length));
    if (parsed.kind === "malformed") return { detail: parsed.detail };
    if (parsed.kind === "whole") return { source: parsed.source, rest: bytes.slice(parsed.length, length) };
  }
}

/** A socket whose first bytes were read already. */
export class ProxiedSocket implements HalfCloseSocket {
  readonly #socket: HalfCloseSocket;
  #rest: Uint8Array | undefined;

  /** @param rest What was read from it; given out first. */
  constructor(socket: HalfCloseSocket, rest: Uint8Array) {
    this.#socket = socket;
    this.#rest = rest.length === 0 ? undefined : rest;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    const rest = this.#rest;
    if (rest === undefined) return this.#socket.read(buffer);
    const count = Math.min(rest.length, buffer.length);
    buffer.set(rest.subarray(0, count));
    this.#rest = count === rest.length ? undefined : rest.subarray(count);
    return Promise.resolve(count);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#socket.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#socket.closeWrite();
  }

  close(): void {
    this.#socket.close();
  }
}
