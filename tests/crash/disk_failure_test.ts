/**
 * A device that fails under the real broker: strace makes its calls fail with EIO.
 *
 * What failed is given up, what was not safe is made safe in a fresh segment once, and nothing is acknowledged before;
 * a second failure is the end. After either, every acknowledged message reaches the Session that is owed it.
 */
import assert from "node:assert/strict";
import { RawClient } from "../support/raw_client.ts";
import { testWithTools } from "../support/tools.ts";
import { encodeWire } from "../support/wire_packets.ts";
import {
  BrokerProcess,
  type BrokerSettings,
  complaints,
  fatalLine,
  namesIn,
  segmentsOf,
  type TemporaryDirectory,
  temporaryDirectory,
} from "./broker_process.ts";
import { payloadsOwed, publish, subscribeAndLeave } from "./durable_client.ts";
import { attach, findStrace, sendOf, syncBefore, writesOf } from "./system_calls.ts";

const STRACE = findStrace();
const FAILED = "the log could not be written: what was not safe goes to a fresh segment";
const GOES_ON = "the log goes on in a fresh segment; check the device";
const BEFORE = ["before 1", "before 2"];
const SMALL_SEGMENTS = { "storage.wal.segment-size": "64KiB" };
const LARGE_PAYLOAD = "x".repeat(70_000);

/** A broker with a Session that is owed two messages, which are acknowledged. */
async function begin(
  directory: TemporaryDirectory,
  settings: Omit<BrokerSettings, "dataDirectory"> = {},
): Promise<{ readonly broker: BrokerProcess; readonly publisher: RawClient }> {
  const broker = await BrokerProcess.start({ dataDirectory: directory.data, ...settings });
  await subscribeAndLeave(broker.tcp, "owed", "t");
  const publisher = await RawClient.connect(broker.tcp, { clientId: "publisher" });
  for (const [index, payload] of BEFORE.entries()) await publish(publisher, index + 1, payload);
  return { broker, publisher };
}

/** Starts again and returns what the Session is owed; nothing may be lost or torn. */
async function owedAfterStart(directory: TemporaryDirectory): Promise<string[]> {
  await using broker = await BrokerProcess.start({ dataDirectory: directory.data });
  assert.deepEqual(complaints(broker.log), []);
  assert.deepEqual(await broker.readiness(), { status: 200, reason: "ready" });
  const owed = await payloadsOwed(broker.tcp, "owed");
  assert.equal((await broker.stop()).code, 0);
  return owed;
}

for (const call of ["fdatasync", "pwrite64"]) {
  testWithTools(`after one failed ${call} a message is acknowledged from a fresh segment`, [STRACE], async () => {
    await using directory = await temporaryDirectory();
    const { broker, publisher } = await begin(directory);
    await using _broker = broker;
    await using _publisher = publisher;
    const path = segmentsOf(directory.wal).at(-1)!;
    await using trace = await attach(STRACE, broker.pid, { inject: `${call}:error=EIO`, path });
    await publish(publisher, 3, "while it fails");
    await broker.untilLogged(GOES_ON);
    await trace.detach();
    const failure = await broker.untilLogged(FAILED);
    assert.match(String(failure["error"]), new RegExp(`^Cannot (sync|write to) ${path}: EIO: input/output error$`));
    assert.deepEqual(await broker.readiness(), { status: 503, reason: `storage: ${FAILED}` });
    assert.equal(await broker.metric("promptmq_wal_write_errors_total"), 1);
    await publish(publisher, 4, "afterwards");
    await broker.kill();
    assert.deepEqual(await owedAfterStart(directory), [...BEFORE, "while it fails", "afterwards"]);
  });
}

testWithTools("a failed fdatasync is not tried again on its file", [STRACE], async () => {
  await using directory = await temporaryDirectory();
  const { broker, publisher } = await begin(directory);
  await using _broker = broker;
  await using _publisher = publisher;
  const path = segmentsOf(directory.wal).at(-1)!;
  await using trace = await attach(STRACE, broker.pid, { inject: "fdatasync:error=EIO", path });
  for (const id of [3, 4, 5]) await publish(publisher, id, `payload ${id};`);
  const calls = (await trace.detach()).filter(({ target }) => target === path);
  assert.deepEqual(calls.map(({ name }) => name), ["pwrite64", "fdatasync"]);
  assert.match(calls[1]?.result ?? "", /^-1 EIO/);
});

