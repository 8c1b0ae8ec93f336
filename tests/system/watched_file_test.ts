/**
 * Files that are read again when they change. Real files in a directory of their own and the clock of tests: a look
 * happens when the clock is moved, so no test waits. Changes are told apart by size, or by time that is set by hand.
 */

import * as Effect from "effect/Effect";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import {
  type FileFollower,
  FileWatch,
  followFiles,
  readWatchedFile,
  WATCH_INTERVAL_MS,
  WATCHED_FILE_BYTES_MAX,
  type WatchedFile,
} from "../../src/system/watched_file.ts";

interface Rig {
  readonly directory: string;
  /** What was told, in order: texts joined by `+`, or the message of a failure without the directory. */
  readonly told: string[];
  readonly follower: FileFollower;
  readonly file: (name: string) => WatchedFile;
  readonly write: (name: string, text: string) => void;
}

function watchTest(name: string, body: (rig: Rig) => Effect.Effect<void>): void {
  Deno.test(name, async () => {
    const directory = Deno.makeTempDirSync();
    const told: string[] = [];
    const follower: FileFollower = {
      changed: (texts) => void told.push(texts.join("+")),
      failed: (error) => void told.push(error.message.replace(`${directory}/`, "")),
    };
    const file = (of: string) => ({ path: `${directory}/${of}`, purpose: "list" });
    const write = (of: string, text: string) => Deno.writeTextFileSync(`${directory}/${of}`, text);
    try {
      await Effect.runPromise(
        Effect.provide(body({ directory, told, follower, file, write }), TestClock.layer()),
      );
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

/** Starts to follow, and is past the start when it returns. */
function follow(rig: Rig, names: readonly string[], known?: readonly string[]) {
  const following = followFiles(names.map(rig.file), rig.follower, known);
  return Effect.andThen(Effect.forkChild(following, { startImmediately: true }), Effect.void);
}

const look = TestClock.adjust(WATCH_INTERVAL_MS);

/** As if the file had last been written at this time, on a file system with coarse times. */
function setTime(rig: Rig, name: string, seconds: number): void {
  Deno.utimeSync(`${rig.directory}/${name}`, seconds, seconds);
}

watchTest("followFiles tells once of each change, with the texts of all files", (rig) =>
  Effect.gen(function* () {
    rig.write("cert", "c1");
    rig.write("key", "k1");
    yield* follow(rig, ["cert", "key"]);
    yield* look;
    assert.deepEqual(rig.told, []);
    rig.write("key", "k1 and more");
    yield* TestClock.adjust(WATCH_INTERVAL_MS - 1);
    assert.deepEqual(rig.told, []);
    yield* TestClock.adjust(1);
    assert.deepEqual(rig.told, ["c1+k1 and more"]);
    yield* look;
    yield* look;
    assert.equal(rig.told.length, 1);
  }));

watchTest(
  "followFiles sees a file that was replaced by renaming, with the same size and time",
  (rig) =>
    Effect.gen(function* () {
      rig.write("users", "old");
      setTime(rig, "users", 1000);
      yield* follow(rig, ["users"]);
      yield* look;
      rig.write("new", "new");
      setTime(rig, "new", 1000);
      Deno.renameSync(`${rig.directory}/new`, `${rig.directory}/users`);
      yield* look;
      assert.deepEqual(rig.told, ["new"]);
    }),
);

watchTest(
  "followFiles sees that a link points elsewhere, as directories mounted into containers are renewed",
  (rig) =>
    Effect.gen(function* () {
      rig.write("v1", "old");
      rig.write("v2", "new");
      Deno.symlinkSync("v1", `${rig.directory}/current`);
      yield* follow(rig, ["current"]);
      yield* look;
      Deno.removeSync(`${rig.directory}/current`);
      Deno.symlinkSync("v2", `${rig.directory}/current`);
      yield* look;
      assert.deepEqual(rig.told, ["new"]);
    }),
);

watchTest("followFiles tells once that a file cannot be read, and again when it can", (rig) =>
  Effect.gen(function* () {
    rig.write("users", "a");
    yield* follow(rig, ["users"]);
    Deno.removeSync(`${rig.directory}/users`);
    yield* look;
    yield* look;
    yield* look;
    assert.deepEqual(rig.told, ['Cannot read list "users": not found']);
    rig.write("users", "b");
    yield* look;
    assert.deepEqual(rig.told.slice(1), ["b"]);
  }));

watchTest(
  "followFiles with known texts tells at once of what changed between reading and following",
  (rig) =>
    Effect.gen(function* () {
      rig.write("users", "old");
      const known = yield* Effect.orDie(readWatchedFile(rig.file("users")));
      rig.write("users", "new");
      yield* follow(rig, ["users"], [known]);
      assert.deepEqual(rig.told, ["new"]);
      yield* look;
      assert.equal(rig.told.length, 1);
    }),
);

watchTest("followFiles with known texts tells at once that a file has gone since", (rig) =>
  Effect.gen(function* () {
    rig.write("users", "old");
    yield* follow(rig, ["users", "gone"], ["old", "was here"]);
    assert.deepEqual(rig.told, ['Cannot read list "gone": not found']);
    yield* look;
    assert.equal(rig.told.length, 1);
  }));

watchTest("followFiles with known texts that still hold tells nothing", (rig) =>
  Effect.gen(function* () {
    rig.write("users", "same");
    yield* follow(rig, ["users"], ["same"]);
    yield* look;
    yield* look;
    assert.deepEqual(rig.told, []);
  }));

// Goal: a second change within one tick of the file system's clock, which no look at size and times can tell.
// Method: a source whose stamp changes for the first change only.
Deno.test("FileWatch reads once more at the look after a change, and then no more until the next", () => {
  const told: string[] = [];
  let reads = 0;
  let stamp = "1";
  let text = "one";
  const source = {
    stampOf: () => stamp,
    readText: () => {
      reads++;
      return text;
    },
  };
  const follower: FileFollower = { changed: (texts) => void told.push(texts.join()), failed: () => assert.fail() };
  const watch = new FileWatch([{ path: "users", purpose: "list" }], follower, ["one"], source);
  text = "two";
  watch.look();
  assert.deepEqual(told, ["two"]);
  watch.look();
  watch.look();
  assert.deepEqual([told, reads], [["two"], 3]);
  stamp = "2";
  text = "three";
  watch.look();
  text = "four";
  watch.look();
  watch.look();
  watch.look();
  assert.deepEqual([told, reads], [["two", "three", "four"], 6]);
});

watchTest(
  "readWatchedFile reads text without byte order mark and refuses other bytes, large files and directories",
  (rig) =>
    Effect.gen(function* () {
      const messageOf = (name: string) =>
        Effect.map(
          Effect.flip(readWatchedFile(rig.file(name))),
          (error) => error.message.replace(`${rig.directory}/`, ""),
        );
      rig.write("mark", "\uFEFFgrün");
      assert.equal(yield* Effect.orDie(readWatchedFile(rig.file("mark"))), "grün");
      Deno.writeFileSync(`${rig.directory}/bytes`, Uint8Array.of(0x61, 0xff, 0x62));
      assert.equal(yield* messageOf("bytes").pipe(Effect.orDie), 'Cannot read list "bytes": is not UTF-8 text');
      Deno.writeTextFileSync(`${rig.directory}/large`, "");
      Deno.truncateSync(`${rig.directory}/large`, WATCHED_FILE_BYTES_MAX + 1);
      assert.match(
        yield* messageOf("large").pipe(Effect.orDie),
        /"large": has 67108865 bytes, at most 67108864 are read$/,
      );
      Deno.mkdirSync(`${rig.directory}/sub`);
      assert.equal(yield* messageOf("sub").pipe(Effect.orDie), 'Cannot read list "sub": is a directory');
      assert.equal(yield* messageOf("none").pipe(Effect.orDie), 'Cannot read list "none": not found');
    }),
);
