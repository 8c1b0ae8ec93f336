/**
 * Frames as a client sends them, right ones and wrong ones, written independently of the broker's reader. [RFC 6455, 5]
 */
import { concatBytes } from "../../support/wire_bytes.ts";
import { Opcode } from "../../support/ws_client.ts";

/** What differs from a final frame with a short length and a plain key. */
export interface FrameShape {
  readonly isFinal?: boolean;
  /** Masking key, four bytes; undefined = the frame is not masked. */
  readonly key?: readonly number[] | undefined;
  /** Bits 4 to 6 of the first byte. */
  readonly reserved?: number;
  /** Bytes the length is written in: 0 (in the second byte), 2 or 8; otherwise as few as hold it. */
  readonly lengthBytes?: 0 | 2 | 8;
  /** Announced length, where it is not that of the payload. */
  readonly length?: number;
}

/** Key of a frame that was given none. */
export const KEY = [0x12, 0x34, 0x56, 0x78];

/** One frame. */
export function frame(opcode: number, payload: Uint8Array, shape: FrameShape = {}): Uint8Array {
  const key = "key" in shape ? shape.key : KEY;
  const length = shape.length ?? payload.length;
  const lengthBytes = shape.lengthBytes ?? (length < 126 ? 0 : length < 65_536 ? 2 : 8);
  const first = (shape.isFinal === false ? 0 : 0x80) | (shape.reserved ?? 0) | opcode;
  const second = (key === undefined ? 0 : 0x80) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127);
  const header = [first, second];
  const digits = BigInt(length);
  for (let index = lengthBytes - 1; index >= 0; index -= 1) header.push(Number((digits >> BigInt(8 * index)) & 255n));
  const masked = key === undefined ? payload : payload.map((byte, index) => byte ^ key[index % 4]!);
  return concatBytes(Uint8Array.from([...header, ...(key ?? [])]), masked);
}

/** A final binary frame. */
export function binary(payload: Uint8Array, shape: FrameShape = {}): Uint8Array {
  return frame(Opcode.BINARY, payload, shape);
}

/** A Close frame with a status code and a text. */
export function close(code: number, text: Uint8Array = new Uint8Array(0)): Uint8Array {
  return frame(Opcode.CLOSE, concatBytes(Uint8Array.of(code >> 8, code & 255), text));
}

/** Head of a request that opens a WebSocket. Lines replace those of the same name; undefined leaves one out. */
export function requestHead(
  lines: Readonly<Record<string, string | undefined>> = {},
  requestLine = "GET /mqtt HTTP/1.1",
): string {
  const fields: Record<string, string | undefined> = {
    "Host": "broker:8080",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "mqtt",
    ...lines,
  };
  const text = Object.entries(fields).flatMap(([name, value]) => value === undefined ? [] : [`${name}: ${value}`]);
  return `${[requestLine, ...text].join("\r\n")}\r\n\r\n`;
}

/** Text as bytes. */
export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Every byte as a piece of its own. */
export function singly(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte) => Uint8Array.of(byte));
}
