/**
 * The log: one line per event, from plain code and from Effect code, through one sink.
 *
 * Plain code calls `write`, which is synchronous and cheap below the level. Effect code uses `Effect.log*` as usual;
 * the layer routes it here. The level is a plain number that may change at any time. Repeated faults go through
 * `limited`, which lets one line per key and second pass and says how many it held back.
 *
 * Messages are fixed sentences; what varies goes into fields with fixed names (`clientId`, `shard`, `offset`). Never
 * payloads, passwords or tokens.
 */

import * as Cause from "effect/Cause";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import * as References from "effect/References";
import { monotonicMs } from "../system/clock.ts";
import { LogFileUnavailable } from "./errors.ts";
import { type LogOutput, openLogOutput } from "./log_output.ts";
import { type Fields, type LineFormat, renderConsole, renderJson } from "./log_line.ts";
import { RateLimiter } from "./rate_limiter.ts";

/** Severities by name. Compare with `log.level`: `if (log.level <= Level.debug) log.write("debug", …)`. */
export const Level = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, fatal: 60 } as const;

/** Name of a severity. */
export type LevelName = keyof typeof Level;

/** How and where to log. */
export interface LogOptions {
  readonly level: LevelName;
  /** `auto` is `console` when standard error is a terminal and no file is given, `json` otherwise. */
  readonly format: "auto" | "json" | "console";
  /** Path of the log file, or undefined for standard error. */
  readonly file: string | undefined;
  /** Size in bytes at which the file is rotated. */
  readonly maxSizeBytes: number;
  /** Rotated files that are kept. */
  readonly maxFiles: number;
}

/** What plain code sees of the log. Nothing here throws or waits for anything but the write itself. */
export interface LogWriter {
  /** Least severity that is written; one of the numbers of {@link Level}. Assign to change it. */
  level: number;
  /** Writes one line, if the level lets it pass. */
  write(level: LevelName, message: string, fields?: Fields): void;
  /**
   * Like `write`, but at most once a second per key. Held back lines are counted and the count is given as field
   * `suppressed` of the next line of that key, or when none comes by a line of its own with the fields of the last
   * one held back.
   *
   * @param key What repeats, such as `read-failed` or `refused:10.0.0.1`. Only a bounded number is remembered.
   */
  limited(key: string, level: LevelName, message: string, fields?: Fields): void;
}

/** The log as a service; its layer also makes `Effect.log*` of everything above it write here. */
export class Log extends Context.Service<Log, LogWriter>()("promptmq/logging/Log") {
  /** Opens the output and closes it, after all lines, with the scope. Fails when the file cannot be opened. */
  static readonly layer = (options: LogOptions): Layer.Layer<Log, LogFileUnavailable> =>
    Layer.effectContext(Effect.gen(function* () {
      const output = yield* Effect.acquireRelease(
        Effect.try({
          try: () => openLogOutput(options),
          catch: (cause) => new LogFileUnavailable({ path: options.file ?? "", cause }),
        }),
        (opened) => Effect.sync(() => opened.close()),
      );
      const logger = makeLogger(options, output, Date.now, monotonicMs);
      yield* Effect.addFinalizer(() => Effect.sync(() => logger.flushSuppressed("all")));
      yield* Effect.forkScoped(
        Effect.forever(Effect.delay(Effect.sync(() => logger.flushSuppressed("elapsed")), "1 second")),
      );
      return Context.empty().pipe(
        Context.add(Log, logger.writer),
        Context.add(Logger.CurrentLoggers, new Set([makeEffectLogger(logger.writer)])),
        // Fibers let everything through: the level is checked here, where it can change at run time.
        Context.add(References.MinimumLogLevel, "All"),
      );
    }));
}

/** A log writer with what its owner must call. */
export interface OwnedLogger {
  readonly writer: LogWriter;
  /** Writes the counts still held back: of keys whose second is over, or of all. */
  readonly flushSuppressed: (which: "elapsed" | "all") => void;
}

/**
 * Builds the plain log over any output.
 *
 * @param wallMs Milliseconds since the epoch, for the lines.
 * @param steadyMs Milliseconds of a clock that nobody sets, for the rate limits.
 */
export function makeLogger(
  options: Pick<LogOptions, "level" | "format">,
  output: LogOutput,
  wallMs: () => number,
  steadyMs: () => number,
): OwnedLogger {
  const render = chooseFormat(options.format, output);
  const write = (level: LevelName, message: string, fields?: Fields) => {
    if (Level[level] >= writer.level) output.write(render(wallMs(), level, message, fields));
  };
  const limiter = new RateLimiter<LevelName, Fields | undefined>((level, message, fields, suppressed) => {
    write(level, message, { ...fields, suppressed });
  });
  const writer: LogWriter = {
    level: Level[options.level],
    write,
    limited: (key, level, message, fields) => {
      if (Level[level] < writer.level) return;
      const suppressed = limiter.admit(key, level, message, fields, steadyMs());
      if (suppressed !== undefined) write(level, message, suppressed === 0 ? fields : { ...fields, suppressed });
    },
  };
  return {
    writer,
    flushSuppressed: (which) => limiter.flush(which === "all" ? Infinity : steadyMs()),
  };
}

function chooseFormat(format: LogOptions["format"], output: LogOutput): LineFormat {
  const isConsole = format === "console" || (format === "auto" && output.isTerminal);
  if (!isConsole) return renderJson;
  const isColored = output.isTerminal && !Deno.noColor;
  return (timeMs, level, message, fields) => renderConsole(timeMs, level, message, fields, isColored);
}

const LEVEL_OF_EFFECT: Readonly<Record<string, LevelName>> = {
  Trace: "trace",
  Debug: "debug",
  Info: "info",
  Warn: "warn",
  Error: "error",
  Fatal: "fatal",
};

/** `Effect.logInfo("text", { field: 1 })`: words are the message, objects the fields, a cause the field `cause`. */
function makeEffectLogger(writer: LogWriter): Logger.Logger<unknown, void> {
  return Logger.make(({ logLevel, message, cause, fiber }) => {
    const level = LEVEL_OF_EFFECT[logLevel] ?? "info";
    if (Level[level] < writer.level) return;
    const fields: Record<string, unknown> = { ...fiber.getRef(References.CurrentLogAnnotations) };
    const words: string[] = [];
    for (const part of Array.isArray(message) ? message : [message]) {
      if (typeof part === "object" && part !== null && !(part instanceof Error)) Object.assign(fields, part);
      else words.push(String(part));
    }
    if (cause.reasons.length > 0) fields["cause"] = Cause.pretty(cause);
    writer.write(level, words.join(" "), fields);
  });
}
