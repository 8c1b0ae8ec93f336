/**
 * The ban file: bans that an operator wrote down, in force from the next second on, and lifted as soon as their line is
 * gone.
 *
 *     # One ban per line: client, user or address, then who, then until when.
 *     client   meter-17
 *     user     carol until 2027-01-31T18:00:00Z
 *     address  192.0.2.0/24 until 2027-02-01
 *     client   "a JSON string, where the value has blanks at its ends or looks like more than a value"
 *
 * Blanks within a value stay. A line that begins with `#` is a comment; elsewhere `#` is part of the value, as it may
 * well be of a Client Identifier. A day without a time begins in UTC. A file with a mistake is refused as a whole: at the
 * start the broker stops, and later the bans stay as they were.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Log } from "../../logging/log.ts";
import { Supervisor } from "../../logging/supervisor.ts";
import {
  type FileFollower,
  type FileUnreadable,
  followFiles,
  readWatchedFile,
  type WatchedFile,
} from "../../system/watched_file.ts";
import { AuthFileInvalid } from "../identity/errors.ts";
import { type Ban, type BanKind, BanList, isNetwork } from "./ban_list.ts";

/** The bans of the broker, kept equal to the ban file where there is one. */
export class BanFile extends Context.Service<BanFile, {
  readonly bans: BanList;
  /** Sets the one listener that hears of changes to the file's bans, so that clients banned by now can be disconnected. */
  whenChanged(listener: () => void): void;
}>()("promptmq/auth/BanFile") {
  /**
   * Reads the file and follows it.
   *
   * @param path Undefined = no file: nobody is banned.
   */
  static readonly layer = (
    path: string | undefined,
  ): Layer.Layer<BanFile, AuthFileInvalid | FileUnreadable, Log | Supervisor> =>
    Layer.effect(
      BanFile,
      Effect.gen(function* () {
        const log = yield* Log;
        const bans = new BanList();
        let onChanged: (() => void) | undefined;
        const service = BanFile.of({
          bans,
          whenChanged: (listener) => {
            onChanged = listener;
          },
        });
        if (path === undefined) return service;
        const file: WatchedFile = { path, purpose: "ban file" };
        const text = yield* readWatchedFile(file);
        const known = readBans(path, text);
        if (known instanceof AuthFileInvalid) return yield* known;
        bans.replace(known);
        const refuse = (problems: readonly string[]) => {
          for (const problem of problems) log.write("error", "bans refused", { problem });
        };
        const changed = (next: string) => {
          const read = readBans(path, next);
          if (read instanceof AuthFileInvalid) return refuse(read.problems);
          bans.replace(read);
          log.write("info", "bans replaced", { bans: read.length });
          onChanged?.();
        };
        const follower: FileFollower = {
          changed: ([next = ""]) => changed(next),
          failed: (error) => refuse([error.message]),
        };
        yield* Supervisor.fork("ban file", followFiles([file], follower, [text]));
        return service;
      }),
    );
}

/** Lines of a ban file that may be bans. */
export const FILE_BANS_MAX = 100_000;

/**
 * Reads the text of a ban file.
 *
 * @param path For the places of problems.
 */
export function readBans(path: string, text: string): Ban[] | AuthFileInvalid {
  const bans: Ban[] = [];
  const problems: string[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const ban = bans.length < FILE_BANS_MAX ? readLine(trimmed) : `more than ${FILE_BANS_MAX} bans`;
    if (typeof ban !== "string") bans.push(ban);
    else if (problems.push(`${path}:${index + 1}: ${ban}`) >= PROBLEMS_MAX) break;
  }
  return problems.length === 0 ? bans : new AuthFileInvalid({ path, problems });
}

/** @returns The ban, or what is wrong with the line. */
function readLine(line: string): Ban | string {
  const [, kind = "", rest = ""] = /^(\S+)\s*(.*)$/.exec(line)!;
  if (!isKind(kind)) return `expected client, user or address, received ${JSON.stringify(kind)}`;
  const isQuoted = rest.startsWith('"');
  const [, written = "", until] = (isQuoted ? QUOTED : PLAIN).exec(rest) ?? [];
  const value = isQuoted ? unquote(written) : written;
  if (value === undefined) return "expected a JSON string, with nothing but until and a time behind it";
  if (value === "") return `${kind} without a value`;
  if (kind === "address" && !isNetwork(value)) {
    return `expected an IP address or a network like 192.0.2.0/24, received ${JSON.stringify(value)}`;
  }
  const untilMs = until === undefined ? undefined : timeOf(until);
  if (Number.isNaN(untilMs)) {
    return `expected a time like 2027-01-31 or 2027-01-31T18:00:00Z, received ${JSON.stringify(until)}`;
  }
  return { kind, value, untilMs, reason: "ban_file" };
}

function isKind(word: string): word is BanKind {
  return word === "client" || word === "user" || word === "address";
}

function unquote(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Milliseconds since the epoch, or NaN. A time of day needs its zone: that of the host is nobody's intention. */
function timeOf(text: string): number {
  const match = /^(\d{4}-\d{2}-(\d{2}))(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/.exec(text);
  if (match === null) return NaN;
  // The runtime takes the 31st of February for the 3rd of March.
  const day = new Date(`${match[1]}T00:00:00Z`).getUTCDate();
  return day === Number(match[2]) ? Date.parse(text) : NaN;
}

const QUOTED = /^("(?:[^"\\]|\\.)*")(?:\s+until\s+(\S+))?$/;
const PLAIN = /^((?!until\s).*?)(?:(?:^|\s+)until\s+(\S+))?$/;
/** Problems of one file that are told. */
const PROBLEMS_MAX = 10;
