/**
 * The decoder against bytes that nobody meant: random ones, and golden packets with a few bytes changed.
 *
 * It must return a packet or a fault for all of them, and what it accepts must be within the ranges that the rest of
 * the broker relies on.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeClientPacket } from "../../src/protocol/codec.ts";
import { type ClientPacket, Fault, PacketType } from "../../src/protocol/packets.ts";
import { CONNECT_ROWS } from "../golden/packets/connect.ts";
import { CONNECT_FAULT_ROWS } from "../golden/packets/connect_faults.ts";
import { DISCONNECT_AUTH_ROWS } from "../golden/packets/disconnect_auth.ts";
import { bytesOf } from "../golden/packets/row.ts";
import { SUBSCRIBE_ROWS } from "../golden/packets/subscribe.ts";
import { version } from "./reference.ts";

const GOLDEN = [...CONNECT_ROWS, ...CONNECT_FAULT_ROWS, ...SUBSCRIBE_ROWS, ...DISCONNECT_AUTH_ROWS]
  .map((row) => bytesOf(row.bytes));

Deno.test("decodeClientPacket returns a value for any bytes [MQTT-4.13.1-1]", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), version, (bytes, version) => {
      assertSound(decodeClientPacket(bytes, version));
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("decodeClientPacket returns a value for any body behind a correct header [MQTT-4.13.1-1]", () => {
  fc.assert(
    fc.property(fc.nat(255), fc.uint8Array({ maxLength: 120 }), version, (first, body, version) => {
      assertSound(decodeClientPacket(Uint8Array.of(first, body.length, ...body), version));
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("decodeClientPacket returns a value for golden packets with changed bytes [MQTT-4.13.1-1]", () => {
  const change = fc.tuple(fc.nat(200), fc.nat(255));
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...GOLDEN),
      fc.array(change, { minLength: 1, maxLength: 3 }),
      version,
      (golden, changes, version) => {
        const packet = golden.slice();
        for (const [at, value] of changes) packet[at % packet.length] = value;
        const result = decodeClientPacket(packet, version);
        assertSound(result);
        if (!(result instanceof Fault)) accepted++;
      },
    ),
    { numRuns: 5_000 },
  );
  assert(accepted > 50, "hardly any changed packet was legal");
});

function assertSound(result: ClientPacket | Fault): void {
  if (result instanceof Fault) {
    assert(result.reasonCode >= 0x81 && result.reasonCode <= 0x84);
    return;
  }
  switch (result.type) {
    case PacketType.CONNECT:
      assert([3, 4, 5].includes(result.version));
      assert(result.receiveMaximum > 0 && result.maximumPacketSize > 0);
      assert(result.will === undefined || result.will.qos <= 2);
      assert(!result.clientId.includes("\0"));
      break;
    case PacketType.SUBSCRIBE:
      assert(result.packetId > 0 && result.subscriptions.length > 0);
      assert(result.subscriptions.every(({ qos, retainHandling }) => qos <= 2 && retainHandling <= 2));
      break;
    case PacketType.UNSUBSCRIBE:
      assert(result.packetId > 0 && result.filters.length > 0);
      break;
    case PacketType.AUTH:
      assert(result.authenticationMethod !== undefined);
      break;
    case PacketType.DISCONNECT:
    case PacketType.PINGREQ:
      break;
  }
}
