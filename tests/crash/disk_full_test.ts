/**
 * A file system without space under the real broker: a small tmpfs that the test fills, and strace where the moment
 * counts. Publishers are refused, receivers are not, nothing acknowledged is lost, and space is all it takes to go on.
 */
import assert from "node:assert/strict";
import { RawClient } from "../support/raw_client.ts";
import { findMount, testWithTools } from "../support/tools.ts";
import { BrokerProcess, complaints, fatalLine, segmentsOf, temporaryDirectory } from "./broker_process.ts";
import { durable, payloadsOwed, publish, subscribeAndLeave, takeAll } from "./durable_client.ts";
import { fill, mountSmall, remount } from "./small_file_system.ts";
import { attach, findStrace } from "./system_calls.ts";

const MOUNT = findMount();
const STRACE = findStrace();
const NO_SPACE = "no space left for the log: QoS 1 and 2 messages are refused until there is";
const SPACE_AGAIN = "there is space for the log again";
const TOO_LITTLE = "too little free space: QoS 1 and 2 messages are refused until there is more";
const ENOUGH = "there is enough free space again";
const QUOTA_EXCEEDED = 0x97;
const STORE_FULL = 'promptmq_messages_dropped_total{reason="store_full"}';
const NO_MINIMUM = { "storage.min-free-space": "0" };
const LARGE = "x".repeat(20_000);

testWithTools("a full file system takes no message, and all that waited once there is space", [MOUNT], async () => {
  await using small = await mountSmall(MOUNT, "8m");
  await using broker = await BrokerProcess.start({ dataDirectory: small.data, options: NO_MINIMUM });
  await subscribeAndLeave(broker.tcp, "owed", "t", 1);
  await using publisher = await RawClient.connect(broker.tcp, { clientId: "publisher" });
  await using old = await RawClient.connect(broker.tcp, { clientId: "old", version: 4 });
  await publish(publisher, 1, "before");
  const filler = await fill(small.path);
  await publisher.sendPacket("publish", { topic: "t", qos: 1, id: 2, payload: `waits ${LARGE}` });
  const { error } = await broker.untilLogged(NO_SPACE);
  assert.match(String(error), /\.wal: ENOSPC: no space left on device$/);
  assert.deepEqual(await broker.readiness(), { status: 503, reason: `storage: ${NO_SPACE}` });
  await publisher.expectQuiet();
  await publisher.sendPacket("publish", { topic: "t", qos: 1, id: 3, payload: "refused" });
  await old.sendPacket("publish", { topic: "t", qos: 1, id: 1, payload: "refused" });
  await old.expectQuiet();
  assert.equal(await broker.metric(STORE_FULL), 2);
  await Deno.remove(filler);
  await broker.untilLogged(SPACE_AGAIN);
  const answers = [await publisher.expect("puback"), await publisher.expect("puback")];
  assert.deepEqual(answers.map(({ wire }) => [wire.id, wire.reasonCode]), [[2, 0], [3, QUOTA_EXCEEDED]]);
  await old.expectQuiet();
  assert.equal((await broker.readiness()).status, 200);
  await publish(publisher, 4, "afterwards");
  await publish(old, 2, "from an old client");
  await broker.kill();
  await using again = await BrokerProcess.start({ dataDirectory: small.data, options: NO_MINIMUM });
  assert.deepEqual(complaints(again.log), []);
  const owed = await payloadsOwed(again.tcp, "owed");
  assert.deepEqual(owed, ["before", `waits ${LARGE}`, "afterwards", "from an old client"]);
});

testWithTools("a message that waits for space holds up no refusal for other publishers", [STRACE], async () => {
  await using directory = await temporaryDirectory();
  await using broker = await BrokerProcess.start({ dataDirectory: directory.data });
  await using waiting = await RawClient.connect(broker.tcp, { clientId: "waiting" });
  await using other = await RawClient.connect(broker.tcp, { clientId: "other" });
  const path = segmentsOf(directory.wal).at(-1)!;
  await using trace = await attach(STRACE, broker.pid, { inject: "pwrite64:error=ENOSPC", path });
  await waiting.sendPacket("publish", { topic: "t", qos: 1, id: 1, payload: "waits" });
  await broker.untilLogged(NO_SPACE);
  await other.sendPacket("publish", { topic: "t", qos: 1, id: 1, payload: "refused" });
  await other.sendPacket("pingreq");
  assert.equal((await other.expect("puback")).wire.reasonCode, QUOTA_EXCEEDED);
  await trace.detach();
  await broker.untilLogged(SPACE_AGAIN);
  assert.ok((await waiting.expect("puback")).wire.reasonCode !== QUOTA_EXCEEDED);
});

testWithTools("a broker killed while its file system is full has lost nothing it acknowledged", [MOUNT], async () => {
  await using small = await mountSmall(MOUNT, "8m");
  const settings = { dataDirectory: small.data, options: NO_MINIMUM };
  const filler = await fill(small.path, 1024 * 1024);
  const acknowledged: string[] = [];
  {
    await using broker = await BrokerProcess.start(settings);
    await subscribeAndLeave(broker.tcp, "owed", "t", 1);
    await using publisher = await RawClient.connect(broker.tcp, { clientId: "publisher" });
    const full = broker.untilLogged(NO_SPACE).then(() => "full" as const);
    for (let id = 1;; id++) {
      const payload = `${id} ${LARGE}`;
      if (await Promise.race([publish(publisher, id, payload).then(() => "taken" as const), full]) === "full") break;
      acknowledged.push(payload);
    }
    await broker.kill();
  }
  assert.ok(acknowledged.length > 100);
  await using again = await BrokerProcess.start(settings);
  await Deno.remove(filler);
  assert.deepEqual((await payloadsOwed(again.tcp, "owed")).slice(0, acknowledged.length), acknowledged);
});

