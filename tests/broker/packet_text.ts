/**
 * Packets from the broker as one line of text each, decoded by `mqtt-packet`, so that a test can say what it expects
 * in few words.
 *
 *     connack 0 present            connack 0x97              suback #1 0,1,0x87      unsuback #1 0
 *     publish a/b 'hi' q1 #1 retain dup                      puback #1 0x10          disconnect 0x8e
 *     auth 0x18 'challenge'        pingresp
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Packet, parser } from "mqtt-packet";

/** The fields of packets from the broker that tests look at. */
export interface Received {
  readonly cmd: string;
  readonly messageId?: number;
  readonly topic?: string;
  readonly payload?: Uint8Array | string;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly reasonCode?: number;
  readonly returnCode?: number;
  readonly sessionPresent?: boolean;
  readonly granted?: readonly number[];
  readonly properties?: Readonly<Record<string, unknown>>;
}

/** Decodes the stream of packets of one connection. */
export class PacketReader {
  readonly #parser;
  #packets: Received[] = [];

  constructor(protocolVersion: 3 | 4 | 5) {
    this.#parser = parser({ protocolVersion });
    this.#parser.on("packet", (packet: Packet) => this.#packets.push(packet as unknown as Received));
    this.#parser.on("error", (error) => assert.fail(`the broker sent a packet that is malformed: ${error}`));
  }

  /** Takes the next bytes of the stream and returns the packets they complete. */
  read(bytes: Uint8Array): Received[] {
    this.#parser.parse(Buffer.from(bytes));
    const packets = this.#packets;
    this.#packets = [];
    return packets;
  }
}

/** One packet as a line of text; see the head of this file. */
export function textOf(packet: Received): string {
  switch (packet.cmd) {
    case "connack": {
      const code = packet.reasonCode ?? packet.returnCode ?? 0;
      return `connack ${codeText(code)}${packet.sessionPresent === true ? " present" : ""}`;
    }
    case "publish": {
      const id = packet.qos === 0 ? "" : ` #${packet.messageId}`;
      const flags = (packet.retain === true ? " retain" : "") + (packet.dup === true ? " dup" : "");
      return `publish ${packet.topic} '${packet.payload}' q${packet.qos}${id}${flags}`;
    }
    case "suback":
    case "unsuback": {
      const codes = (packet.granted ?? []).map(codeText).join();
      return `${packet.cmd} #${packet.messageId}${codes === "" ? "" : ` ${codes}`}`;
    }
    case "disconnect":
      return `disconnect ${codeText(packet.reasonCode ?? 0)}`;
    case "auth":
      return `auth ${codeText(packet.reasonCode ?? 0)} '${packet.properties?.["authenticationData"] ?? ""}'`;
    case "pingresp":
      return "pingresp";
    default: {
      const code = packet.reasonCode ?? 0;
      return `${packet.cmd} #${packet.messageId}${code === 0 ? "" : ` ${codeText(code)}`}`;
    }
  }
}

function codeText(code: number): string {
  return code < 0x10 ? String(code) : `0x${code.toString(16)}`;
}
