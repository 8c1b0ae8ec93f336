/**
 * The kinds of value an option can have: how each is read from text, and what it expects in words.
 *
 * File, environment and flags all end up as text, so one codec per kind serves the three. Units are taken off here
 * and nowhere else: durations become milliseconds or seconds, sizes bytes, addresses a host and a port.
 *
 * Knows nothing of keys, places or precedence.
 */

import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import * as SchemaIssue from "effect/SchemaIssue";
import * as SchemaTransformation from "effect/SchemaTransformation";
import { type BindAddress, formatBindAddress } from "../../system/bind_address.ts";

/** One kind of value: text in, `T` out, and back again for `config show` and the reference. */
export interface ValueType<T> {
  /** Decodes the text of any source; encodes a value in the shortest spelling that decodes to it again. */
  readonly codec: Schema.Codec<T, string>;
  /** Completes the sentence "expected …". */
  readonly expected: string;
  /** Shown in the help after the flag; undefined = a switch that needs no value. */
  readonly metavar: string | undefined;
  /** True = a file may also hold a list of scalars, which is read as their texts joined by commas. */
  readonly isList?: boolean;
  /** Hides what may be secret in a refused text, before a message shows it. */
  readonly redact?: (text: string) => string;
}

/** Inclusive bounds; without `max` the largest exact integer. */
export interface Bounds {
  readonly min: number;
  readonly max?: number;
}

const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ["GiB", 2 ** 30],
  ["GB", 1e9],
  ["MiB", 2 ** 20],
  ["MB", 1e6],
  ["KiB", 2 ** 10],
  ["kB", 1e3],
  ["B", 1],
]);

const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
]);

/** `true` or `false`, also `yes no on off 1 0`, in any case. */
export function boolean(): ValueType<boolean> {
  return {
    codec: textCodec(
      Schema.Boolean,
      (text) =>
        /^(true|yes|on|1)$/i.test(text)
          ? Option.some(true)
          : /^(false|no|off|0)$/i.test(text)
          ? Option.some(false)
          : Option.none(),
      String,
    ),
    expected: "true or false",
    metavar: undefined,
  };
}

/** One of a few words, in any case. Also numbers and booleans that are read as words, such as a QoS. */
export function oneOf<const T extends readonly (string | number | boolean)[]>(...choices: T): ValueType<T[number]> {
  const byText = new Map<string, T[number]>(choices.map((choice) => [String(choice).toLowerCase(), choice]));
  const target = Schema.declare((value): value is T[number] => choices.some((choice) => choice === value));
  return {
    codec: textCodec(target, (text) => Option.fromUndefinedOr(byText.get(text.toLowerCase())), String),
    expected: listWords(choices.map(String)),
    metavar: choices.join("|"),
  };
}

/** A whole number within bounds. */
export function integer(bounds: Bounds): ValueType<number> {
  return {
    codec: numberCodec(bounds, (text) => /^[+-]?\d+$/.test(text) ? Number(text) : undefined, String),
    expected: `a whole number ${describeBounds(bounds, String)}`,
    metavar: "number",
  };
}

/** A size in bytes: `65536`, `64KiB`, `100MB`. */
export function size(bounds: Bounds): ValueType<number> {
  return {
    codec: numberCodec(bounds, parseSize, formatSize),
    expected: `a size like 65536, 64KiB or 100MB, ${describeBounds(bounds, formatSize)}`,
    metavar: "size",
  };
}

/** A duration in milliseconds: `100ms`, `30s`, `5m`, `2h`. A bare number has no unit and is refused, except 0. */
export function durationMs(bounds: Bounds): ValueType<number> {
  return {
    codec: numberCodec(bounds, (text) => text === "0" ? 0 : parseDuration(text), formatDuration),
    expected: `a duration like 100ms, 30s, 5m or 2h, ${describeBounds(bounds, formatDuration)}`,
    metavar: "duration",
  };
}

/** Whole seconds, the unit of the protocol: a bare `60`, or a duration such as `90s` or `2h`. */
export function seconds(bounds: Bounds): ValueType<number> {
  return {
    codec: numberCodec(bounds, parseSeconds, String),
    expected: `whole seconds like 60, or a duration like 90s or 2h, ${describeBounds(bounds, String)}`,
    metavar: "seconds",
  };
}

/** Whole milliseconds where a bare number is customary: `30000`, or a duration such as `30s`. */
export function milliseconds(bounds: Bounds): ValueType<number> {
  return {
    codec: numberCodec(bounds, (text) => /^\d+$/.test(text) ? Number(text) : parseDuration(text), String),
    expected: `milliseconds like 30000, or a duration like 500ms or 30s, ${describeBounds(bounds, String)}`,
    metavar: "duration",
  };
}

/** `host:port`, `:port`, `port` or `[::1]:port`; the empty text means disabled and decodes to undefined. */
export function bindAddress(): ValueType<BindAddress | undefined> {
  const target = Schema.UndefinedOr(Schema.Struct({ hostname: Schema.String, port: Schema.Int }));
  return {
    codec: textCodec(target, parseBindAddress, (address) => address === undefined ? "" : formatBindAddress(address)),
    expected: 'an address like 0.0.0.0:1883, [::1]:1883 or :1883 with a port from 0 to 65535, or "" to disable',
    metavar: "host:port",
  };
}

/** A file path; the empty text means none and decodes to undefined. */
export function optionalPath(): ValueType<string | undefined> {
  return { codec: optionalPathCodec(), expected: 'a file path, or "" for none', metavar: "file" };
}

/** The path of a directory; the empty text means the usual place and decodes to undefined. */
export function optionalDirectory(): ValueType<string | undefined> {
  return { codec: optionalPathCodec(), expected: 'a directory path, or "" for the usual place', metavar: "directory" };
}

