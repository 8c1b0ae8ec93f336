/** Operating failures of the listeners. */
import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";
import { describeListenFailure, listenReason, UNAVAILABLE_EXIT_CODE } from "../config/system_failure.ts";
import type { ListenReason } from "../config/system_failure.ts";

/** What clients come in by, as it is called in a message, with the flag that chooses its address. */
const LISTENERS = {
  tcp: { name: "TCP", flag: "--bind" },
  websocket: { name: "WebSocket", flag: "--ws-bind" },
} as const;

/** A listener could not be opened; the broker does not start. */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly listener: keyof typeof LISTENERS;
  readonly hostname: string;
  readonly port: number;
  /** What the runtime threw. */
  readonly cause: unknown;
}> {
  /** Which kind of refusal it was. */
  get reason(): ListenReason {
    return listenReason(this.cause);
  }

  /** Where nothing can be listened on, why, and what to do about it. */
  override get message(): string {
    const { name, flag } = LISTENERS[this.listener];
    return describeListenFailure(`listen for MQTT over ${name}`, this, flag, this.cause);
  }

  override readonly [Runtime.errorExitCode] = UNAVAILABLE_EXIT_CODE;
}
