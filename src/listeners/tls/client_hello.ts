/**
 * The first record of a TLS client, looked at before anything is spent on TLS. [RFC 8446, 5.1]
 *
 *     16 | 03 0x | length, 2 bytes | ClientHello, or its first part
 *
 * A TLS socket costs some twenty kilobytes of objects. Most strangers that come to a TLS port send something else, half
 * of a record, or nothing; they cost no more than a plain socket, and a flood of them does not make the collector busy.
 */
import type { Socket } from "node:net";

/** What is known of the first record. */
export type FirstRecord = "whole" | "incomplete" | "not_tls";

/** Looks at what a client has sent so far. */
export function firstRecordOf(bytes: Uint8Array): FirstRecord {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) return "not_tls";
  if (bytes.length > 1 && bytes[1] !== MAJOR_VERSION) return "not_tls";
  if (bytes.length < HEADER_BYTES) return "incomplete";
  const length = (bytes[3]! << 8) | bytes[4]!;
  if (length === 0 || length > RECORD_BYTES_MAX) return "not_tls";
  return bytes.length >= HEADER_BYTES + length ? "whole" : "incomplete";
}

/**
 * Reads a socket until its first record is whole or cannot be one.
 *
 * @param heard Called once, with the socket as it was, every byte in it; never when the socket ends before.
 */
export function hearFirstRecord(socket: Socket, heard: (isTls: boolean) => void): void {
  let pending: Uint8Array = NOTHING;
  const read = () => {
    const chunk: Uint8Array | null = socket.read();
    if (chunk === null) return;
    pending = pending.length === 0 ? chunk : joined(pending, chunk);
    const first = firstRecordOf(pending);
    if (first === "incomplete") return;
    socket.off("readable", read);
    socket.unshift(pending);
    heard(first === "whole");
  };
  socket.on("readable", read);
}

/** The fatal alert `unexpected_message`, for whoever speaks something else: a TLS client that is confused understands. */
export const UNEXPECTED_MESSAGE: Uint8Array = Uint8Array.of(0x15, 0x03, 0x03, 0, 2, 2, 10);

/** At most one record and what the system hands over with it. */
function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(one.length + other.length);
  bytes.set(one);
  bytes.set(other, one.length);
  return bytes;
}

const NOTHING = new Uint8Array(0);
const HANDSHAKE = 0x16;
const MAJOR_VERSION = 3;
const HEADER_BYTES = 5;
/** 2^14 of plain text; a ClientHello is never encrypted. */
const RECORD_BYTES_MAX = 16_384;