/** The path of a directory. */
export function directory(): ValueType<string> {
  return {
    codec: textCodec(
      Schema.String,
      (text) => text === "" || text.includes("\0") ? Option.none() : Option.some(text),
      (path) => path,
    ),
    expected: "a directory path",
    metavar: "directory",
  };
}

/** How many of something per second; 0 = unbounded. */
export function rate(): ValueType<number> {
  return { ...integer({ min: 0, max: RATE_MAX }), metavar: "per-second" };
}

/** More than one process can see of anything. */
const RATE_MAX = 1_000_000_000;

/** Text on one line that is not empty. */
export function text(): ValueType<string> {
  return {
    codec: textCodec(Schema.String, (given) => isOneLine(given) ? Option.some(given) : Option.none(), (value) => value),
    expected: "text on one line",
    metavar: "text",
  };
}

/** Text on one line; the empty text means none and decodes to undefined. */
export function optionalText(): ValueType<string | undefined> {
  return { ...optional(text()), expected: 'text on one line, or "" for none' };
}

/** A value that may be missing: the empty text decodes to undefined. */
export function optional<T>(type: ValueType<T>): ValueType<T | undefined> {
  const target = Schema.declare((value): value is T | undefined => value === undefined || Schema.is(type.codec)(value));
  return {
    ...type,
    codec: textCodec<T | undefined>(
      target,
      (given) => given === "" ? Option.some(undefined) : Result.getSuccess(Schema.decodeResult(type.codec)(given)),
      (value) => value === undefined ? "" : Schema.encodeSync(type.codec)(value),
    ),
    expected: `${type.expected}, or "" to leave it open`,
  };
}

/** The path part of a URL: starts with `/`, no query, fragment or white space. */
export function urlPath(): ValueType<string> {
  return {
    codec: textCodec(
      Schema.String,
      (text) => isUrlPath(text) ? Option.some(text) : Option.none(),
      (path) => path,
    ),
    expected: "a URL path that starts with /",
    metavar: "path",
  };
}

/** Whether a text is what {@link urlPath} takes. */
export function isUrlPath(text: string): boolean {
  return /^\/[^\s?#]*$/.test(text);
}

function optionalPathCodec(): Schema.Codec<string | undefined, string> {
  return textCodec(
    Schema.UndefinedOr(Schema.String),
    (text) => text.includes("\0") ? Option.none() : Option.some(text === "" ? undefined : text),
    (path) => path ?? "",
  );
}

/** The codec of a kind of value, from how its text, without white space around it, is read and written. */
export function textCodec<T>(
  target: Schema.Codec<T>,
  parse: (text: string) => Option.Option<T>,
  format: (value: T) => string,
): Schema.Codec<T, string> {
  return Schema.String.pipe(Schema.decodeTo(
    target,
    SchemaTransformation.transformEffect<T, string>({
      decode: (text, options) => {
        const parsed = parse(text.trim());
        return Option.isSome(parsed)
          ? Effect.succeed(parsed.value)
          : Effect.fail(new SchemaIssue.InvalidValue({ message: "not readable" }, text, options));
      },
      encode: (value) => Effect.succeed(format(value)),
    }),
  ));
}

function numberCodec(
  bounds: Bounds,
  parse: (text: string) => number | undefined,
  format: (value: number) => string,
): Schema.Codec<number, string> {
  const max = bounds.max ?? Number.MAX_SAFE_INTEGER;
  return textCodec(Schema.Finite, (text) => {
    const value = parse(text);
    return value !== undefined && value >= bounds.min && value <= max ? Option.some(value) : Option.none();
  }, format);
}

function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text);
  if (match === null) return undefined;
  const name = match[2] === "" ? "b" : match[2]?.toLowerCase();
  for (const [unit, bytes] of SIZE_UNITS) {
    if (unit.toLowerCase() === name) return Math.round(Number(match[1]) * bytes);
  }
  return undefined;
}

function formatSize(bytes: number): string {
  if (bytes === 0) return "0";
  for (const [unit, factor] of SIZE_UNITS) {
    if (unit !== "B" && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return String(bytes);
}

/** Adds up parts such as `1h30m`, so that the compound spelling of other tools is read as meant. */
function parseDuration(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) return undefined;
  let milliseconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    milliseconds += Number(amount) * (DURATION_UNITS.get(unit ?? "") ?? NaN);
  }
  return Math.round(milliseconds);
}

function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return "0";
  for (const [unit, factor] of DURATION_UNITS) {
    if (milliseconds % factor === 0) return `${milliseconds / factor}${unit}`;
  }
  return `${milliseconds}ms`;
}

function parseSeconds(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text);
  const milliseconds = parseDuration(text);
  return milliseconds !== undefined && milliseconds % 1000 === 0 ? milliseconds / 1000 : undefined;
}

function parseBindAddress(text: string): Option.Option<BindAddress | undefined> {
  if (text === "") return Option.some(undefined);
  const match = /^(?:(?:\[([0-9a-f:.%]+)\]|([^\s:/[\]]*)):)?(\d{1,5})$/i.exec(text);
  if (match === null) return Option.none();
  const port = Number(match[3]);
  if (port > 65_535) return Option.none();
  return Option.some({ hostname: match[1] || match[2] || "0.0.0.0", port });
}

function isOneLine(given: string): boolean {
  // deno-lint-ignore no-control-regex -- control characters are what is looked for
  return given !== "" && !/[\0-\x1f\x7f]/.test(given);
}

function describeBounds(bounds: Bounds, format: (value: number) => string): string {
  return bounds.max === undefined
    ? `at least ${format(bounds.min)}`
    : `from ${format(bounds.min)} to ${format(bounds.max)}`;
}

/** `a, b or c`. */
export function listWords(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
