/**
 * `promptmq wal …` as a user sees it: this program is started as a process and judged by output and exit code.
 */

import assert from "node:assert/strict";
import { writeClockNote } from "../../../src/storage/clock_note.ts";
import { openNodeDisk } from "../../../src/storage/disk/node_disk.ts";
import { segmentName } from "../../../src/storage/log/segment.ts";
import { childEnvironment } from "../../support/child_environment.ts";
import { EventQueue } from "../../support/event_queue.ts";
import { runToEnd } from "../program.ts";
import { FIXTURE_MS, progress, publish, route, WalFixture } from "./wal_fixture.ts";

Deno.test("wal verify exits with 0 for a sound log, 1 for a damaged one, 66 for none", async () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  const damagedLsn = wal.lsn;
  wal.block(publish("a", "2"));
  const nextLsn = wal.lsn;
  wal.block(publish("a", "3"));
  const sound = await runToEnd(["wal", "verify", wal.dataPath]);
  assert.deepEqual(sound, { code: 0, stdout: "sound (1 segments, 3 blocks, 3 records)\n", stderr: "" });
  wal.damage(damagedLsn + 40);
  const damaged = await runToEnd(["wal", "verify", wal.walPath]);
  assert.deepEqual(damaged, {
    code: 1,
    stdout: `${segmentName(64)}: damage, LSN ${damagedLsn} to ${nextLsn} (${nextLsn - damagedLsn} bytes): ` +
      "the checksum of the block does not match: its bytes are not what was written\ndamaged: 1 place (1 segments, 2 blocks, 2 records)\n",
    stderr: "",
  });
  const none = await runToEnd(["wal", "verify", `${wal.dataPath}/nowhere`]);
  assert.equal(none.code, 66);
  assert.match(none.stderr, /^no log in .*\/nowhere: /);
});

Deno.test("wal inspect counts segments, records and topics, for people and as JSON, also of a damaged log", async () => {
  using wal = new WalFixture();
  wal.segment().block(route({ receivers: [], groups: [] }), publish("a/b", "12"), publish("c", "1"));
  wal.segment().block(publish("a/b", "3"), progress(3, 1, 64, 0));
  wal.append(new Uint8Array(16));
  const table = await runToEnd(["wal", "inspect", wal.dataPath]);
  assert.equal(table.code, 0, table.stderr);
  assert.match(table.stdout, /^2 segments, \d+ bytes, 2 blocks, 5 records \(3 publish, 1 progress, 1 route\)$/m);
  assert.match(table.stdout, /^a\/b +2 +13$/m);
  assert.match(table.stdout, /torn tail, LSN \d+ to \d+ \(16 bytes\)/);
  const json = await runToEnd(["wal", "inspect", "--json", wal.dataPath]);
  const { totals, topics, segments } = JSON.parse(json.stdout);
  assert.deepEqual(totals.records, { publish: 3, progress: 1, release: 0, route: 1, change: 0 });
  assert.deepEqual(topics, [{ topic: "a/b", messages: 2, bytes: 13 }, { topic: "c", messages: 1, bytes: 4 }]);
  assert.deepEqual(segments.map(({ blocks }: { blocks: number }) => blocks), [1, 1]);
});

Deno.test("wal inspect and wal verify change nothing", async () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  wal.append(new Uint8Array(16));
  const before = [Deno.readFileSync(wal.segmentPath), Array.from(Deno.readDirSync(wal.dataPath), ({ name }) => name)];
  for (const command of ["inspect", "verify"]) assert.equal((await runToEnd(["wal", command, wal.dataPath])).code, 0);
  const after = [Deno.readFileSync(wal.segmentPath), Array.from(Deno.readDirSync(wal.dataPath), ({ name }) => name)];
  assert.deepEqual(after, before);
  assert.deepEqual(Array.from(Deno.readDirSync(wal.walPath), ({ name }) => name), [segmentName(64)]);
});

Deno.test("wal tail follows until it is interrupted, with exit code 0, and refuses what is no Topic Filter", async () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  await using process = tail([wal.dataPath, "--from", "0"]);
  assert.equal((await process.next())["topic"], "a");
  wal.block(publish("b", "2"));
  assert.equal((await process.next())["topic"], "b");
  assert.equal(await process.interrupt(), 0);
  const refused = await runToEnd(["wal", "tail", wal.dataPath, "--filter", "a#"]);
  assert.equal(refused.code, 64);
  assert.match(refused.stderr, /^--filter: /);
});

interface Tail extends AsyncDisposable {
  /** The next line. */
  next(): Promise<Record<string, unknown>>;
  /** Sends SIGINT; gives the exit code. */
  interrupt(): Promise<number>;
}

function tail(args: readonly string[]): Tail {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "-A", "--config", MANIFEST, MAIN, "wal", "tail", ...args],
    clearEnv: true,
    env: childEnvironment(),
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = new EventQueue<string>();
  const reading = (async () => {
    let rest = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) lines.push(line);
    }
    lines.end();
  })();
  const end = async (signal: Deno.Signal) => {
    try {
      child.kill(signal);
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
    await reading;
    return (await child.status).code;
  };
  return {
    next: async () => JSON.parse(await lines.next("a line of wal tail") ?? "{}"),
    interrupt: () => end("SIGINT"),
    [Symbol.asyncDispose]: async () => void await end("SIGKILL"),
  };
}

const MAIN = new URL("../../../src/main.ts", import.meta.url).pathname;
const MANIFEST = new URL("../../../deno.json", import.meta.url).pathname;

Deno.test("wal inspect shows wall time, which is some way from that of a log from before the clock was set", async () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "1"));
  const offsetMs = 86_400_000;
  await writeClockNote(openNodeDisk(), wal.walPath, { brokerMs: FIXTURE_MS, offsetMs });
  const json = await runToEnd(["wal", "inspect", "--json", wal.dataPath]);
  const [{ firstWrittenMs, lastWrittenMs }] = JSON.parse(json.stdout).segments;
  assert.deepEqual([firstWrittenMs, lastWrittenMs], [FIXTURE_MS + 64 + offsetMs, FIXTURE_MS + 64 + offsetMs]);
  assert.match((await runToEnd(["wal", "inspect", wal.dataPath])).stdout, / 2023-11-15T22:13:20\.064Z /);
});
