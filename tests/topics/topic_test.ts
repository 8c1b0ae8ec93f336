import * as assert from "node:assert/strict";
import * as fc from "fast-check";
import { hashTopicName, type Topic, TopicCache } from "../../src/topics/topic.ts";
import { topicName } from "./topic_model.ts";

const ENCODER = new TextEncoder();

/** Looks a name up in the middle of a larger buffer, as the codec does. */
function lookup(cache: TopicCache, name: string): Topic | undefined {
  const text = ENCODER.encode(name);
  const bytes = new Uint8Array(text.length + 6).fill(0x23);
  bytes.set(text, 3);
  const topic = cache.lookup(bytes, 3, 3 + text.length);
  // The read buffer is reused: a Topic that kept a view of it would change now.
  bytes.fill(0xff);
  return topic;
}

Deno.test("TopicCache.lookup returns the same Topic for the same bytes, and different ones for different", () => {
  const cache = new TopicCache();
  const first = lookup(cache, "a/b");
  const other = lookup(cache, "a/c");
  assert.ok(first !== undefined && other !== undefined);
  assert.equal(lookup(cache, "a/b"), first);
  assert.equal(lookup(cache, "a/c"), other);
  assert.notEqual(first, other);
  assert.equal(cache.size, 2);
});

Deno.test("TopicCache.lookup gives name and wire form, length prefix big-endian", () => {
  const topic = lookup(new TopicCache(), "é/1");
  assert.equal(topic?.name, "é/1");
  assert.deepEqual(topic.utf8, new Uint8Array([0, 4, 0xc3, 0xa9, 0x2f, 0x31]));
  const long = lookup(new TopicCache(), "x".repeat(300));
  assert.deepEqual([long?.utf8[0], long?.utf8[1], long?.utf8.length], [1, 44, 302]);
});

Deno.test("TopicCache.lookup keeps a leading U+FEFF and normalizes nothing [MQTT-1.5.4-3] [MQTT-4.7.3-4]", () => {
  const cache = new TopicCache();
  assert.equal(lookup(cache, "\u{FEFF}a")?.name, "\u{FEFF}a");
  assert.notEqual(lookup(cache, "caf\u00e9"), lookup(cache, "cafe\u0301"));
  assert.notEqual(lookup(cache, "a"), lookup(cache, "A"));
});

Deno.test("TopicCache.lookup refuses illegal Topic Names [MQTT-3.3.2-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2]", () => {
  const cache = new TopicCache();
  for (const name of ["", "+", "a/#", "a\0"]) assert.equal(lookup(cache, name), undefined);
  assert.equal(cache.lookup(new Uint8Array([0xed, 0xa0, 0x80]), 0, 3), undefined);
  assert.equal(cache.size, 0);
});

Deno.test("TopicCache.lookup tells names apart that differ in one byte anywhere, beyond the hashed ends too", () => {
  const cache = new TopicCache();
  const base = "x".repeat(400);
  const topics = new Set<Topic>();
  for (let at = 0; at < 400; at += 7) {
    const name = `${base.slice(0, at)}y${base.slice(at + 1)}`;
    const topic = lookup(cache, name);
    assert.equal(topic?.name, name);
    topics.add(topic);
  }
  assert.equal(topics.size, 58);
});

Deno.test("TopicCache.lookup holds what explainTopicName holds: changed limits bind known topics at once", () => {
  const cache = new TopicCache();
  assert.ok(lookup(cache, "a/b/c"));
  cache.maxTopicLevels = 2;
  assert.equal(lookup(cache, "a/b/c"), undefined);
  assert.ok(lookup(cache, "abcdef"));
  cache.maxTopicLength = 5;
  assert.equal(lookup(cache, "abcdef"), undefined);
  assert.ok(lookup(cache, "abcde"));
  cache.maxTopicLevels = 3;
  assert.ok(lookup(cache, "a/b/c"));
});

Deno.test("TopicCache.intern meets the Topic that lookup made, and refuses lone surrogates [MQTT-1.5.4-1]", () => {
  const cache = new TopicCache();
  const topic = lookup(cache, "$SYS/broker/uptime");
  assert.ok(topic);
  assert.equal(cache.intern("other")?.name, "other");
  assert.equal(cache.intern("$SYS/broker/uptime"), topic);
  assert.equal(cache.intern("a/\ud800"), undefined);
  assert.equal(cache.intern("a/+"), undefined);
  assert.equal(cache.intern(""), undefined);
});

Deno.test("TopicCache keeps at most its capacity, whatever is looked up, and always answers right", () => {
  const cache = new TopicCache(64);
  assert.equal(cache.capacity, 64);
  for (let count = 0; count < 2000; count++) {
    assert.equal(lookup(cache, `site/${count}`)?.name, `site/${count}`);
    assert.ok(cache.size <= 64);
  }
  assert.equal(cache.size, 64);
  let visited = 0;
  cache.forEach((topic) => {
    assert.match(topic.name, /^site\/\d+$/);
    visited++;
  });
  assert.equal(visited, 64);
});

Deno.test("TopicCache keeps a topic in use while others pass through its set", () => {
  const cache = new TopicCache(4);
  const hot = lookup(cache, "hot");
  for (let count = 0; count < 500; count++) {
    lookup(cache, `passing/${count}`);
    assert.equal(lookup(cache, "hot"), hot);
  }
});

Deno.test("TopicCache does not keep names above 1024 bytes, so that they cannot fill the memory", () => {
  const cache = new TopicCache();
  const longest = lookup(cache, "x".repeat(1024));
  assert.equal(cache.size, 1);
  const longer = lookup(cache, "y".repeat(1025));
  assert.equal(longer?.name.length, 1025);
  assert.equal(cache.size, 1);
  lookup(cache, "between");
  assert.notEqual(lookup(cache, "y".repeat(1025)), longer);
  assert.equal(lookup(cache, "x".repeat(1024)), longest);
});

Deno.test("TopicCache with eviction agrees with the bytes, in any sequence of names", () => {
  fc.assert(fc.property(fc.array(topicName, { maxLength: 60 }), (names) => {
    const cache = new TopicCache(8);
    for (const name of names) {
      const topic = lookup(cache, name);
      assert.equal(topic?.name, name);
      assert.deepEqual(topic.utf8.subarray(2), ENCODER.encode(name));
      assert.equal(lookup(cache, name), topic);
    }
  }));
});

Deno.test("hashTopicName depends on the text alone, not on its place in the buffer", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(9), (text, offset) => {
    const bytes = new Uint8Array(text.length + 20).fill(7);
    bytes.set(text, offset);
    assert.equal(hashTopicName(bytes, offset, offset + text.length), hashTopicName(text, 0, text.length));
  }));
});

Deno.test("hashTopicName spreads numbered topics over sets: no set of 4096 holds 20 of 16384", () => {
  const counts = new Uint32Array(4096);
  for (let count = 0; count < 16_384; count++) {
    const text = ENCODER.encode(`bench/device/${count}`);
    counts[hashTopicName(text, 0, text.length) & 4095]!++;
  }
  assert.ok(Math.max(...counts) < 20, `fullest set holds ${Math.max(...counts)}`);
});