testWithTools("after a failed write no PUBACK precedes the fdatasync of the fresh segment", [STRACE], async () => {
  await using directory = await temporaryDirectory();
  const { broker, publisher } = await begin(directory);
  await using _broker = broker;
  await using _publisher = publisher;
  const path = segmentsOf(directory.wal).at(-1)!;
  // All writes are made by one thread, so the count of strace, one for each thread, is right here.
  await using trace = await attach(STRACE, broker.pid, { inject: "pwrite64:error=EIO:when=1" });
  await publish(publisher, 3, "while it fails");
  const calls = await trace.detach();
  const writes = writesOf(calls, "while it fails");
  const sync = syncBefore(calls, "while it fails", sendOf(calls, encodeWire("puback", { id: 3 }, 5)));
  assert.ok(sync !== undefined && sync.target !== path, "no sync of a fresh segment precedes the PUBACK");
  assert.deepEqual(writes.map(({ target }) => target), [path, `${sync.target}.unfinished`]);
  assert.match(writes[0]?.result ?? "", /^-1 EIO/);
  assert.ok(!calls.some(({ name, target }) => name === "fdatasync" && target === path));
});

for (const call of ["fdatasync", "pwrite64"]) {
  testWithTools(
    `a second failed ${call} is the end, with nothing acknowledged, and exit code 74`,
    [STRACE],
    async () => {
      await using directory = await temporaryDirectory();
      const { broker, publisher } = await begin(directory);
      await using _broker = broker;
      await using _publisher = publisher;
      await using trace = await attach(STRACE, broker.pid, { inject: `${call}:error=EIO` });
      await publisher.sendPacket("publish", { topic: "t", qos: 1, id: 3, payload: "while it fails" });
      const end = await broker.ended();
      await trace.detach();
      assert.deepEqual((await publisher.drain()).map(({ wire }) => wire.type).filter((type) => type === "puback"), []);
      assert.equal(end.code, 74, JSON.stringify(end.log, undefined, 1));
      assert.match(
        String(fatalLine(end)["error"]),
        /^Cannot (sync|write to) \S+\.wal(\.unfinished)?: EIO: input\/output error$/,
      );
      const owed = await owedAfterStart(directory);
      assert.deepEqual(owed.slice(0, BEFORE.length), BEFORE);
      assert.ok(owed.length === BEFORE.length || owed[BEFORE.length] === "while it fails", String(owed));
    },
  );
}

testWithTools("a directory of the log that cannot be synced is the end, with exit code 74", [STRACE], async () => {
  await using directory = await temporaryDirectory();
  const { broker, publisher } = await begin(directory, { options: SMALL_SEGMENTS });
  await using _broker = broker;
  await using _publisher = publisher;
  await publish(publisher, 3, LARGE_PAYLOAD);
  await using trace = await attach(STRACE, broker.pid, { inject: "fsync:error=EIO", path: directory.wal });
  await publisher.sendPacket("publish", { topic: "t", qos: 1, id: 4, payload: "in a new segment" });
  const end = await broker.ended();
  await trace.detach();
  assert.equal(end.code, 74, JSON.stringify(end.log, undefined, 1));
  assert.equal(fatalLine(end)["error"], `Cannot sync directory ${directory.wal}: EIO: input/output error`);
  assert.ok(!(await publisher.drain()).some(({ wire }) => wire.type === "puback"));
  assert.deepEqual((await owedAfterStart(directory)).slice(0, 3), [...BEFORE, LARGE_PAYLOAD]);
});

testWithTools("a database that cannot be written stops compaction, and nothing else", [STRACE], async () => {
  await using directory = await temporaryDirectory();
  const options = { ...SMALL_SEGMENTS, "storage.compaction.max-wal-size": "1MiB" };
  const { broker, publisher } = await begin(directory, { options });
  await using _broker = broker;
  await using _publisher = publisher;
  await using trace = await attach(STRACE, broker.pid, {
    inject: "pwrite64:error=EIO",
    path: `${directory.data}/promptmq.db-wal`,
  });
  const owed = [...BEFORE];
  for (let id = 3; id < 23; id++) {
    owed.push(`${id} ${LARGE_PAYLOAD}`);
    await publish(publisher, id, owed.at(-1)!);
  }
  const { error } = await broker.untilLogged("the log cannot be compacted and grows");
  await trace.detach();
  assert.match(String(error), /^Cannot .+promptmq\.db: disk I\/O error/);
  assert.deepEqual(await broker.readiness(), { status: 503, reason: "storage: the log cannot be compacted and grows" });
  assert.ok(await broker.metric("promptmq_sqlite_write_errors_total") > 0);
  owed.push("afterwards");
  await publish(publisher, 23, "afterwards");
  await broker.kill();
  assert.deepEqual(await owedAfterStart(directory), owed);
  assert.deepEqual(namesIn(directory.wal, ".broken"), []);
});
