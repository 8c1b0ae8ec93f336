/**
 * What the operator is told of the store: one line when something begins, one when it is over, and readiness in between.
 */
import assert from "node:assert/strict";
import type { LevelName, LogWriter } from "../../src/logging/log.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";
import { StorageHealth } from "../../src/storage/storage_health.ts";

const NO_SPACE = new StorageFailed({ operation: "write to", path: "x.wal", reason: "no_space", detail: "ENOSPC" });
const BROKEN = new StorageFailed({ operation: "sync", path: "x.wal", reason: "io", detail: "EIO" });

function newHealth() {
  const lines: string[] = [];
  const reasons: (string | undefined)[] = [];
  const write = (level: LevelName, message: string) => void lines.push(`${level} ${message}`);
  const logger: LogWriter = { level: 0, write, limited: (_key, level, message) => write(level, message) };
  const readiness = {
    reason: () => reasons.at(-1),
    set: (reason: string | undefined, source?: string) => {
      assert.equal(source, "storage");
      reasons.push(reason);
    },
  };
  return { health: new StorageHealth(logger, readiness), lines, reasons };
}

Deno.test("StorageHealth tells of no space once, and of its end", () => {
  const { health, lines, reasons } = newHealth();
  health.recovered();
  assert.deepEqual(lines, [], "nothing was wrong");
  health.outOfSpace(NO_SPACE);
  health.outOfSpace(NO_SPACE);
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^error no space left/);
  assert.match(reasons.at(-1)!, /^storage: no space/);
  assert.equal(health.has("full"), true);
  health.recovered();
  assert.equal(lines.length, 2);
  assert.match(lines[1]!, /^info there is space/);
  assert.equal(reasons.at(-1), undefined);
});

Deno.test("StorageHealth never forgets that the device failed", () => {
  const { health, lines, reasons } = newHealth();
  health.poisoned(BROKEN);
  health.recovered();
  assert.match(lines[0]!, /^error the log could not be written/);
  assert.match(lines[1]!, /^warn the log goes on in a fresh segment/);
  assert.equal(health.has("failed"), true);
  assert.notEqual(reasons.at(-1), undefined);
});

Deno.test("StorageHealth names what cannot be read back, and never forgets it", () => {
  const { health, lines, reasons } = newHealth();
  const damaged = new StorageFailed({ operation: "read", path: "x.wal", reason: "corrupt", detail: "damaged" });
  health.unreadable(64, damaged);
  health.unreadable(128, damaged);
  assert.match(lines[0]!, /^error a message cannot be read back/);
  assert.equal(lines.length, 2, "the logger holds back what is too much");
  assert.deepEqual(reasons, ["storage: a message cannot be read back and is not delivered; check the device"]);
  assert.equal(health.has("read"), true);
});

Deno.test("StorageHealth is not well until every ailment is over", () => {
  const { health, reasons } = newHealth();
  health.begin("low", "low", {});
  health.begin("compaction", "stuck", {});
  assert.equal(reasons.at(-1), "storage: low");
  health.end("low", "fine");
  assert.equal(reasons.at(-1), "storage: stuck");
  health.end("low", "fine");
  health.end("compaction", "fine");
  assert.equal(reasons.at(-1), undefined);
});

Deno.test("StorageHealth tells of a slow sync and stays ready", () => {
  const { health, lines, reasons } = newHealth();
  health.slowSync(1_500.4);
  assert.deepEqual(lines, ["warn a sync of the log was slow"]);
  assert.deepEqual(reasons, []);
});
