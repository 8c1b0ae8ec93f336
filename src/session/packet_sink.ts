/**
 * Where a Session's packets go: the outbound side of one Network Connection, as the sans-I/O core sees it.
 *
 * The core appends to `out` and calls `touch()` once; the owner of the socket sends everything that was appended when
 * the turn ends. Obligations of an implementation: `touch` is cheap and may be called while `isTouched` is true;
 * `disconnect` may be called in the middle of a turn and must let bytes already in `out` leave first.
 */
import type { WriteBuffer } from "../protocol/write_buffer.ts";

/** Outbound side of a Network Connection. */
export interface PacketSink {
  /** Address of the client, as in `ClientOrigin`. */
  readonly remoteAddress: string;
  /** Packets of this turn, not yet handed to the network. */
  readonly out: WriteBuffer;
  /** Bytes handed to the network and not yet taken by it. */
  readonly writingBytes: number;
  /** True from `touch()` to the end of the turn. */
  readonly isTouched: boolean;
  /** False once the connection is closing: nothing more is written. */
  readonly isOpen: boolean;
  /** Asks for a write when the turn ends. */
  touch(): void;
  /**
   * Ends the connection from the broker's side: a v5 client gets DISCONNECT with the Reason Code first.
   *
   * @param reasonCode At least 0x80.
   * @param reasonString One sentence for the client, where it wants to hear one.
   */
  disconnect(reasonCode: number, reasonString?: string): void;
}
