/**
 * The first listener of every broker: counts Sessions, refusals and dropped messages.
 */
import type { Counters, DropReason } from "../metrics/counters.ts";
import type { ConnectPacket } from "../protocol/packets.ts";
import { IgnoredEvents } from "./broker_events.ts";
import type { ConnectingClient } from "./connecting_client.ts";

/** See the head of this file. */
export class CountedEvents extends IgnoredEvents {
  readonly #counters: Counters;

  constructor(counters: Counters) {
    super();
    this.#counters = counters;
  }

  override refused(_client: ConnectingClient, _packet: ConnectPacket, reason: string): void {
    this.#counters.connectsRefused.add(reason);
  }

  override opened(): void {
    this.#counters.sessionsOffline++;
  }

  override connected(): void {
    this.#counters.sessionsOnline++;
    this.#counters.sessionsOffline--;
  }

  override disconnected(): void {
    this.#counters.sessionsOnline--;
    this.#counters.sessionsOffline++;
  }

  override ended(): void {
    this.#counters.sessionsOffline--;
  }

  override dropped(reason: DropReason): void {
    this.#counters.messageDropped(reason);
  }
}
