/**
 * The way in of a Session: Packet Identifiers across connections and what they cost. What the packets of a client do to
 * it is tested with the packet handler, its quota too.
 */

import assert from "node:assert/strict";
import { HandlerRig } from "./handler_rig.ts";

/** The client completes a QoS 2 message up to its PUBREL. */
function sendQos2(rig: HandlerRig, messageId: number): void {
  assert.equal(rig.send({ qos: 2, messageId }), undefined);
  assert.equal(rig.receive({ cmd: "pubrel", messageId }), undefined);
}

Deno.test("Inbound of a client that is away and has no open Packet Identifier takes no memory for them", () => {
  const rig = new HandlerRig();
  const { inbound } = rig.session;
  assert.equal(inbound.bytesHeld, 0);
  for (let connection = 0; connection < 2; connection++) {
    sendQos2(rig, 1);
    sendQos2(rig, 65_535);
    assert.equal(inbound.bytesHeld, 8_192, "it is kept while more may come");
    rig.disconnect();
    assert.equal(inbound.bytesHeld, 0);
    rig.connect();
  }
});

Deno.test("Inbound keeps an open Packet Identifier while the client is away [MQTT-4.3.3-10]", () => {
  const rig = new HandlerRig();
  sendQos2(rig, 1);
  assert.equal(rig.send({ qos: 2, messageId: 7 }), undefined);
  rig.disconnect();
  assert.deepEqual([1, 7].map((packetId) => rig.session.inbound.isOpen(packetId)), [false, true]);
  rig.connect();
  assert.equal(rig.send({ qos: 2, messageId: 7, dup: true }), undefined);
  assert.equal(rig.host.published.length, 2, "a repetition is not routed again");
  assert.equal(rig.receive({ cmd: "pubrel", messageId: 7 }), undefined);
  assert.deepEqual(rig.host.calls, ["release #1", "acknowledge 0x50 #7 0x0", "release #7"]);
  rig.disconnect();
  assert.equal(rig.session.inbound.bytesHeld, 0);
});
