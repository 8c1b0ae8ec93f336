/** Operating failures of the listeners. */
import * as Data from "effect/Data";

/** A listener could not be opened; the broker does not start. */
export class ListenError extends Data.TaggedError("ListenError")<{
  /** `tcp` or `websocket`. */
  readonly listener: string;
  readonly hostname: string;
  readonly port: number;
  readonly cause: unknown;
}> {
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause);
    return `Cannot listen for MQTT over ${this.listener} on ${this.hostname}:${this.port}: ${why}`;
  }
}
