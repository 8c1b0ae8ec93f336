/** Operating failures of the listeners. Each ends the start of the broker; none is met by serving without protection. */
import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";
import type { ListenerEntry, ListenerType } from "../../config/options/listener_entry.ts";
import {
  CONFIG_EXIT_CODE,
  describeFileFailure,
  describeListenFailure,
  type ListenReason,
  listenReason,
  UNAVAILABLE_EXIT_CODE,
} from "../../system/system_failure.ts";

/** What clients come in by, as it is called in a message. */
const TRANSPORTS: Readonly<Record<ListenerType, string>> = {
  tcp: "TCP",
  tls: "TLS",
  ws: "WebSocket",
  wss: "WebSocket over TLS",
  unix: "Unix socket",
};

/** Flags that choose the address of the listeners which are configured without a list; their names are their types. */
const FLAGS: ReadonlyMap<string, string> = new Map([
  ["tcp", "--bind"],
  ["ws", "--ws-bind"],
  ["tls", "--tls-bind"],
  ["wss", "--wss-bind"],
]);

/** A listener could not be opened; the broker does not start. */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly entry: Pick<ListenerEntry, "name" | "type" | "bind" | "socketPath">;
  /** What the runtime threw. */
  readonly cause: unknown;
}> {
  /** Which kind of refusal it was. */
  get reason(): ListenReason {
    return listenReason(this.cause);
  }

  /** Where nothing can be listened on, why, and what to do about it. */
  override get message(): string {
    const { name, type, bind, socketPath } = this.entry;
    const what = `listen for MQTT over ${TRANSPORTS[type]}`;
    if (bind === undefined) {
      return `Cannot ${what} on ${JSON.stringify(socketPath)}: ${describeFileFailure(this.cause)}`;
    }
    const flag = name === type ? FLAGS.get(type) : undefined;
    return describeListenFailure(
      what,
      bind,
      flag ?? `the bind address of listener ${JSON.stringify(name)}`,
      this.cause,
    );
  }

  override readonly [Runtime.errorExitCode] = UNAVAILABLE_EXIT_CODE;
}

/** Certificate, key or authorities of a TLS listener cannot be used. */
export class CertificateInvalid extends Data.TaggedError("CertificateInvalid")<{
  readonly listener: string;
  /** Completes "Listener … cannot use TLS:", one line, nothing of a key in it. */
  readonly problem: string;
}> {
  override get message(): string {
    return `Listener ${JSON.stringify(this.listener)} cannot use TLS: ${this.problem}`;
  }

  override readonly [Runtime.errorExitCode] = CONFIG_EXIT_CODE;
}

/** The broker let itself in without a certificate where one is required. */
export class ClientAuthIneffective extends Data.TaggedError("ClientAuthIneffective")<{
  readonly listener: string;
  readonly problem: string;
}> {
  override get message(): string {
    return `Listener ${JSON.stringify(this.listener)} requires client certificates, but ${this.problem}`;
  }

  override readonly [Runtime.errorExitCode] = CONFIG_EXIT_CODE;
}
