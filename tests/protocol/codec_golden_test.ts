/**
 * The golden tables of client packets: every row as it is, cut at every byte, and with bytes after its end.
 *
 * Cutting is done twice. With the old Remaining Length the packet contradicts itself; with a repaired one its fields
 * end too early, which must be found as well unless the row says that the shorter body is a legal packet.
 */

import assert from "node:assert/strict";
import { decodeClientPacket } from "../../src/protocol/codec.ts";
import { ConnectFault } from "../../src/protocol/codec_connect.ts";
import { Fault, type ProtocolVersion } from "../../src/protocol/packets.ts";
import {
  readVariableByteInteger,
  variableByteIntegerSize,
  writeVariableByteInteger,
} from "../../src/protocol/variable_byte_integer.ts";
import { CONNECT_ROWS } from "../golden/packets/connect.ts";
import { CONNECT_FAULT_ROWS } from "../golden/packets/connect_faults.ts";
import { DISCONNECT_AUTH_ROWS } from "../golden/packets/disconnect_auth.ts";
import { bytesOf } from "../golden/packets/row.ts";
import { SUBSCRIBE_ROWS } from "../golden/packets/subscribe.ts";

const ROWS = [...CONNECT_ROWS, ...CONNECT_FAULT_ROWS, ...SUBSCRIBE_ROWS, ...DISCONNECT_AUTH_ROWS];

for (const row of ROWS) {
  const verb = row.expected instanceof Fault ? "refuses" : "decodes";
  Deno.test(`decodeClientPacket ${verb} ${row.title}`, () => {
    const packet = bytesOf(row.bytes);
    const actual = decodeClientPacket(packet, row.version);
    // The read buffer is used again, so nothing in the result may be a view of it.
    packet.fill(0xee);
    if (row.expected instanceof Fault) assertFault(actual, row.expected);
    else assert.deepEqual(actual, row.expected);
  });
}

Deno.test("decodeClientPacket refuses every golden packet cut at every byte [MQTT-4.13.1-1]", () => {
  for (const row of ROWS) {
    const packet = bytesOf(row.bytes);
    for (let size = 0; size < packet.length; size++) {
      const actual = decodeClientPacket(packet.subarray(0, size), row.version);
      assert(actual instanceof Fault, `${row.title}, cut to ${size} bytes, was accepted`);
    }
  }
});

Deno.test("decodeClientPacket refuses every golden packet with bytes after its end [MQTT-4.13.1-1]", () => {
  for (const row of ROWS) {
    const packet = bytesOf(row.bytes);
    for (const tail of [Uint8Array.of(0), Uint8Array.of(0xff), packet]) {
      const actual = decodeClientPacket(Uint8Array.of(...packet, ...tail), row.version);
      assert(actual instanceof Fault, `${row.title}, followed by ${tail.length} bytes, was accepted`);
    }
  }
});

Deno.test("decodeClientPacket accepts shorter bodies of golden packets only where the field is optional", () => {
  for (const row of ROWS) {
    const packet = bytesOf(row.bytes);
    const body = bodyOf(packet);
    const accepted: number[] = [];
    for (let size = 0; size < body.length; size++) {
      const actual = decodeClientPacket(packetOf(packet[0]!, body.subarray(0, size)), row.version);
      if (!(actual instanceof Fault)) accepted.push(size);
    }
    assert.deepEqual(accepted, row.legalBodySizes ?? [], row.title);
  }
});

Deno.test("decodeClientPacket refuses legal golden packets whose length covers a byte too many", () => {
  for (const row of ROWS.filter((row) => !(row.expected instanceof Fault))) {
    const packet = bytesOf(row.bytes);
    const longer = packetOf(packet[0]!, Uint8Array.of(...bodyOf(packet), 0xff));
    assert(decodeClientPacket(longer, row.version) instanceof Fault, row.title);
  }
});

Deno.test("decodeClientPacket decodes a CONNECT whatever version the caller names", () => {
  for (const row of [...CONNECT_ROWS, ...CONNECT_FAULT_ROWS]) {
    const packet = bytesOf(row.bytes);
    for (const version of [3, 4, 5] satisfies ProtocolVersion[]) {
      assert.deepEqual(decodeClientPacket(packet, version), decodeClientPacket(packet, row.version), row.title);
    }
  }
});

Deno.test("golden client packets have titles of their own", () => {
  assert.equal(new Set(ROWS.map((row) => row.title)).size, ROWS.length);
});

function assertFault(actual: unknown, expected: Fault): void {
  assert(actual instanceof Fault, "expected a fault");
  assert.equal(actual.statement, expected.statement);
  assert.equal(actual.reasonCode, expected.reasonCode);
  assert.match(actual.text, /^[A-Z].{10,}[^.]$/);
  assert.equal(
    actual instanceof ConnectFault ? actual.connackVersion : undefined,
    expected instanceof ConnectFault ? expected.connackVersion : undefined,
  );
}

function bodyOf(packet: Uint8Array): Uint8Array {
  const length = readVariableByteInteger(packet, 1, packet.length);
  return length < 0 ? new Uint8Array(0) : packet.subarray(1 + variableByteIntegerSize(length));
}

function packetOf(first: number, body: Uint8Array): Uint8Array {
  const packet = new Uint8Array(1 + variableByteIntegerSize(body.length) + body.length);
  packet[0] = first;
  packet.set(body, writeVariableByteInteger(packet, 1, body.length));
  return packet;
}
