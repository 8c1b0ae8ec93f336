/**
 * The promise of `storage.wal.sync-mode`, as the system sees it: the order of writes to the log, syncs of it, and
 * acknowledgements written to sockets. The last test shows that the method finds out a mode that promises less.
 */
import assert from "node:assert/strict";
import { PROGRESS_BYTES, ProgressKind, RecordType } from "../../src/storage/log/record.ts";
import { RawClient } from "../support/raw_client.ts";
import { testWithTools } from "../support/tools.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { BrokerProcess, type BrokerSettings, temporaryDirectory } from "./broker_process.ts";
import { durable, publish, publishExactlyOnce, subscribe, subscribeAndLeave } from "./durable_client.ts";
import { attach, findStrace, sendOf, syncBefore, type SystemCall, writesOf } from "./system_calls.ts";

const STRACE = findStrace();
const QOS_1 = [1, 2, 3, 4, 5];
const QOS_2 = [11, 12, 13];
const PAYLOAD = "delivered;";
/** Session number of the first Session that outlives its connection. */
const FIRST_SESSION = 1;

/** Publishes one by one to a durable Session, and returns the calls that this made. */
async function traced(settings: Omit<BrokerSettings, "dataDirectory">): Promise<readonly SystemCall[]> {
  await using directory = await temporaryDirectory();
  await using broker = await BrokerProcess.start({ dataDirectory: directory.data, ...settings });
  await subscribeAndLeave(broker.tcp, "owed", "t");
  await using client = await RawClient.connect(broker.tcp, { clientId: "publisher" });
  await using trace = await attach(STRACE, broker.pid);
  for (const id of QOS_1) await publish(client, id, `payload ${id};`);
  for (const id of QOS_2) await publishExactlyOnce(client, id, `payload ${id};`);
  return await trace.detach();
}

/** Publishes one message at QoS 2 to a durable Session that is online and takes it, and returns the calls that this made. */
async function tracedDelivery(settings: Omit<BrokerSettings, "dataDirectory">): Promise<readonly SystemCall[]> {
  await using directory = await temporaryDirectory();
  await using broker = await BrokerProcess.start({ dataDirectory: directory.data, ...settings });
  await using subscriber = await durable(broker.tcp, "subscriber");
  await subscribe(subscriber, "t");
  await using client = await RawClient.connect(broker.tcp, { clientId: "publisher" });
  await using trace = await attach(STRACE, broker.pid);
  await publishExactlyOnce(client, 1, PAYLOAD);
  assert.equal((await subscriber.expect("publish")).wire.id, 1);
  await subscriber.sendPacket("pubrec", { id: 1 });
  await subscriber.expect("pubrel");
  return await trace.detach();
}

/** The record of a step of the delivery, up to the position of the message; see `docs/wal-format.md`. */
function progress(kind: ProgressKind): Uint8Array {
  const record = new Uint8Array(16);
  const view = new DataView(record.buffer);
  view.setUint32(0, PROGRESS_BYTES, true);
  view.setUint8(4, RecordType.PROGRESS);
  view.setUint8(5, kind);
  view.setUint16(6, 1, true);
  view.setUint32(8, FIRST_SESSION, true);
  return record;
}

/** The acknowledgement of a message, with the payload that it is for. */
function acknowledgements(calls: readonly SystemCall[]): { readonly payload: string; readonly sent: SystemCall }[] {
  const sent = (type: "puback" | "pubrec", id: number) => ({
    payload: `payload ${id};`,
    sent: sendOf(calls, encodeWire(type, { id }, 5)),
  });
  return [...QOS_1.map((id) => sent("puback", id)), ...QOS_2.map((id) => sent("pubrec", id))];
}

for (const flags of [["--wal-sync-mode", "immediate"], ["--wal-sync-mode", "periodic", "--wal-force-fsync"]]) {
  testWithTools(
    `with ${flags.join(" ")} a sync of the record returns before its acknowledgement`,
    [STRACE],
    async () => {
      const calls = await traced({ flags });
      for (const { payload, sent } of acknowledgements(calls)) {
        assert.ok(syncBefore(calls, payload, sent), `"${payload}" was acknowledged before it was synced`);
      }
    },
  );

  testWithTools(
    `with ${flags.join(" ")} a sync of its record returns before PUBLISH at QoS 2, and another before PUBREL`,
    [STRACE],
    async () => {
      const calls = await tracedDelivery({ flags });
      const publish = sendOf(calls, encodeWire("publish", { topic: "t", qos: 2, id: 1, payload: PAYLOAD }, 5));
      assert.ok(syncBefore(calls, progress(ProgressKind.SENT), publish), "the Packet Identifier was not synced");
      const pubrel = sendOf(calls, encodeWire("pubrel", { id: 1 }, 5));
      assert.ok(syncBefore(calls, progress(ProgressKind.RECEIVED), pubrel), "that PUBREC came was not synced");
    },
  );
}

testWithTools("with batch neither is synced before PUBLISH and PUBREL, and both are written", [STRACE], async () => {
  const flags = ["--wal-sync-mode", "batch", "--wal-batch-sync-size", "1000", "--wal-sync-interval", "1h"];
  const calls = await tracedDelivery({ flags });
  for (const kind of [ProgressKind.SENT, ProgressKind.RECEIVED]) {
    const packet = kind === ProgressKind.SENT
      ? encodeWire("publish", { topic: "t", qos: 2, id: 1, payload: PAYLOAD }, 5)
      : encodeWire("pubrel", { id: 1 }, 5);
    const sent = sendOf(calls, packet);
    assert.equal(syncBefore(calls, progress(kind), sent), undefined);
    assert.ok(writesOf(calls, progress(kind)).some(({ endedAt }) => endedAt < sent.startedAt));
  }
});

testWithTools(
  "with batch the record is written before its acknowledgement, and not yet synced",
  [STRACE],
  async () => {
    const flags = ["--wal-sync-mode", "batch", "--wal-batch-sync-size", "1000", "--wal-sync-interval", "1h"];
    const calls = await traced({ flags });
    for (const { payload, sent } of acknowledgements(calls)) {
      assert.equal(syncBefore(calls, payload, sent), undefined);
      assert.ok(writesOf(calls, payload).some(({ endedAt }) => endedAt < sent.startedAt), payload);
    }
  },
);
