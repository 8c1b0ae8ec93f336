/**
 * From an accepted TCP connection to one that speaks MQTT under TLS: admission, PROXY header, handshake, certificate.
 *
 * The TLS server never listens itself; it is handed sockets of which everything else is known, so nothing is spent on
 * the handshake of a client that would not be let in. It pairs its own sockets with ours by their addresses and ports.
 *
 * The runtime keeps one cache of TLS sessions for the whole process. A client can resume a session that another listener
 * opened, or that was opened under authorities that are no longer named, and the runtime does not look at its
 * certificate again. So this does, for every resumed session.
 */
import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Entrance } from "../entry/entrance.ts";
import { IncomingClient } from "../entry/incoming_client.ts";
import type { Listener } from "../entry/listener.ts";
import { PendingSocket } from "../entry/pending_socket.ts";
import { hearProxy } from "../entry/proxied_socket.ts";
import { NodeSocket } from "../transport/node_socket.ts";
import { isSignedBy, peerChainOf } from "./certificate_chain.ts";
import type { Certificates } from "./certificate_files.ts";
import { readClientCertificate } from "./certificate_names.ts";
import { hearFirstRecord, UNEXPECTED_MESSAGE } from "./client_hello.ts";

/** See the head of this file. */
export class TlsHandshakes {
  /** For whoever has a socket that needs no admission. It does not listen. */
  readonly server: Server;
  readonly #listener: Listener;
  readonly #entrance: Entrance;
  readonly #handshakes = new Map<string, Handshake>();
  /** By the socket below TLS. */
  readonly #handshakeOf = new WeakMap<object, Handshake>();
  #certificates: Certificates;

