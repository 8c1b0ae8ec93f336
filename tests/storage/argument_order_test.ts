/**
 * Goal: two arguments of a step of a delivery that change places do not compile. Exactly once hangs on their order, and at
 * run time all of them are numbers.
 *
 * Method: types are asked whether the parameters, with any two of them exchanged, would still be taken. The answers are
 * the types of the constants below, so a wrong one is an error of the compiler; the tests only tell that it ran.
 */

import assert from "node:assert/strict";
import type { Inbound } from "../../src/session/inbound.ts";
import type { Outbox } from "../../src/session/outbox.ts";
import type { writeProgress, writePublish, writeRelease } from "../../src/storage/log/record.ts";
import type { WriteAheadLog } from "../../src/storage/log/write_ahead_log.ts";
import type { MessageStore } from "../../src/storage/message_store.ts";
import type { ReplayedGroups } from "../../src/storage/recovery/replayed_groups.ts";

type Arguments = readonly unknown[];
/** "0", "1", … */
type IndexOf<Args extends Arguments> = Extract<Exclude<keyof Args, keyof []>, string>;
type Exchanged<Args extends Arguments, A extends string, B extends string> = {
  [I in keyof Args]: I extends A ? Args[B & keyof Args] : I extends B ? Args[A & keyof Args] : Args[I];
};
/** Every way to exchange two of the arguments. */
type AnyExchange<Args extends Arguments, A extends string = IndexOf<Args>, B extends string = IndexOf<Args>> = A extends
  string ? B extends string ? A extends B ? never : Exchanged<Args, A, B> : never
  : never;
/** False when some two arguments can change places. */
type IsOrderFixed<Args extends Arguments> = [Extract<AnyExchange<Args>, Args>] extends [never] ? true : false;
/** True when both take the same arguments in one order. */
type IsOneOrder<A extends Arguments, B extends Arguments> = [A, B] extends [B, A]
  ? [IsOrderFixed<A>, IsOrderFixed<B>] extends [true, true] ? true : false
  : false;

type Port = MessageStore["Service"];
type Step = Parameters<Port["appendProgress"]>;
type Append = Parameters<Port["append"]>;
type Release = Parameters<Port["appendRelease"]>;
/** Without the place that is written to. */
type ArgumentsAt<Write extends (...args: never) => void> = Parameters<Write> extends
  readonly [into: unknown, start: unknown, ...rest: infer Rest extends Arguments] ? Rest : never;
type WithoutLast<Args extends Arguments> = Args extends readonly [...infer Rest, unknown] ? Rest : never;
type WithoutFirst<Args extends Arguments> = Args extends readonly [unknown, ...infer Rest] ? Rest : never;

Deno.test("the check of argument order finds two arguments that can change places", () => {
  const found: [IsOrderFixed<[number, number]>, IsOneOrder<[string, number, number], [string, number, number]>] = [
    false,
    false,
  ];
  const fixed: [IsOrderFixed<[number, string]>, IsOneOrder<[string, number], [string, number]>] = [true, true];
  assert.deepEqual([...found, ...fixed], [false, false, true, true]);
});

Deno.test("arguments of a step of a delivery cannot change places", () => {
  const ofLog: IsOneOrder<Parameters<WriteAheadLog["appendProgress"]>, Step> = true;
  const ofRecord: IsOneOrder<ArgumentsAt<typeof writeProgress>, Step> = true;
  const ofReplay: IsOneOrder<WithoutLast<Parameters<ReplayedGroups["progress"]>>, Step> = true;
  assert.deepEqual([ofLog, ofRecord, ofReplay], [true, true, true]);
});

Deno.test("arguments of a message and of its release cannot change places", () => {
  const ofLog: IsOneOrder<Parameters<WriteAheadLog["appendPublish"]>, Append> = true;
  const ofRecord: IsOneOrder<WithoutFirst<ArgumentsAt<typeof writePublish>>, Append> = true;
  const ofRelease: IsOneOrder<Parameters<WriteAheadLog["appendRelease"]>, Release> = true;
  const ofReleaseRecord: IsOneOrder<ArgumentsAt<typeof writeRelease>, Release> = true;
  assert.deepEqual([ofLog, ofRecord, ofRelease, ofReleaseRecord], [true, true, true, true]);
});

Deno.test("arguments of a delivery cannot be a position where a Packet Identifier stands", () => {
  type Released = Parameters<Inbound["release"]>[0];
  type Delivered = Parameters<Outbox["deliverStored"]>[1];
  const isMixedUp: [Delivered extends Released ? true : false, Released extends Delivered ? true : false] = [
    false,
    false,
  ];
  assert.deepEqual(isMixedUp, [false, false]);
});
