/** The rules about single bytes, over all 256 values of each. */

import assert from "node:assert/strict";
import { PacketType, type ProtocolVersion } from "../../src/protocol/packets.ts";
import {
  validateAuthReason,
  validateConnectFlags,
  validateDisconnectReason,
  validateHeaderFlags,
  validateSubscriptionOptions,
} from "../../src/protocol/validate.ts";

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
const BYTES = Array.from({ length: 256 }, (_, value) => value);

Deno.test("validateHeaderFlags accepts one value per packet type [MQTT-2.1.3-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]", () => {
  const { CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH } = PacketType;
  for (const version of VERSIONS) {
    for (const type of [CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH]) {
      const isRequest = type === SUBSCRIBE || type === UNSUBSCRIBE;
      const legal = isRequest ? version === 3 ? [2, 10] : [2] : [0];
      const accepted = BYTES.slice(0, 16).filter((flags) => validateHeaderFlags(type, flags, version) === undefined);
      assert.deepEqual(accepted, legal, `type ${type}, version ${version}`);
    }
  }
});

Deno.test("validateConnectFlags accepts the combinations of its version [MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13]", () => {
  // User Name and Password: 4 combinations in v5, 3 before. Will: none, or 3 QoS × Retain. Clean Start: 2. Bit 0: v3 only.
  const counts = VERSIONS.map((version) =>
    BYTES.filter((flags) => validateConnectFlags(flags, version) === undefined).length
  );
  assert.deepEqual(counts, [3 * 7 * 2 * 2, 3 * 7 * 2, 4 * 7 * 2]);
  for (const flags of BYTES) {
    const [v3, v4, v5] = VERSIONS.map((version) => validateConnectFlags(flags, version)?.statement);
    const isPasswordAlone = (flags & 0xc0) === 0x40;
    if ((flags & 1) !== 0) assert.deepEqual([v4, v5], ["MQTT-3.1.2-3", "MQTT-3.1.2-3"]);
    else assert.equal(v3, v4);
    if ((flags & 1) === 0 && !isPasswordAlone) assert.equal(v4, v5);
  }
});

Deno.test("validateSubscriptionOptions accepts 36 bytes in v5 and three before [MQTT-3.8.3-5]", () => {
  const accepted = (version: ProtocolVersion, filter: string) =>
    BYTES.filter((options) => validateSubscriptionOptions(options, filter, version) === undefined);
  assert.deepEqual(accepted(3, "a"), [0, 1, 2]);
  assert.deepEqual(accepted(4, "a"), [0, 1, 2]);
  const v5 = accepted(5, "a");
  assert.equal(v5.length, 3 * 2 * 2 * 3);
  assert(v5.every((options) => (options & 0xc0) === 0 && (options & 3) !== 3 && options >> 4 !== 3));
});

Deno.test("validateSubscriptionOptions refuses No Local on Shared Subscriptions only [MQTT-3.8.3-4]", () => {
  assert.equal(validateSubscriptionOptions(0x04, "$share/g/a", 5)?.statement, "MQTT-3.8.3-4");
  assert.equal(validateSubscriptionOptions(0x00, "$share/g/a", 5), undefined);
  for (const filter of ["$shared/g/a", "$share", "a/$share/g", "$SYS/#", "#"]) {
    assert.equal(validateSubscriptionOptions(0x04, filter, 5), undefined, filter);
  }
});

Deno.test("validateDisconnectReason accepts the Reason Codes of a client [MQTT-3.14.2-1]", () => {
  const accepted = BYTES.filter((code) => validateDisconnectReason(code) === undefined);
  assert.deepEqual(accepted, [0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]);
});

Deno.test("validateAuthReason accepts the Reason Codes of a client [MQTT-3.15.2-1]", () => {
  assert.deepEqual(BYTES.filter((code) => validateAuthReason(code) === undefined), [0x18, 0x19]);
});
