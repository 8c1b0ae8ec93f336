/**
 * WebSocket frames of a server, without I/O: from received bytes to the MQTT bytes in them, and back. [RFC 6455, 5]
 *
 * MQTT over WebSocket is a stream of bytes; the borders of frames and messages mean nothing. [MQTT-6.0.0-2] So nothing
 * is put together here: the payload of binary frames is unmasked where it lies and moved to the front of the buffer it
 * came in, however long the frame says it is. Only a control frame, 125 bytes at most, is collected.
 *
 *   byte 0      F R R R o o o o   F final fragment, R reserved (0), o opcode
 *   byte 1      M l l l l l l l   M masked (1 from a client), l 0..125 = length, 126 = 2 more bytes, 127 = 8 more bytes
 *   0, 2 or 8   length, most significant byte first; the highest of 64 bits is 0
 *   4           masking key, from a client only
 *   length      payload; byte i is XOR key[i mod 4]
 *
 *   82 82 01 02 03 04 C1 02   a final binary frame of 2 bytes, key 01020304: C1^01 02^02 = C0 00, PINGREQ
 *
 *   FIRST ──▶ SECOND ──▶ LENGTH (0, 2 or 8) ──▶ KEY (4) ──▶ PAYLOAD ──▶ FIRST
 *
 * Each arrow is one byte, so a frame may arrive in any pieces. Close, or a fault, sets `closeCode`; what follows is
 * ignored. A length in more bytes than it needs is taken: nobody is worse off.
 */
import { isWellFormedUtf8 } from "../../protocol/utf8.ts";

/** Frame types. [RFC 6455, 5.2] */
export const FrameOpcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** Status codes of a Close frame that the broker gives. [RFC 6455, 7.4.1] */
export const CloseCode = { NORMAL: 1000, PROTOCOL_ERROR: 1002, UNSUPPORTED_DATA: 1003, INVALID_TEXT: 1007 } as const;

/** Takes the frames of one client apart; see the head of this file. */
export class FrameReader {
  /** What the Close frame of the broker has to say, or 0 while the client may go on. */
  closeCode = 0;
  /** True when the client sent Close itself. */
  hasPeerClosed = false;
  #state: number = State.FIRST;
  #opcode = 0;
  #isInMessage = false;
  /** Bytes left of the length or of the key. */
  #headerLeft = 0;
  #payloadLeft = 0;
  #key = 0;
  /** Index into the key of the next payload byte. */
  #keyIndex = 0;
  /** Payload of the control frame under way; no storage before the first one. */
  #control: Uint8Array = NOTHING;
  #controlLength = 0;
  /** Payload of the newest Ping that was not answered; the length is -1 when there is none. */
  #ping: Uint8Array = NOTHING;
  #pingLength = -1;

