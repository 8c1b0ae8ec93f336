/**
 * Listeners with TLS: the port, the certificate files behind it, and their age.
 *
 * TLS goes through `node:tls` throughout. It is a little slower than the runtime's own, and it can ask for client
 * certificates, take a new certificate without closing, and take over a connection of which a header was read.
 */
import * as Effect from "effect/Effect";
import { type AddressInfo, createServer, type Server } from "node:net";
import type { LogWriter } from "../../logging/log.ts";
import { Supervisor } from "../../logging/supervisor.ts";
import { formatBindAddress } from "../../system/bind_address.ts";
import { followFiles } from "../../system/watched_file.ts";
import type { Entrance } from "../entry/entrance.ts";
import { CertificateInvalid, ListenError } from "../entry/errors.ts";
import type { Listener } from "../entry/listener.ts";
import { AcceptWatch } from "./accept_watch.ts";
import { describeCertificates, warnOfAge } from "./certificate_age.ts";
import { certificateFilesOf, checkCertificates, loadCertificates } from "./certificate_files.ts";
import { confirmClientAuth } from "./client_auth_check.ts";
import { TlsHandshakes } from "./tls_handshakes.ts";

/** An open listener with TLS. */
export interface TlsListener {
  /** As `host:port`. */
  readonly address: string;
  /** When the certificate that is served expires, in milliseconds since the epoch. */
  readonly notAfterMs: () => number;
}

/** Opens a listener of type `tls` or `wss` and lets in who comes, until the scope ends. */
export const listenTls = Effect.fnUntraced(function* (listener: Listener, entrance: Entrance) {
  const { entry } = listener;
  const { log } = entrance.core;
  const handshakes = new TlsHandshakes(listener, entrance, yield* loadCertificates(entry));
  if (entry.clientAuth === "require") yield* confirmClientAuth(handshakes.server, entry.name);
  const address = yield* listen(handshakes, listener, log);
  yield* followCertificates(handshakes, listener, log);
  yield* Supervisor.fork(
    `${listener.name} certificate age`,
    warnOfAge(() => handshakes.certificates, listener.name, log),
  );
  const opened: TlsListener = { address, notAfterMs: () => handshakes.certificates.notAfterMs };
  return opened;
});

/** Opens the port. Nothing is read from a connection before it is admitted. */
const listen = Effect.fnUntraced(function* (handshakes: TlsHandshakes, { entry }: Listener, log: LogWriter) {
  const { hostname, port } = entry.bind!;
  const front = createServer({ pauseOnConnect: true, noDelay: true, keepAlive: true });
  const watch = new AcceptWatch(front, (socket) => handshakes.receive(socket));
  yield* Effect.acquireRelease(
    Effect.mapError(begin(front, hostname, port), (error) => new ListenError({ entry, cause: asListenFailure(error) })),
    () => Effect.sync(() => void front.close()),
  );
  front.on("error", (error) => {
    log.limited("accept_failed", "error", "cannot accept a connection", { cause: String(error) });
  });
  const opened = addressOf(front);
  const again = begin(front, hostname, opened.port);
  yield* Supervisor.fork(`${entry.name} accept watch`, watch.keepAccepting(again, entry.name, log));
  return formatBindAddress(opened);
});

function begin(front: Server, host: string, port: number): Effect.Effect<void, Error> {
  return Effect.callback((resume) => {
    const failed = (error: Error) => resume(Effect.fail(error));
    front.once("error", failed);
    front.listen({ host, port, backlog: BACKLOG }, () => {
      front.off("error", failed);
      resume(Effect.void);
    });
  });
}

function addressOf(server: Server): { readonly hostname: string; readonly port: number } {
  const { address, port } = server.address() as AddressInfo;
  return { hostname: address, port };
}

/** Takes changed files when they are good, and goes on with what is served when they are not. */
const followCertificates = Effect.fnUntraced(
  function* (handshakes: TlsHandshakes, { entry }: Listener, log: LogWriter) {
    const files = certificateFilesOf(entry);
    if (files instanceof CertificateInvalid) return;
    const kept = (error: Error) => {
      log.write("error", "certificate not replaced", { listener: entry.name, reason: error.message });
    };
    const changed = (texts: readonly string[]) => {
      const certificates = checkCertificates(entry, texts);
      if (certificates instanceof CertificateInvalid) return kept(certificates);
      handshakes.swap(certificates);
      log.write("info", "certificate replaced", { listener: entry.name, ...describeCertificates(certificates) });
    };
    yield* Supervisor.fork(`${entry.name} certificate files`, followFiles(files, { changed, failed: kept }));
  },
);

/** What the runtime's own listener would have thrown; another error says enough as it is. */
function asListenFailure(error: Error): Error {
  const ErrorClass = "code" in error ? LISTEN_FAILURES.get(String(error.code)) : undefined;
  return ErrorClass === undefined ? error : new ErrorClass(error.message, { cause: error });
}

const LISTEN_FAILURES: ReadonlyMap<string, new (message: string, options: ErrorOptions) => Error> = new Map([
  ["EADDRINUSE", Deno.errors.AddrInUse],
  ["EADDRNOTAVAIL", Deno.errors.AddrNotAvailable],
  ["EACCES", Deno.errors.PermissionDenied],
  ["EPERM", Deno.errors.PermissionDenied],
]);
const BACKLOG = 4_096;
