/**
 * How each kind of value is read and written. One table per kind: text and value, or undefined when it is refused.
 */

import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import assert from "node:assert/strict";
import {
  bindAddress,
  boolean,
  directory,
  durationMs,
  integer,
  milliseconds,
  oneOf,
  optional,
  optionalDirectory,
  optionalPath,
  optionalText,
  rate,
  seconds,
  size,
  text,
  urlPath,
  type ValueType,
} from "../../../src/config/kinds/value_types.ts";

const REFUSED = Symbol("refused");

function decodesTo<T>(name: string, type: ValueType<T>, table: readonly (readonly [string, T | typeof REFUSED])[]) {
  Deno.test(`${name} decodes its spellings and refuses others`, () => {
    for (const [text, expected] of table) {
      const result = Schema.decodeResult(type.codec)(text);
      assert.deepEqual(Result.isSuccess(result) ? result.success : REFUSED, expected, JSON.stringify(text));
    }
  });
  Deno.test(`${name} encodes to text that decodes to the same value`, () => {
    for (const [, value] of table) {
      if (value === REFUSED) continue;
      const text = Schema.encodeSync(type.codec)(value as T);
      assert.deepEqual(Schema.decodeSync(type.codec)(text), value, text);
    }
  });
}

decodesTo("boolean", boolean(), [
  ["true", true],
  ["YES", true],
  ["on", true],
  ["1", true],
  ["false", false],
  ["No", false],
  ["off", false],
  ["0", false],
  ["", REFUSED],
  ["2", REFUSED],
  ["truee", REFUSED],
]);

decodesTo("oneOf", oneOf(0, 1, true, "drop-oldest"), [
  ["0", 0],
  ["1", 1],
  ["true", true],
  ["Drop-Oldest", "drop-oldest"],
  ["2", REFUSED],
  ["", REFUSED],
]);

decodesTo("oneOf in capitals", oneOf("WAL", "OFF"), [["WAL", "WAL"], ["wal", "WAL"], ["Off", "OFF"], ["on", REFUSED]]);

decodesTo("integer", integer({ min: -5, max: 10 }), [
  ["10", 10],
  ["-5", -5],
  ["+3", 3],
  [" 4 ", 4],
  ["11", REFUSED],
  ["-6", REFUSED],
  ["1.0", REFUSED],
  ["1e1", REFUSED],
  ["0x1", REFUSED],
  ["", REFUSED],
]);

decodesTo("size", size({ min: 1, max: 2 ** 40 }), [
  ["65536", 65536],
  ["64KiB", 65536],
  ["64 kib", 65536],
  ["100MB", 100_000_000],
  ["1.5GiB", 1_610_612_736],
  ["7B", 7],
  ["3kB", 3000],
  ["0", REFUSED],
  ["2048GiB", REFUSED],
  ["12 parsecs", REFUSED],
  ["-1", REFUSED],
  ["KiB", REFUSED],
]);

decodesTo("durationMs", durationMs({ min: 0, max: 604_800_000 }), [
  ["100ms", 100],
  ["30s", 30_000],
  ["5m", 300_000],
  ["2h", 7_200_000],
  ["1h30m", 5_400_000],
  ["1.5s", 1500],
  ["7d", 604_800_000],
  ["0", 0],
  ["30", REFUSED],
  ["8d", REFUSED],
  ["-1s", REFUSED],
  ["soon", REFUSED],
  ["", REFUSED],
]);

decodesTo("durationMs from 1ms", durationMs({ min: 1 }), [["1ms", 1], ["0", REFUSED], ["0s", REFUSED]]);

decodesTo("seconds", seconds({ min: 0, max: 65_535 }), [
  ["60", 60],
  ["90s", 90],
  ["2h", 7200],
  ["0", 0],
  ["1500ms", REFUSED],
  ["65536", REFUSED],
  ["1.5", REFUSED],
]);

decodesTo("milliseconds", milliseconds({ min: 0, max: 60_000 }), [
  ["30000", 30_000],
  ["30s", 30_000],
  ["1m", 60_000],
  ["0", 0],
  ["60001", REFUSED],
  ["-1", REFUSED],
  ["1.5", REFUSED],
]);

decodesTo("directory", directory(), [["./data", "./data"], ["", REFUSED], ["a\0b", REFUSED]]);

decodesTo("optionalDirectory", optionalDirectory(), [["", undefined], ["a b/c", "a b/c"], ["a\0b", REFUSED]]);

decodesTo("bindAddress", bindAddress(), [
  ["", undefined],
  ["0.0.0.0:1883", { hostname: "0.0.0.0", port: 1883 }],
  ["localhost:0", { hostname: "localhost", port: 0 }],
  [":1883", { hostname: "0.0.0.0", port: 1883 }],
  ["1883", { hostname: "0.0.0.0", port: 1883 }],
  ["[::1]:65535", { hostname: "::1", port: 65535 }],
  ["::1:1883", REFUSED],
  ["localhost", REFUSED],
  ["localhost:65536", REFUSED],
  ["tcp://localhost:1883", REFUSED],
  ["local host:1", REFUSED],
]);

decodesTo("optionalPath", optionalPath(), [["", undefined], ["a b/c.log", "a b/c.log"], ["a\0b", REFUSED]]);

decodesTo("rate", rate(), [["0", 0], ["100", 100], ["-1", REFUSED], ["1.5", REFUSED], ["10/s", REFUSED], [
  "",
  REFUSED,
]]);

decodesTo("text", text(), [["sub", "sub"], [" a b ", "a b"], ["", REFUSED], ["a\nb", REFUSED], ["a\0", REFUSED]]);

decodesTo("optionalText", optionalText(), [["", undefined], ["uid={username}", "uid={username}"], ["a\tb", REFUSED]]);

decodesTo("optional", optional(oneOf(true, false, "loopback")), [
  ["", undefined],
  ["TRUE", true],
  ["false", false],
  ["Loopback", "loopback"],
  ["perhaps", REFUSED],
]);

decodesTo("urlPath", urlPath(), [["/", "/"], ["/mqtt", "/mqtt"], ["mqtt", REFUSED], ["/a?b", REFUSED], ["", REFUSED]]);

Deno.test("encoding picks the largest unit that divides the value", () => {
  assert.equal(Schema.encodeSync(size({ min: 0 }).codec)(268_435_456), "256MiB");
  assert.equal(Schema.encodeSync(size({ min: 0 }).codec)(100_000_000), "100MB");
  assert.equal(Schema.encodeSync(size({ min: 0 }).codec)(65_537), "65537");
  assert.equal(Schema.encodeSync(durationMs({ min: 0 }).codec)(90_000), "90s");
  assert.equal(Schema.encodeSync(durationMs({ min: 0 }).codec)(0), "0");
});
