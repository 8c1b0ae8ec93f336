/**
 * `promptmq wal verify`: which logs are sound, and what is said of those that are not.
 */

import assert from "node:assert/strict";
import { renderVerification, verifyLog } from "../../../src/cli/wal/wal_verify.ts";
import { openNodeDisk } from "../../../src/storage/disk/node_disk.ts";
import { FIRST_LSN, SEGMENT_HEADER_BYTES, segmentName } from "../../../src/storage/log/segment.ts";
import { change, progress, publish, release, route, WalFixture } from "./wal_fixture.ts";

const DISK = openNodeDisk();
const FIRST = segmentName(FIRST_LSN);

/** What is wrong, as `kind first..end`. */
function problemsOf(wal: WalFixture): string[] {
  return verifyLog(DISK, wal.walPath).problems.map(({ kind, firstLsn, endLsn }) => `${kind} ${firstLsn}..${endLsn}`);
}

Deno.test("wal verify finds a whole log sound and counts it", () => {
  using wal = new WalFixture();
  wal.segment();
  const [position] = wal.block(publish("a/b", "hi"), route({ receivers: [], groups: [] }));
  wal.segment().block(progress(3, 1, position!, 7), release(1, 9), change({ kind: "end", session: 1 }));
  const verification = verifyLog(DISK, wal.dataPath + "/wal");
  assert.deepEqual(verification, { segments: 2, blocks: 2, records: 5, problems: [], isDamaged: false });
  assert.equal(renderVerification(verification), "sound (2 segments, 2 blocks, 5 records)");
});

Deno.test("wal verify calls what is not whole at the very end a torn tail and no damage", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  const endLsn = wal.lsn;
  wal.append(new Uint8Array(40).fill(7));
  const verification = verifyLog(DISK, wal.walPath);
  assert.deepEqual(problemsOf(wal), [`torn_tail ${endLsn}..${endLsn + 40}`]);
  assert.equal(verification.isDamaged, false);
  assert.match(renderVerification(verification), /^sound, but for a torn tail/m);
});

Deno.test("wal verify calls a last segment with half a header a torn tail", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  wal.segment();
  Deno.truncateSync(wal.segmentPath, 20);
  assert.deepEqual(problemsOf(wal), [`torn_tail ${wal.lsn}..${wal.lsn}`]);
});

Deno.test("wal verify finds damage that something whole follows, in the file or in the next one", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  const secondLsn = wal.lsn;
  wal.block(publish("a", "2"));
  const thirdLsn = wal.lsn;
  wal.block(publish("a", "3"));
  wal.damage(secondLsn + 50);
  assert.deepEqual(problemsOf(wal), [`damage ${secondLsn}..${thirdLsn}`]);
  wal.damage(thirdLsn + 50);
  const fourthLsn = wal.lsn;
  wal.segment().block(publish("a", "4"));
  assert.deepEqual(problemsOf(wal), [`damage ${secondLsn}..${fourthLsn}`]);
  assert.equal(verifyLog(DISK, wal.walPath).isDamaged, true);
});

Deno.test("wal verify calls damage of what was never synced a torn tail, unless a start has met it before", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  const tornLsn = wal.syncedLsn = wal.lsn;
  wal.block(publish("a", "2"));
  const nextLsn = wal.lsn;
  wal.block(publish("a", "3"));
  wal.damage(tornLsn + 50);
  assert.deepEqual(problemsOf(wal), [`torn_tail ${tornLsn}..${nextLsn}`]);
  Deno.copyFileSync(wal.segmentPath, `${wal.segmentPath}.quarantine`);
  assert.deepEqual(problemsOf(wal), [`damage ${tornLsn}..${nextLsn}`]);
});

Deno.test("wal verify finds every single flipped bit of a block that is followed by another", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("topic", "payload"));
  const endLsn = wal.lsn;
  wal.block(publish("topic", "after"));
  for (let lsn = FIRST_LSN; lsn < endLsn; lsn++) {
    wal.damage(lsn);
    assert.deepEqual(problemsOf(wal), [`damage ${FIRST_LSN}..${endLsn}`], `byte ${lsn}`);
    wal.damage(lsn);
  }
  assert.deepEqual(problemsOf(wal), []);
});

Deno.test("wal verify finds a missing segment as a gap", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  const gapLsn = wal.lsn;
  wal.segment().block(publish("a", "2"));
  Deno.removeSync(wal.segmentPath);
  const nextLsn = wal.lsn;
  wal.segment().block(publish("a", "3"));
  assert.deepEqual(problemsOf(wal), [`gap ${gapLsn}..${nextLsn}`]);
});

Deno.test("wal verify takes blocks that were written again to the next segment for an overlap", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  const againLsn = wal.lsn;
  wal.block(publish("a", "2"));
  const endLsn = wal.lsn;
  wal.segment(againLsn).block(publish("a", "2"));
  assert.deepEqual(problemsOf(wal), [`overlap ${againLsn}..${endLsn}`]);
  assert.equal(verifyLog(DISK, wal.walPath).isDamaged, false);
});

Deno.test("wal verify finds a damaged header, an unknown version and a file under another name", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  wal.damage(FIRST_LSN - SEGMENT_HEADER_BYTES + 20);
  const [problem] = verifyLog(DISK, wal.walPath).problems;
  assert.deepEqual([problem?.kind, problem?.segment], ["header", FIRST]);
  wal.damage(FIRST_LSN - SEGMENT_HEADER_BYTES + 20);
  Deno.renameSync(wal.segmentPath, `${wal.walPath}/${segmentName(4096)}`);
  const { problems, isDamaged } = verifyLog(DISK, wal.walPath);
  assert.ok(problems.some(({ reason }) => reason === `a header that says LSN ${FIRST_LSN}`), JSON.stringify(problems));
  assert.equal(isDamaged, true);
});