  constructor(listener: Listener, entrance: Entrance, certificates: Certificates) {
    this.#listener = listener;
    this.#entrance = entrance;
    this.#certificates = certificates;
    const { clientAuth } = listener.entry;
    this.server = createServer({
      ...certificates.options,
      minVersion: "TLSv1.2",
      requestCert: clientAuth !== "none",
      rejectUnauthorized: clientAuth === "require",
    });
    this.server.on("secureConnection", (socket) => this.#secured(socket));
    this.server.on("tlsClientError", (error, socket) => this.#broken(error, socket));
  }

  /** What new handshakes are served with. */
  get certificates(): Certificates {
    return this.#certificates;
  }

  /** Takes other certificates for new handshakes; open connections go on. */
  swap(certificates: Certificates): void {
    this.#certificates = certificates;
    this.server.setSecureContext({ ...certificates.options, minVersion: "TLSv1.2" });
  }

  /** Takes a connection that was just accepted and not read from. */
  receive(socket: Socket): void {
    // What is wrong with a socket is told by its end; an error that nobody hears would end the process.
    socket.on("error", ignore);
    const { remoteAddress } = socket;
    if (remoteAddress === undefined) {
      // Its peer is gone already.
      socket.destroy();
      return;
    }
    const client = new IncomingClient(this.#listener, remoteAddress);
    const waitMs = this.#listener.connectWaitMs(this.#entrance.core.clock());
    if (waitMs > 0 || this.#listener.entry.proxyProtocol) {
      this.#introduce(socket, client, waitMs).catch(this.#entrance.reportBug);
    } else this.#admit(socket, client);
  }

  /** Waits for what has to come before admission. */
  async #introduce(socket: Socket, client: IncomingClient, waitMs: number): Promise<void> {
    if (waitMs > 0 && !await this.#paused(socket, client, waitMs)) return;
    if (!this.#listener.entry.proxyProtocol) return this.#admit(socket, client);
    const reader = new NodeSocket(socket);
    const rest = await hearProxy(reader, client, this.#entrance);
    if (rest !== undefined) this.#admit(reader.release(rest), client);
  }

  /** Lets a new connection wait for its turn; false when it is not worth that, or was cut. */
  async #paused(socket: Socket, client: IncomingClient, waitMs: number): Promise<boolean> {
    const { settings } = this.#entrance;
    if (waitMs > settings.readTimeoutMs) this.#entrance.refuse(client, "connect_rate");
    if (waitMs > settings.readTimeoutMs || !this.#entrance.mayWait(client)) {
      socket.destroy();
      return false;
    }
    const pending = new PendingSocket(this.#entrance, () => socket.destroy());
    await pending.pause(waitMs);
    this.#entrance.madeKnown();
    return pending.end();
  }

  #admit(socket: Socket, client: IncomingClient): void {
    const key = keyOf(socket);
    if (key === undefined || !this.#entrance.mayEnter(client)) {
      socket.destroy();
      return;
    }
    const pending = new PendingSocket(this.#entrance, () => socket.destroy());
    const handshake: Handshake = { key, client, pending, isServed: false };
    this.#handshakes.set(key, handshake);
    this.#handshakeOf.set(socket, handshake);
    pending.limit(() => {
      this.#report(client, "tls_handshake_timeout", "not finished in time");
      this.#forget(handshake);
    });
    const ended = () => this.#fail(handshake, "the connection ended within the handshake");
    socket.once("close", ended);
    hearFirstRecord(socket, (isTls) => {
      if (handshake.pending.isOver) return;
      if (isTls) {
        // From now on there may be a better reason, told at the same time or a moment later.
        socket.off("close", ended);
        socket.once("close", () => setImmediate(ended));
        this.server.emit("connection", socket);
        return;
      }
      this.#fail(handshake, "the client does not speak TLS");
      socket.end(UNEXPECTED_MESSAGE, () => socket.destroy());
    });
  }

  #secured(socket: TLSSocket): void {
    socket.on("error", ignore);
    const handshake = this.#handshakes.get(keyOf(socket) ?? "");
    if (handshake === undefined || handshake.pending.isOver) {
      socket.destroy();
      return;
    }
    const fault = this.#faultOf(socket, handshake.client);
    if (fault !== undefined) {
      this.#fail(handshake, fault);
      socket.destroy();
      return;
    }
    handshake.pending.end();
    handshake.isServed = true;
    this.#handshakes.delete(handshake.key);
    this.#entrance.serve(new NodeSocket(socket), handshake.client);
  }

  /** Looks at the certificate of a client, and makes it known. */
  #faultOf(socket: TLSSocket, client: IncomingClient): string | undefined {
    const { clientAuth } = this.#listener.entry;
    if (clientAuth === "none") return undefined;
    const chain = peerChainOf(socket);
    const own = chain[0];
    if (own === undefined) return clientAuth === "require" ? "no client certificate" : undefined;
    if (!socket.authorized) return String(socket.authorizationError);
    if (socket.isSessionReused() && !isSignedBy(chain, this.#certificates.authorities, Date.now())) {
      return "the certificate of a resumed session is not accepted any more";
    }
    client.certificate = readClientCertificate(own.raw);
    return client.certificate === undefined ? "the client certificate cannot be read" : undefined;
  }

  #broken(error: Error, socket: TLSSocket): void {
    socket.on("error", ignore);
    const below: unknown = Reflect.get(socket, "_parent");
    const handshake = typeof below === "object" && below !== null ? this.#handshakeOf.get(below) : undefined;
    // What the runtime found in the client's certificate says more than the end of the connection that followed.
    const detail = socket.authorizationError ?? error.message;
    if (handshake !== undefined) this.#fail(handshake, String(detail));
    socket.destroy();
  }

  /** Counts, logs and forgets a handshake, unless it has ended before. */
  #fail(handshake: Handshake, detail: string): void {
    const isNews = handshake.pending.end();
    this.#forget(handshake);
    if (!isNews) return;
    this.#report(handshake.client, "tls_handshake", detail);
  }

  #report({ remoteAddress }: IncomingClient, reason: "tls_handshake" | "tls_handshake_timeout", detail: string): void {
    const { counters, log } = this.#entrance.core;
    counters.connectsRefused.add(reason);
    log.limited(reason, "warn", "TLS handshake failed", {
      listener: this.#listener.name,
      remoteAddress,
      detail: detail.slice(0, DETAIL_CHARS_MAX),
    });
  }

  /** The socket of a handshake is gone, or about to be. */
  #forget(handshake: Handshake): void {
    // Another connection may have come from the same port since; each has its own place to give back.
    if (this.#handshakes.get(handshake.key) === handshake) this.#handshakes.delete(handshake.key);
    if (!handshake.isServed) this.#entrance.left(handshake.client);
  }
}

/** An admitted client whose handshake is under way. */
interface Handshake {
  readonly key: string;
  readonly client: IncomingClient;
  readonly pending: PendingSocket;
  /** True once its connection has the client's place. */
  isServed: boolean;
}

/** What tells a connection from all others that are open at the same time; undefined when it is not open. */
function keyOf({ remoteAddress, remotePort, localAddress }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress}|${remotePort}|${localAddress}`;
}

function ignore(): void {}

/** Some details quote what the client sent. */
const DETAIL_CHARS_MAX = 200;
