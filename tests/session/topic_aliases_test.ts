/**
 * Topic Aliases in both directions, and the bounds of their tables.
 */

import assert from "node:assert/strict";
import { Message } from "../../src/protocol/message.ts";
import { NO_IDENTIFIERS, PublishEncoder } from "../../src/protocol/publish_encoder.ts";
import { WriteBuffer } from "../../src/protocol/write_buffer.ts";
import { InboundAliases, OutboundAliases } from "../../src/session/topic_aliases.ts";
import { type Topic, TopicCache } from "../../src/topics/topic.ts";

const TOPICS = new TopicCache();

function topicOf(name: string): Topic {
  return TOPICS.intern(name)!;
}

Deno.test("InboundAliases know what was set, last setting wins [MQTT-3.3.2-12]", () => {
  const aliases = new InboundAliases();
  assert.equal(aliases.get(1), undefined);
  assert.equal(aliases.set(1, topicOf("a")), true);
  assert.equal(aliases.set(65_535, topicOf("b")), true);
  assert.equal(aliases.get(1), topicOf("a"));
  assert.equal(aliases.get(65_535), topicOf("b"));
  assert.equal(aliases.set(1, topicOf("c")), true);
  assert.equal(aliases.get(1), topicOf("c"));
  assert.equal(aliases.get(2), undefined);
});

Deno.test("InboundAliases hold 65 535 usual topics", () => {
  const aliases = new InboundAliases();
  const topic = topicOf("x".repeat(64));
  for (let alias = 1; alias <= 65_535; alias++) assert(aliases.set(alias, topic));
});

Deno.test("InboundAliases refuse to keep alive more memory than a connection may, and keep what they had", () => {
  const aliases = new InboundAliases();
  const long = topicOf("x".repeat(60_000));
  const other = topicOf("y".repeat(60_000));
  let alias = 1;
  // Bounded: this many long names would be 4 GB.
  while (alias <= 65_535 && aliases.set(alias, long)) alias++;
  assert(alias > 60 && alias < 80, `${alias} aliases of 60 kB`);
  assert.equal(aliases.get(alias), undefined);
  assert.equal(aliases.get(alias - 1), long);
  assert.equal(aliases.set(1, other), true, "a replacement of the same size takes no more memory");
  assert.equal(aliases.set(1, topicOf("short")), true);
  assert.equal(aliases.set(alias, long), true, "what was replaced makes room");
});

Deno.test("OutboundAliases give each topic its own alias and find it again", () => {
  const aliases = new OutboundAliases(3);
  assert.equal(aliases.find("a"), 0);
  for (const [index, name] of ["a", "b", "c"].entries()) {
    assert.equal(aliases.next, index + 1);
    aliases.assign(name);
    assert.equal(aliases.find(name), index + 1);
  }
  assert.equal(aliases.find("a"), 1);
});

Deno.test("OutboundAliases replace the oldest once all are used, never above the client's maximum [MQTT-3.1.2-26]", () => {
  const aliases = new OutboundAliases(2);
  for (let count = 0; count < 100; count++) {
    assert(aliases.next === 1 || aliases.next === 2);
    const alias = aliases.next;
    aliases.assign(`t${count}`);
    assert.equal(aliases.find(`t${count}`), alias);
    if (count >= 1) assert.equal(aliases.find(`t${count - 1}`), 3 - alias);
    if (count >= 2) assert.equal(aliases.find(`t${count - 2}`), 0);
  }
});

Deno.test("OutboundAliases are bounded for a client that allows 65 535", () => {
  const aliases = new OutboundAliases(65_535);
  let known = 0;
  for (let count = 0; count < 1000; count++) aliases.assign(`t${count}`);
  for (let count = 0; count < 1000; count++) if (aliases.find(`t${count}`) !== 0) known++;
  assert.equal(known, 256);
});

/** Writes QoS 0 with payload `x` towards `aliases`, and returns the bytes written. */
function writeAliased(aliases: OutboundAliases, topic: string, sizeMax: number): number[] {
  const message = new Message();
  message.setTopic(topicOf(topic).utf8);
  message.setPayload(Uint8Array.of(0x78), 0, 1);
  const out = new WriteBuffer(64);
  const encoder = new PublishEncoder();
  encoder.begin(message, 0, 1);
  const size = encoder.writeAliased(out, aliases, 0, 0, NO_IDENTIFIERS, sizeMax);
  assert.equal(out.length, size);
  return [...out.bytes.subarray(0, size)];
}

Deno.test("OutboundAliases introduce a topic only where the alias fits the client's Maximum Packet Size [MQTT-3.1.2-24]", () => {
  const aliases = new OutboundAliases(5);
  const plain = [0x30, 7, 0, 3, 0x61, 0x2f, 0x62, 0, 0x78];
  const introducing = [0x30, 10, 0, 3, 0x61, 0x2f, 0x62, 3, 0x23, 0, 1, 0x78];
  assert.deepEqual(writeAliased(aliases, "a/b", plain.length - 1), []);
  assert.deepEqual(writeAliased(aliases, "a/b", plain.length), plain);
  assert.deepEqual(writeAliased(aliases, "a/b", introducing.length - 1), plain);
  // The client has not been told of an alias so far.
  assert.deepEqual([aliases.find("a/b"), aliases.next], [0, 1]);
  assert.deepEqual(writeAliased(aliases, "a/b", introducing.length), introducing);
  assert.deepEqual([aliases.find("a/b"), aliases.next], [1, 2]);
});

Deno.test("OutboundAliases are left out where a known alias takes more than its short topic and does not fit [MQTT-3.1.2-24]", () => {
  const aliases = new OutboundAliases(5);
  aliases.assign("t");
  const plain = [0x30, 5, 0, 1, 0x74, 0, 0x78];
  const aliased = [0x30, 7, 0, 0, 3, 0x23, 0, 1, 0x78];
  assert.deepEqual(writeAliased(aliases, "t", aliased.length), aliased);
  assert.deepEqual(writeAliased(aliases, "t", aliased.length - 1), plain);
  assert.deepEqual(writeAliased(aliases, "t", plain.length), plain);
  assert.deepEqual(writeAliased(aliases, "t", plain.length - 1), []);
  assert.deepEqual([aliases.find("t"), aliases.next], [1, 2]);
});