  /**
   * Reads `bytes[0..end]` and moves the MQTT bytes in them to the front.
   *
   * @returns Count of MQTT bytes, from offset 0 on. The rest of `bytes` is garbage afterwards.
   */
  read(bytes: Uint8Array, end: number): number {
    let words: Int32Array | undefined = undefined;
    let from = 0;
    let to = 0;
    while (from < end && this.closeCode === 0) {
      if (this.#state !== State.PAYLOAD) {
        this.#readHeaderByte(bytes[from++]!);
        continue;
      }
      const count = Math.min(end - from, this.#payloadLeft);
      if (this.#opcode >= FrameOpcode.CLOSE) {
        unmaskTo(this.#control, this.#controlLength, bytes, from, count, this.#key, this.#keyIndex);
        this.#controlLength += count;
      } else {
        if (count < WORDWISE_BYTES_MIN) unmaskTo(bytes, to, bytes, from, count, this.#key, this.#keyIndex);
        else {
          words ??= wordsOf(bytes, end);
          unmaskInPlace(bytes, words, from, count, this.#key, this.#keyIndex);
          bytes.copyWithin(to, from, from + count);
        }
        to += count;
      }
      from += count;
      this.#keyIndex = (this.#keyIndex + count) & 3;
      this.#payloadLeft -= count;
      if (this.#payloadLeft === 0) this.#endFrame();
    }
    return to;
  }

  /**
   * Takes the answer to the newest Ping, a whole Pong frame, or undefined when no Ping came since. Only the newest one
   * needs an answer. [RFC 6455, 5.5.3]
   */
  takePong(): Uint8Array | undefined {
    const length = this.#pingLength;
    if (length === -1) return undefined;
    this.#pingLength = -1;
    const frame = new Uint8Array(2 + length);
    frame[0] = FINAL | FrameOpcode.PONG;
    frame[1] = length;
    frame.set(this.#ping.subarray(0, length), 2);
    return frame;
  }

  #readHeaderByte(byte: number): void {
    switch (this.#state) {
      case State.FIRST:
        this.closeCode = this.#faultOfFirst(byte);
        this.#opcode = byte & 15;
        if (this.#opcode < FrameOpcode.CLOSE) this.#isInMessage = byte < FINAL;
        this.#state = State.SECOND;
        break;
      case State.SECOND:
        this.#readSecond(byte);
        break;
      case State.LENGTH:
        if (this.#headerLeft === 8 && byte > 127) this.closeCode = CloseCode.PROTOCOL_ERROR;
        // Above 2^53 this is no longer exact, and no longer of interest.
        this.#payloadLeft = this.#payloadLeft * 256 + byte;
        if (--this.#headerLeft === 0) this.#expectKey();
        break;
      default:
        this.#key = (this.#key << 8) | byte;
        if (--this.#headerLeft === 0) this.#beginPayload();
    }
  }

  #faultOfFirst(byte: number): number {
    const opcode = byte & 15;
    if ((byte & RESERVED) !== 0) return CloseCode.PROTOCOL_ERROR;
    switch (opcode) {
      case FrameOpcode.CONTINUATION:
        return this.#isInMessage ? 0 : CloseCode.PROTOCOL_ERROR;
      case FrameOpcode.BINARY:
        return this.#isInMessage ? CloseCode.PROTOCOL_ERROR : 0;
      case FrameOpcode.TEXT:
        // [MQTT-6.0.0-1] Binary frames only.
        return this.#isInMessage ? CloseCode.PROTOCOL_ERROR : CloseCode.UNSUPPORTED_DATA;
      case FrameOpcode.CLOSE:
      case FrameOpcode.PING:
      case FrameOpcode.PONG:
        return byte < FINAL ? CloseCode.PROTOCOL_ERROR : 0;
      default:
        return CloseCode.PROTOCOL_ERROR;
    }
  }

  #readSecond(byte: number): void {
    const length = byte & 127;
    const isTooLong = this.#opcode >= FrameOpcode.CLOSE && length > CONTROL_BYTES_MAX;
    if (byte < MASKED || isTooLong) {
      this.closeCode = CloseCode.PROTOCOL_ERROR;
      return;
    }
    this.#payloadLeft = 0;
    if (length <= CONTROL_BYTES_MAX) {
      this.#payloadLeft = length;
      this.#expectKey();
    } else {
      this.#headerLeft = length === 126 ? 2 : 8;
      this.#state = State.LENGTH;
    }
  }

  #expectKey(): void {
    this.#headerLeft = 4;
    this.#state = State.KEY;
  }

  #beginPayload(): void {
    this.#keyIndex = 0;
    this.#controlLength = 0;
    this.#state = State.PAYLOAD;
    if (this.#opcode >= FrameOpcode.CLOSE && this.#control.length === 0) {
      this.#control = new Uint8Array(CONTROL_BYTES_MAX);
    }
    if (this.#payloadLeft === 0) this.#endFrame();
  }

  #endFrame(): void {
    this.#state = State.FIRST;
    if (this.#opcode === FrameOpcode.PING) {
      const payload = this.#control;
      this.#control = this.#ping;
      this.#ping = payload;
      this.#pingLength = this.#controlLength;
    } else if (this.#opcode === FrameOpcode.CLOSE) {
      this.closeCode = answerToClose(this.#control, this.#controlLength);
      this.hasPeerClosed = true;
    }
  }
}

/**
 * The header of a binary frame that carries `length` bytes.
 *
 * @param storage Gets the header from offset 0 on; room for ten bytes.
 * @returns Size of the header in bytes.
 */
export function writeBinaryHeader(storage: Uint8Array, length: number): number {
  storage[0] = FINAL | FrameOpcode.BINARY;
  if (length <= CONTROL_BYTES_MAX) {
    storage[1] = length;
    return 2;
  }
  const view = new DataView(storage.buffer, storage.byteOffset);
  if (length <= 0xffff) {
    storage[1] = 126;
    view.setUint16(2, length);
    return 4;
  }
  storage[1] = 127;
  view.setUint32(2, Math.floor(length / 2 ** 32));
  view.setUint32(6, length >>> 0);
  return 10;
}

/** A whole Close frame with a status code and no text. */
export function encodeClose(code: number): Uint8Array {
  return Uint8Array.of(FINAL | FrameOpcode.CLOSE, 2, code >> 8, code & 255);
}

/** XORs `count` bytes of `source` with the key into `target`; these may overlap when they move towards the front. */
function unmaskTo(
  target: Uint8Array,
  targetOffset: number,
  source: Uint8Array,
  sourceOffset: number,
  count: number,
  key: number,
  keyIndex: number,
): void {
  const k0 = keyByte(key, keyIndex);
  const k1 = keyByte(key, keyIndex + 1);
  const k2 = keyByte(key, keyIndex + 2);
  const k3 = keyByte(key, keyIndex + 3);
  let from = sourceOffset;
  let to = targetOffset;
  const end = sourceOffset + count;
  for (; from + 3 < end; from += 4, to += 4) {
    target[to] = source[from]! ^ k0;
    target[to + 1] = source[from + 1]! ^ k1;
    target[to + 2] = source[from + 2]! ^ k2;
    target[to + 3] = source[from + 3]! ^ k3;
  }
  if (from < end) target[to] = source[from]! ^ k0;
  if (from + 1 < end) target[to + 1] = source[from + 1]! ^ k1;
  if (from + 2 < end) target[to + 2] = source[from + 2]! ^ k2;
}

/** The aligned words of `bytes[0..end]`. */
function wordsOf(bytes: Uint8Array, end: number): Int32Array {
  const lead = -bytes.byteOffset & 3;
  return new Int32Array(bytes.buffer, bytes.byteOffset + lead, (end - lead) >> 2);
}

/**
 * XORs `bytes[from..from + count]` with the key where they lie.
 *
 * @param words Result of `wordsOf` for `bytes` and an end not before that of this stretch.
 */
function unmaskInPlace(
  bytes: Uint8Array,
  words: Int32Array,
  from: number,
  count: number,
  key: number,
  keyIndex: number,
): void {
  const lead = -(bytes.byteOffset + from) & 3;
  unmaskTo(bytes, from, bytes, from, lead, key, keyIndex);
  for (let i = 0; i < 4; i++) KEY_BYTES[i] = keyByte(key, keyIndex + lead + i);
  const keyWord = KEY_WORD[0]!;
  const firstWord = (bytes.byteOffset + from + lead - words.byteOffset) >> 2;
  const endWord = firstWord + ((count - lead) >> 2);
  for (let i = firstWord; i < endWord; i++) words[i]! ^= keyWord;
  const tail = (count - lead) & 3;
  unmaskTo(bytes, from + count - tail, bytes, from + count - tail, tail, key, keyIndex + lead);
}

function keyByte(key: number, index: number): number {
  return (key >>> (24 - 8 * (index & 3))) & 255;
}

/** The same code where the client may use it, 1000 where it gave none. [RFC 6455, 5.5.1 and 7.4] */
function answerToClose(payload: Uint8Array, length: number): number {
  if (length === 0) return CloseCode.NORMAL;
  const code = length === 1 ? 0 : (payload[0]! << 8) | payload[1]!;
  const isDefined = code >= 1000 && code <= 1014 && !(code >= 1004 && code <= 1006);
  const isPrivate = code >= 3000 && code <= 4999;
  if (!isDefined && !isPrivate) return CloseCode.PROTOCOL_ERROR;
  return isWellFormedUtf8(payload, 2, length) ? code : CloseCode.INVALID_TEXT;
}

/** The part of a frame the next byte belongs to. */
const State = { FIRST: 0, SECOND: 1, LENGTH: 2, KEY: 3, PAYLOAD: 4 } as const;
const FINAL = 0x80;
const MASKED = 0x80;
const RESERVED = 0x70;
/** Also the longest length that fits into the second byte. */
const CONTROL_BYTES_MAX = 125;
const NOTHING = new Uint8Array(0);
/** From here on words and a move are faster than bytes: three times at 1 KiB, five times at 16 KiB. */
const WORDWISE_BYTES_MIN = 192;
/** One word seen as bytes; used and left within one call. */
const KEY_WORD = new Int32Array(1);
const KEY_BYTES = new Uint8Array(KEY_WORD.buffer);
