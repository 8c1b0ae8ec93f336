/**
 * Properties on the wire: who may carry what, the scan of a PUBLISH, and what is forwarded.
 *
 * The golden rows are property areas without their length. The scan and the decoder must refuse the same areas with
 * the same fault, which random areas check.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { Fault, PacketType } from "../../src/protocol/packets.ts";
import {
  copyForwardableProperties,
  decodeProperties,
  PublishProperties,
  scanAckProperties,
  scanPublishProperties,
} from "../../src/protocol/properties.ts";
import { encodeProperties } from "../../src/protocol/property_encoder.ts";
import { WILL_OWNER } from "../../src/protocol/property_table.ts";
import { PROPERTY_OWNERS_GOLDEN, PROPERTY_SAMPLES, PUBLISH_PROPERTY_FAULTS } from "../golden/packets/properties.ts";
import { bytesOf } from "../golden/packets/row.ts";
import { binary, text, uint32, userProperties } from "./reference.ts";

for (const [name, owner, allowed] of PROPERTY_OWNERS_GOLDEN) {
  Deno.test(`decodeProperties accepts in ${name} exactly the properties of MQTT 5.0 section 2.2.2.2`, () => {
    for (let id = 0; id < 256; id++) {
      const sample = PROPERTY_SAMPLES.get(id) ?? "00";
      const area = Uint8Array.of(id, ...bytesOf(sample));
      const result = decodeProperties(area, 0, area.length, owner);
      if (allowed.includes(id)) assert(!(result instanceof Fault), `0x${id.toString(16)} is refused`);
      else assert(result instanceof Fault && result.reasonCode === 0x81, `0x${id.toString(16)} is accepted`);
    }
  });

  if (allowed.length === 0) continue;
  Deno.test(`decodeProperties refuses in ${name} a property that is cut off or there twice`, () => {
    for (const id of allowed) {
      const area = Uint8Array.of(id, ...bytesOf(PROPERTY_SAMPLES.get(id)!));
      for (let size = 1; size < area.length; size++) {
        const result = decodeProperties(area, 0, size, owner);
        assert(result instanceof Fault && result.reasonCode === 0x81, `0x${id.toString(16)} cut to ${size}`);
      }
      const twice = decodeProperties(Uint8Array.of(...area, ...area), 0, 2 * area.length, owner);
      const isRepeatable = id === 0x26 || (id === 0x0b && owner === PacketType.PUBLISH);
      if (isRepeatable) assert(!(twice instanceof Fault), `0x${id.toString(16)} twice is refused`);
      else assert(twice instanceof Fault && twice.reasonCode === 0x82, `0x${id.toString(16)} twice is accepted`);
    }
  });
}

for (const row of PUBLISH_PROPERTY_FAULTS) {
  Deno.test(`scanPublishProperties refuses ${row.title}`, () => {
    const area = bytesOf(row.bytes);
    const result = scanPublishProperties(area, 0, area.length, new PublishProperties());
    assert(result !== undefined, "accepted");
    assert.deepEqual([result.reasonCode, result.statement], [row.reasonCode, row.statement]);
  });
}

Deno.test("scanPublishProperties notes what routing needs and leaves no trace of the scan before", () => {
  const out = new PublishProperties();
  const full = bytesOf("aa 01 01 02 0000000a 08 0003 612f62 0b 05 0b 06 23 0102 26 0001 61 0001 62 bb");
  assert.equal(scanPublishProperties(full, 1, full.length - 1, out), undefined);
  assert.deepEqual({ ...out }, {
    topicAlias: 0x102,
    messageExpiryInterval: 10,
    payloadFormatUtf8: true,
    subscriptionIdentifierSeen: true,
    responseTopicStart: 11,
    responseTopicEnd: 14,
    hasStripped: true,
  });
  assert.equal(scanPublishProperties(full, 0, 0, out), undefined);
  assert.deepEqual(out, new PublishProperties());
});

Deno.test("scanPublishProperties reads the ends of the ranges", () => {
  const out = new PublishProperties();
  const area = bytesOf("01 00 02 ffffffff 23 ffff");
  assert.equal(scanPublishProperties(area, 0, area.length, out), undefined);
  assert.deepEqual([out.payloadFormatUtf8, out.messageExpiryInterval, out.topicAlias], [false, 0xffff_ffff, 65_535]);
  const zero = bytesOf("02 00000000");
  assert.equal(scanPublishProperties(zero, 0, zero.length, out), undefined);
  assert.equal(out.messageExpiryInterval, 0);
});

Deno.test("scanPublishProperties says that nothing is stripped when everything is forwarded", () => {
  const out = new PublishProperties();
  const area = bytesOf("01 01 03 0001 61 08 0001 62 09 0001 00 26 0001 61 0001 62");
  assert.equal(scanPublishProperties(area, 0, area.length, out), undefined);
  assert.equal(out.hasStripped, false);
});

Deno.test("scanAckProperties accepts a Reason String and User Properties and nothing else", () => {
  const legal = bytesOf("26 0001 61 0001 62 1f 0002 6f6b 26 0000 0000");
  assert.equal(scanAckProperties(legal, 0, legal.length), undefined);
  assert.equal(scanAckProperties(legal, 0, legal.length - 1)?.reasonCode, 0x81);
  assert.equal(scanAckProperties(bytesOf("01 00"), 0, 2)?.reasonCode, 0x81);
  const twice = bytesOf("1f 0000 1f 0000");
  assert.equal(scanAckProperties(twice, 0, twice.length)?.reasonCode, 0x82);
});

Deno.test("scanPublishProperties refuses what decodeProperties refuses, with the same fault", () => {
  const piece = fc.oneof(
    fc.constantFrom(...PROPERTY_SAMPLES).map(([id, sample]) => Uint8Array.of(id, ...bytesOf(sample))),
    fc.uint8Array({ maxLength: 3 }),
  );
  const area = fc.array(piece, { maxLength: 5 }).map((pieces) => Uint8Array.from(pieces.flatMap((part) => [...part])));
  const out = new PublishProperties();
  let faults = 0;
  fc.assert(
    fc.property(area, (bytes) => {
      const scanned = scanPublishProperties(bytes, 0, bytes.length, out);
      const decoded = decodeProperties(bytes, 0, bytes.length, PacketType.PUBLISH);
      if (scanned?.statement === "MQTT-3.3.2-14") return;
      assert.deepEqual(scanned, decoded instanceof Fault ? decoded : undefined);
      if (scanned !== undefined) faults++;
    }),
    { numRuns: 1_000 },
  );
  assert(faults > 100, "the areas were hardly ever illegal");
});

Deno.test("copyForwardableProperties leaves out what belongs to one hop and keeps the rest as it was [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]", () => {
  const rows: readonly [area: string, forwarded: string][] = [
    ["", ""],
    ["23 0001", ""],
    ["0b 01 02 0000000a 23 0001 18 00000001", ""],
    ["03 0001 61", "03 0001 61"],
    ["23 0001 03 0001 61", "03 0001 61"],
    ["03 0001 61 23 0001", "03 0001 61"],
    [
      "26 0001 62 0001 31 23 0001 26 0001 61 0001 32 0b ffff7f 26 0001 62 0001 33",
      "26 0001 62 0001 31 26 0001 61 0001 32 26 0001 62 0001 33",
    ],
    ["01 01 02 0000000a 08 0001 72 09 0002 2302 23 0001 03 0000", "01 01 08 0001 72 09 0002 2302 03 0000"],
  ];
  const long = `26 0001 61 0041 ${"78".repeat(65)}`;
  for (const [area, forwarded] of [...rows, [`23 0001 ${long} 02 00000001 ${long}`, `${long} ${long}`]] as const) {
    const source = bytesOf(`ee ${area} ee`);
    const target = new Uint8Array(source.length + 1).fill(0xdd);
    const end = copyForwardableProperties(source, 1, source.length - 1, target, 1);
    assert.deepEqual(target.subarray(1, end), bytesOf(forwarded), area);
    assert.equal(target[0], 0xdd);
    assert.equal(target[end], 0xdd, "wrote beyond its end");
  }
});

Deno.test("copyForwardableProperties throws on an area that was not checked instead of looping", () => {
  assert.throws(() => copyForwardableProperties(bytesOf("03 00ff 61"), 0, 4, new Uint8Array(8), 0), /not checked/);
});

Deno.test("decodeProperties returns what encodeProperties wrote, in copies of its own [MQTT-3.1.3-10]", () => {
  const drawn = fc.record({
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: uint32,
    contentType: text,
    responseTopic: text,
    correlationData: binary,
    userProperties: userProperties.filter((list) => list.length > 0).map((list) => [...list, ...list]),
    willDelayInterval: uint32,
  }, { requiredKeys: [], noNullPrototype: true });
  fc.assert(fc.property(drawn, (properties) => {
    const area = encodeProperties(properties);
    const decoded = decodeProperties(area, 0, area.length, WILL_OWNER);
    area.fill(0xee);
    assert.deepEqual(decoded, properties);
  }));
});