testWithTools(
  "below min-free-space messages are refused, deliveries go on, and space comes back",
  [MOUNT],
  async () => {
    await using small = await mountSmall(MOUNT, "32m");
    const options = {
      "storage.min-free-space": "28MiB",
      "storage.wal.segment-size": "64KiB",
      "storage.compaction.max-wal-size": "1MiB",
    };
    await using broker = await BrokerProcess.start({ dataDirectory: small.data, options });
    await subscribeAndLeave(broker.tcp, "owed", "t", 1);
    await using publisher = await RawClient.connect(broker.tcp, { clientId: "publisher" });
    await using old = await RawClient.connect(broker.tcp, { clientId: "old", version: 4 });
    const acknowledged: string[] = [];
    for (let id = 1; id <= 10_000; id++) {
      const payload = `${id} ${LARGE}`;
      await publisher.sendPacket("publish", { topic: "t", qos: 1, id, payload });
      if ((await publisher.expect("puback")).wire.reasonCode === QUOTA_EXCEEDED) break;
      acknowledged.push(payload);
    }
    assert.ok(acknowledged.length > 10 && acknowledged.length < 10_000);
    const refusedBefore = await broker.metric(STORE_FULL);
    const low = await broker.untilLogged(TOO_LITTLE);
    assert.equal(low["minFreeSpaceBytes"], 28 * 1024 * 1024);
    assert.deepEqual(await broker.readiness(), { status: 503, reason: `storage: ${TOO_LITTLE}` });
    await publisher.sendPacket("publish", { topic: "t", qos: 2, id: 1, payload: "refused" });
    assert.equal((await publisher.expect("pubrec")).wire.reasonCode, QUOTA_EXCEEDED);
    await old.sendPacket("publish", { topic: "t", qos: 1, id: 1, payload: "refused" });
    await old.expectQuiet();
    assert.equal(await broker.metric(STORE_FULL), refusedBefore + 2);
    {
      await using receiver = await durable(broker.tcp, "owed");
      assert.deepEqual((await takeAll(receiver)).map(({ payload }) => payload), acknowledged);
    }
    await broker.untilLogged(ENOUGH);
    assert.equal((await broker.readiness()).status, 200);
    await publish(publisher, 1, "afterwards");
    await publish(old, 2, "from an old client");
    await broker.kill();
    await using again = await BrokerProcess.start({ dataDirectory: small.data, options });
    assert.deepEqual(await payloadsOwed(again.tcp, "owed"), ["afterwards", "from an old client"]);
  },
);

testWithTools("a new Session is refused below min-free-space, and one that is there is not", [MOUNT], async () => {
  await using small = await mountSmall(MOUNT, "8m");
  const settings = { dataDirectory: small.data, options: { "storage.min-free-space": "4MiB" } };
  await using broker = await BrokerProcess.start(settings);
  await subscribeAndLeave(broker.tcp, "known", "t", 1);
  const filler = await fill(small.path, 6 * 1024 * 1024);
  await broker.untilLogged(TOO_LITTLE);
  assert.deepEqual(await payloadsOwed(broker.tcp, "known"), []);
  await using unknown = await RawClient.open(broker.tcp);
  const properties = [["sessionExpiryInterval", 3600] as const];
  await unknown.sendPacket("connect", { clientId: "unknown", cleanStart: false, properties });
  assert.equal((await unknown.expect("connack")).wire.reasonCode, QUOTA_EXCEEDED);
  await Deno.remove(filler);
  await broker.untilLogged(ENOUGH);
  await subscribeAndLeave(broker.tcp, "unknown", "t", 1);
});

testWithTools("a read-only file system at the start is one fatal line, and exit code 74", [MOUNT], async () => {
  await using small = await mountSmall(MOUNT, "8m");
  await (await BrokerProcess.start({ dataDirectory: small.data, options: NO_MINIMUM })).stop();
  await remount(MOUNT, small, "ro");
  const end = await BrokerProcess.fail({ dataDirectory: small.data, options: NO_MINIMUM });
  assert.match(String(fatalLine(end)["error"]), /^Cannot .+EROFS: read-only file system/);
  assert.equal(end.code, 74);
});

testWithTools("a file system that fails the first write after it turned read-only is the end", [STRACE], async () => {
  await using directory = await temporaryDirectory();
  await using broker = await BrokerProcess.start({ dataDirectory: directory.data });
  await subscribeAndLeave(broker.tcp, "owed", "t", 1);
  await using publisher = await RawClient.connect(broker.tcp, { clientId: "publisher" });
  await publish(publisher, 1, "before");
  // An ext4 that has met an error answers so; a tmpfs cannot be remounted while a file is open for writing.
  await using trace = await attach(STRACE, broker.pid, { inject: "pwrite64:error=EROFS" });
  await publisher.sendPacket("publish", { topic: "t", qos: 1, id: 2, payload: "while it is read-only" });
  const end = await broker.ended();
  await trace.detach();
  assert.ok(!(await publisher.drain()).some(({ wire }) => wire.type === "puback"));
  assert.equal(end.code, 74);
  assert.match(String(fatalLine(end)["error"]), /EROFS: read-only file system$/);
  await using again = await BrokerProcess.start({ dataDirectory: directory.data });
  assert.equal((await payloadsOwed(again.tcp, "owed"))[0], "before");
});
