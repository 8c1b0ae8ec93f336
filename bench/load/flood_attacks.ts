/**
 * Bad connects: what each kind writes, how long it stays, and how the broker's answer to it is called.
 *
 * All is decided here from bytes; sockets are flood_client.ts's. Every kind is something that a stranger can do without
 * credentials, and cheap for whoever does it. Packets are MQTT 5.0, so that refusals come with a Reason Code.
 */

import { encodeConnect } from "./packets.ts";

/** One way to misbehave. */
export interface Attack {
  readonly name: string;
  /** Which listener it goes to. */
  readonly door: "tcp" | "tls";
  /**
   * Makes the bytes to send after connecting; empty = none.
   *
   * @param index Number of the attempt, so that names and garbage differ.
   */
  bytes(index: number): Uint8Array;
  /** How long it waits for an answer before it leaves, milliseconds; 0 = leaves as soon as it is connected. */
  readonly patienceMs: number;
}

/** What the attacks are aimed with. */
export interface AttackMaterial {
  /** A user that exists. */
  readonly username: string;
  /** The first flight of a real TLS client. */
  readonly clientHello: Uint8Array;
}

/** Longer than the longest delay that a failed password costs. */
const PATIENT_MS = 15_000;
/** What is left hanging is left soon, to keep the attacker's own table of sockets small. */
const HANGING_MS = 2_000;

/** Names of all kinds. */
export function attackNames(): readonly string[] {
  return attacksWith({ username: "", clientHello: NOTHING }).map(({ name }) => name);
}

/** Builds all kinds; the flood takes them in turn. */
export function attacksWith({ username, clientHello }: AttackMaterial): readonly Attack[] {
  const connectAs = (name: string) => (index: number) =>
    encodeConnect(5, `bad${index}`, { username: name, password: `wrong${index}` });
  return [
    { name: "wrong password", door: "tcp", bytes: connectAs(username), patienceMs: PATIENT_MS },
    { name: "unknown user", door: "tcp", bytes: (index) => connectAs(`nobody${index}`)(index), patienceMs: PATIENT_MS },
    { name: "no credentials", door: "tcp", bytes: (index) => encodeConnect(5, `bad${index}`), patienceMs: PATIENT_MS },
    { name: "garbage", door: "tcp", bytes: garbage, patienceMs: PATIENT_MS },
    { name: "oversized CONNECT", door: "tcp", bytes: oversizedConnect, patienceMs: PATIENT_MS },
    { name: "connect and close", door: "tcp", bytes: () => NOTHING, patienceMs: 0 },
    { name: "garbage instead of TLS", door: "tls", bytes: garbage, patienceMs: PATIENT_MS },
    {
      name: "half a ClientHello",
      door: "tls",
      bytes: () => clientHello.subarray(0, clientHello.length >> 1),
      patienceMs: HANGING_MS,
    },
    { name: "ClientHello and silence", door: "tls", bytes: () => clientHello, patienceMs: HANGING_MS },
    { name: "connect and close on TLS", door: "tls", bytes: () => NOTHING, patienceMs: 0 },
  ];
}

const NOTHING = new Uint8Array(0);

/** 64 bytes that are neither a CONNECT nor a TLS record, the same for the same index. */
function garbage(index: number): Uint8Array {
  const bytes = new Uint8Array(64);
  let state = (index + 1) * 2654435761;
  for (let at = 0; at < bytes.length; at++) {
    state = Math.imul(state ^ (state >>> 15), 2246822519) + 1;
    bytes[at] = state >>> 24;
  }
  bytes[0] = bytes[0]! | 0x80;
  return bytes;
}

/** The start of a CONNECT that claims the largest Remaining Length there is. [MQTT 5.0, 1.5.5] */
function oversizedConnect(index: number): Uint8Array {
  const small = encodeConnect(5, `bad${index}`);
  const bytes = new Uint8Array(1024);
  bytes.set([small[0]!, 0xff, 0xff, 0xff, 0x7f]);
  bytes.set(small.subarray(2), 5);
  return bytes;
}

/** How an attempt ended, when no bytes say more. */
export type AttackEnd = "closed" | "reset" | "left" | "refused";

const ENDS: Record<AttackEnd, string> = {
  closed: "closed",
  reset: "reset",
  left: "left after no answer",
  refused: "connection refused",
};

/**
 * Names an answer.
 *
 * @param first The first bytes that came; may be empty.
 * @param end How it ended.
 */
export function nameAnswer(first: Uint8Array, end: AttackEnd): string {
  const [type, , third, fourth] = first;
  if (type === 0x20 && fourth !== undefined) return `CONNACK ${hex(fourth)}`;
  if (type === 0xe0) return `DISCONNECT ${hex(third ?? 0)}`;
  if (type === 0x15) return "TLS alert";
  if (type === 0x16) return `TLS handshake, then ${ENDS[end]}`;
  return type === undefined ? ENDS[end] : `${first.length} bytes starting with ${hex(type)}`;
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0").toUpperCase()}`;
}
