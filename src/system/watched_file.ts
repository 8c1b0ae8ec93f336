/**
 * Files that the configuration names and that are read again when they change: certificates, users, rules, keys, bans.
 *
 * Changes are found by asking the system for size, time and identity of the file, and not by its notifications, which
 * network file systems, container mounts and files replaced by renaming do not give reliably. A file is read again when
 * one of these differs; whoever follows it decides whether what it says is good.
 *
 * Times of files are coarse, so a file may change twice within one tick of their clock and look the same after the second
 * change. Files are therefore read once more at the look after a change was seen, and at the first look, and compared
 * with what is known. To miss nothing between reading and following, give the texts that were read to `followFiles`.
 */
import * as Data from "effect/Data";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";
import { CONFIG_EXIT_CODE, describeFileFailure } from "./system_failure.ts";

/** A file that the configuration names cannot be read. */
export class FileUnreadable extends Data.TaggedError("FileUnreadable")<{
  readonly path: string;
  /** What it is for, such as `password file`. */
  readonly purpose: string;
  /** What the runtime threw. */
  readonly cause: unknown;
}> {
  override get message(): string {
    return `Cannot read ${this.purpose} ${JSON.stringify(this.path)}: ${describeFileFailure(this.cause)}`;
  }

  override readonly [Runtime.errorExitCode] = CONFIG_EXIT_CODE;
}

/** A file to follow. */
export interface WatchedFile {
  readonly path: string;
  /** What it is for, such as `password file`. */
  readonly purpose: string;
}

/** Largest file that is read, in bytes. What is named by mistake, such as a device or a log, must not fill the memory. */
export const WATCHED_FILE_BYTES_MAX = 64 * 2 ** 20;

/** Reads one file as UTF-8 text, without byte order mark. Other bytes fail: they would be read as something else. */
export function readWatchedFile(file: WatchedFile): Effect.Effect<string, FileUnreadable> {
  return Effect.try({
    try: () => readText(file.path),
    catch: (cause) => new FileUnreadable({ ...file, cause }),
  });
}

/** Hears of files that belong together, such as a certificate and its key. Must not throw. */
export interface FileFollower {
  /** Some file has changed. @param texts Content of all files, in the order in which they were given. */
  readonly changed: (texts: readonly string[]) => void;
  /** Some file has changed and cannot be read now. Told once until it changes again. */
  readonly failed: (error: FileUnreadable) => void;
}

/**
 * Follows files until the scope closes.
 *
 * Fork it under supervision; it never ends by itself. Looks every `WATCH_INTERVAL_MS`, and at once when it is run with
 * `knownTexts`: what has changed since these were read is told then.
 *
 * @param knownTexts What the follower has of the files, one text each in their order, usually from `readWatchedFile`.
 * Without it what the files say when the effect is run counts as known.
 */
export function followFiles(
  files: readonly WatchedFile[],
  follower: FileFollower,
  knownTexts?: readonly string[],
): Effect.Effect<never> {
  return Effect.suspend(() => {
    const watch = new FileWatch(files, follower, knownTexts, HOST_FILES);
    return Effect.sync(() => watch.look()).pipe(Effect.delay(Duration.millis(WATCH_INTERVAL_MS)), Effect.forever);
  });
}

/** How often files are looked at, in milliseconds. */
export const WATCH_INTERVAL_MS = 1000;

/** What a watch asks the system. Both throw when they cannot answer. */
export interface FileSource {
  /** Differs when the file has changed, as far as the system can tell. */
  readonly stampOf: (path: string) => string;
  readonly readText: (path: string) => string;
}

/** What is known of files that are followed together: `followFiles` without its clock. */
export class FileWatch {
  readonly #files: readonly WatchedFile[];
  readonly #follower: FileFollower;
  readonly #source: FileSource;
  #stamp: string;
  /**
   * What the files said when they were read last, or undefined when they could not be read. Kept from one look to the
   * next only, since files may be large and hold secrets.
   */
  #unsettled: { readonly texts: readonly string[] | undefined } | undefined;

  /** Tells the follower at once of differences from the known texts, if there are any. */
  constructor(
    files: readonly WatchedFile[],
    follower: FileFollower,
    knownTexts: readonly string[] | undefined,
    source: FileSource,
  ) {
    this.#files = files;
    this.#follower = follower;
    this.#source = source;
    this.#stamp = this.#stampNow();
    if (knownTexts === undefined) {
      const found = this.#read();
      this.#unsettled = { texts: found instanceof FileUnreadable ? undefined : found };
    } else {
      this.#unsettled = { texts: knownTexts };
      this.#compare(knownTexts);
    }
  }

  /** Tells the follower what has changed since the last look. */
  look(): void {
    // Before reading: a change while the files are read is then seen by the next look.
    const stamp = this.#stampNow();
    if (stamp !== this.#stamp) {
      this.#stamp = stamp;
      this.#tell(this.#read());
    } else if (this.#unsettled !== undefined) {
      const { texts } = this.#unsettled;
      this.#unsettled = undefined;
      this.#compare(texts);
    }
  }

  /** Tells of a difference that the stamp does not show. A file that still cannot be read is none. */
  #compare(texts: readonly string[] | undefined): void {
    const found = this.#read();
    const isSame = found instanceof FileUnreadable
      ? texts === undefined
      : found.every((text, position) => text === texts?.[position]);
    if (!isSame) this.#tell(found);
  }

  #tell(found: readonly string[] | FileUnreadable): void {
    if (found instanceof FileUnreadable) {
      this.#unsettled = { texts: undefined };
      this.#follower.failed(found);
    } else {
      this.#unsettled = { texts: found };
      this.#follower.changed(found);
    }
  }

  #read(): readonly string[] | FileUnreadable {
    const texts: string[] = [];
    for (const file of this.#files) {
      try {
        texts.push(this.#source.readText(file.path));
      } catch (cause) {
        return new FileUnreadable({ ...file, cause });
      }
    }
    return texts;
  }

  #stampNow(): string {
    return this.#files.map(({ path }) => {
      try {
        return this.#source.stampOf(path);
      } catch (cause) {
        return cause instanceof Error ? cause.name : "unknown";
      }
    }).join();
  }
}

/** Size, times and identity also differ when another file of the same size has taken the place of the old one. */
function stampOf(path: string): string {
  const { size, mtime, ctime, ino } = Deno.statSync(path);
  return `${ino}:${size}:${mtime?.getTime()}:${ctime?.getTime()}`;
}

function readText(path: string): string {
  const { size, isFile, isDirectory } = Deno.statSync(path);
  // A device may never end, and the open of a pipe waits for its writer: with either the whole broker would stand still.
  if (!isFile && !isDirectory) throw new Error("is not a regular file");
  if (size > WATCHED_FILE_BYTES_MAX && !isDirectory) {
    throw new Error(`has ${size} bytes, at most ${WATCHED_FILE_BYTES_MAX} are read`);
  }
  const bytes = Deno.readFileSync(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("is not UTF-8 text");
  }
}

/** The files of this host. */
const HOST_FILES: FileSource = { stampOf, readText };

/** Permission bits of a file, such as 0o600; undefined where the system has none or the file is gone. */
export function fileModeOf(path: string): number | undefined {
  try {
    const { mode } = Deno.statSync(path);
    return mode === null ? undefined : mode & PERMISSION_BITS;
  } catch {
    return undefined;
  }
}

const PERMISSION_BITS = 0o777;
