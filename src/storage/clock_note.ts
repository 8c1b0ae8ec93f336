/**
 * The note of the broker's clock beside the log, `clock.json`: how far wall time is from the broker time that everything
 * is stored with, and a time up to which the broker was seen alive. Written at a start and a stop, every hour, and whenever
 * the wall clock was set.
 *
 *     {"brokerMs":1767225600000,"offsetMs":0,"crc32":4127009009}
 *
 * The checksum is of the note as JSON without it: one wrong digit would end every finite Session at a start, and nothing
 * but this tells it from a long time off. The note is replaced as a whole, so a crash leaves the old one or the new one.
 */
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Semaphore from "effect/Semaphore";
import { crc32 } from "node:zlib";
import { Log } from "../logging/log.ts";
import { Supervisor } from "../logging/supervisor.ts";
import { BrokerClock, type ClockNote, type SteadyClock } from "../system/clock.ts";
import type { Disk } from "./disk/disk.ts";
import { attemptStorage, attemptStorageAsync } from "./model/errors.ts";

/**
 * Lets broker time go on where the log ends, and the note follow the wall clock.
 *
 * @returns The clock; what recovery says the latest broker time in the log to; and what keeps the note from now on until
 *   the scope ends.
 */
export const takeUpClock = Effect.fnUntraced(function* (disk: Disk, directory: string) {
  const logger = yield* Log;
  const clock = yield* BrokerClock;
  const note = yield* attemptStorage(() => readClockNote(disk, directory));
  if (note === "unreadable") {
    yield* Effect.logWarning("the note of the clock cannot be read: no time off is counted", { directory });
  }
  const semaphore = yield* Semaphore.make(1);
  const writeNote = Effect.suspend(() => {
    clock.measure();
    return attemptStorageAsync(() => writeClockNote(disk, directory, clock.note()));
  }).pipe(
    semaphore.withPermits(1),
    Effect.as(true),
    Effect.catchTag("StorageFailed", ({ message }) =>
      Effect.sync(() => {
        logger.limited("clock_note", "error", "the note of the clock cannot be written", { error: message });
        return false;
      })),
  );
  clock.whenStepped(() => writeNote);
  const foundTime = (lastWrittenMs: number) => resumeClock(clock, note, lastWrittenMs);
  const keepNote = Effect.gen(function* () {
    yield* writeNote;
    yield* Effect.addFinalizer(() => writeNote);
    yield* Supervisor.fork("clock note", Effect.forever(Effect.delay(writeNote, Duration.millis(NOTE_EVERY_MS))));
  });
  return { clock, foundTime, keepNote };
});

/** Goes on from the latest broker time on record, if there is any. */
export function resumeClock(clock: SteadyClock, note: ReturnType<typeof readClockNote>, lastWrittenMs: number): void {
  const { brokerMs, offsetMs } = note === "unreadable" ? UNKNOWN : note ?? NEVER_SET;
  const lastMs = Math.max(lastWrittenMs, brokerMs);
  if (lastMs > 0) clock.resume(lastMs, offsetMs);
}

/** The note of a log directory; undefined = there is none, `"unreadable"` = there is something else. */
export function readClockNote(disk: Disk, directory: string): ClockNote | "unreadable" | undefined {
  const path = `${directory}/${NAME}`;
  if (!disk.exists(path)) return undefined;
  const file = disk.open(path, "read");
  try {
    const bytes = new Uint8Array(Math.min(file.size(), NOTE_BYTES_MAX));
    return parseNote(new TextDecoder().decode(bytes.subarray(0, file.read(bytes, 0, bytes.length, 0))));
  } finally {
    file.close();
  }
}

/** What turns the times of a log into wall time, as far as is known: times of the log are broker time. */
export function readWallOffset(disk: Disk, directory: string): number {
  const note = readClockNote(disk, directory);
  return note === undefined || note === "unreadable" ? 0 : note.offsetMs;
}

/** Replaces the note; it is safe when the promise resolves. Rejects with StorageFailed. */
export async function writeClockNote(disk: Disk, directory: string, note: ClockNote): Promise<void> {
  const path = `${directory}/${NAME}`;
  const bytes = new TextEncoder().encode(`${JSON.stringify({ ...note, crc32: checksumOf(note) })}\n`);
  disk.remove(`${path}.new`);
  const file = disk.open(`${path}.new`, "create");
  try {
    file.write(bytes, 0, bytes.length, 0);
    await file.sync();
  } finally {
    file.close();
  }
  disk.rename(`${path}.new`, path);
  await disk.syncDirectory(directory);
}

function parseNote(text: string): ClockNote | "unreadable" {
  try {
    const { brokerMs, offsetMs, crc32: checksum } = JSON.parse(text) as Partial<ClockNote & { crc32: number }>;
    if (Number.isFinite(brokerMs) && Number.isFinite(offsetMs)) {
      const note = { brokerMs: brokerMs!, offsetMs: offsetMs! };
      if (checksum === checksumOf(note)) return note;
    }
  } catch {
    // Said by what is returned.
  }
  return "unreadable";
}

function checksumOf({ brokerMs, offsetMs }: ClockNote): number {
  return crc32(JSON.stringify({ brokerMs, offsetMs }));
}

const UNKNOWN = { brokerMs: 0, offsetMs: undefined };
const NEVER_SET: ClockNote = { brokerMs: 0, offsetMs: 0 };
/** Quiet time that a start cannot know of is less than this. */
const NOTE_EVERY_MS = 3_600_000;
const NAME = "clock.json";
const NOTE_BYTES_MAX = 4096;
