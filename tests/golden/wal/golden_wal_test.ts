/**
 * A segment of version 1 with every type of record, written once and kept: it must be read the same for ever, and as long
 * as version 1 is what the program writes, the same records must give the same bytes.
 */
import assert from "node:assert/strict";
import { FORMAT_VERSION } from "../../../src/storage/log/segment.ts";
import { recover } from "../../../src/storage/recovery/recovery.ts";
import { FaultyDisk } from "../../storage/disk/faulty_disk.ts";
import { CREATED_MS, loadedCheckpoint, LogWriter, receiver, subscription } from "../../storage/log/log_writer.ts";

const NAME = "0000000000000040.wal";
const GOLDEN = Deno.readFileSync(new URL(`version_1/${NAME}`, import.meta.url));
const WILL = {
  topic: "will",
  qos: 2,
  retain: true,
  payload: "Ynll",
  properties: "",
  willDelayInterval: 30,
  messageExpiryInterval: 60,
} as const;

function writeGolden(): { readonly log: LogWriter; readonly positions: number[] } {
  const log = new LogWriter();
  log.open(1, "sensor");
  log.change({ kind: "open", session: 2, clientId: "büro", sessionExpiryInterval: 0xffff_ffff, username: "alice" });
  log.open(3, "gone");
  log.subscribe(1, "a/#", { qos: 2, retainAsPublished: true, subscriptionIdentifier: 268_435_455 });
  log.subscribe(2, "$share/group/a/+", { noLocal: false, retainHandling: 2 });
  log.subscribe(2, "b");
  log.change({ kind: "unsubscribe", session: 2, filter: "b" });
  log.change({ kind: "will", clientId: "sensor", will: WILL });
  log.change({ kind: "will-delayed", clientId: "büro", will: WILL, dueMs: 1_700_000_100_000 });
  log.change({ kind: "will", clientId: "gone", will: WILL });
  log.change({ kind: "will-over", clientId: "gone" });
  log.change({ kind: "end", session: 3 });
  log.block();
  const route = log.route(
    [receiver(1, { qos: 2, retainAsPublished: true, identifiers: [268_435_455], local: null })],
    [{ name: "group", filter: "a/+" }],
  );
  const positions = [
    log.publish({ topic: "a/b", payload: "", properties: [1, 1], qos: 1, publisher: 2, route }),
    log.publish({ topic: "a/ü", payload: "retained", qos: 2, retain: true, publisher: 2, packetId: 65_535, route }),
    log.publish({ topic: "a/b", payload: "mine", qos: 1, publisher: 1, route, expiresAtMs: 1_800_000_000_000 }),
    log.publish({ topic: "a/c", payload: "done", qos: 2, publisher: 2, packetId: 7, route }),
    log.publish({ topic: "old", payload: "retained", qos: 0, retain: true }),
    log.publish({ topic: "old", payload: "", qos: 0, retain: true }),
  ];
  log.release(2, 7);
  log.block();
  log.sent(1, positions[1]!, 1);
  log.received(1, positions[1]!, 1);
  log.sent(1, positions[3]!, 2);
  log.done(1, positions[3]!, 2);
  log.sent(2, positions[0]!, 9, 1);
  log.done(2, positions[3]!, 10, 1);
  log.change({ kind: "owe", session: 2, position: positions[1]!, flags: 5, identifiers: [] });
  log.change({ kind: "offline", session: 1, atMs: 1_700_000_002_000 });
  log.segment();
  return { log, positions };
}

Deno.test("the golden segment of version 1 is recovered as it was written", () => {
  const disk = new FaultyDisk();
  disk.makeDirectory("/wal");
  disk.put(`/wal/${NAME}`, GOLDEN);
  const result = recover(disk, "/wal", loadedCheckpoint(), { validation: "records", onCorruption: "refuse" });
  const { positions } = writeGolden();
  const [plain, retained, own] = positions as [number, number, number];
  const { sessions, wills, owed, groupBacklog } = result.state;
  assert.equal(result.endLsn, 64 + GOLDEN.length - 64);
  assert.equal(result.nextSession, 4);
  assert.deepEqual([result.report.blocks, result.report.records, result.report.messages], [3, 28, 6]);
  assert.deepEqual(result.segments.map(({ createdMs, lastWrittenMs }) => [createdMs, lastWrittenMs]), [
    [CREATED_MS, CREATED_MS + 2000],
  ]);
  assert.deepEqual([...result.state.retained], [["a/ü", retained]]);
  assert.deepEqual([...wills], [
    ["sensor", { will: WILL, dueMs: undefined }],
    ["büro", { will: WILL, dueMs: 1_700_000_100_000 }],
  ]);
  assert.deepEqual([...sessions], [
    [1, {
      opened: { kind: "open", session: 1, clientId: "sensor", sessionExpiryInterval: 3600 },
      isEnded: false,
      offlineAtMs: 1_700_000_002_000,
      subscriptions: new Map([
        ["a/#", subscription("a/#", { qos: 2, retainAsPublished: true, subscriptionIdentifier: 268_435_455 })],
      ]),
      inboundPacketIds: new Map(),
    }],
    [2, {
      opened: { kind: "open", session: 2, clientId: "büro", sessionExpiryInterval: 0xffff_ffff, username: "alice" },
      isEnded: false,
      offlineAtMs: null,
      subscriptions: new Map([["$share/group/a/+", subscription("$share/group/a/+", { retainHandling: 2 })]]),
      inboundPacketIds: new Map([[65_535, true]]),
    }],
  ]);
  const group = { ordinal: 1, name: "group", filter: "a/+" };
  const plainly = [...owed].map(([session, messages]) => [
    session,
    messages.map(({ position, size, flags, identifiers, packetId, isReceived, group }) => (
      { position, size, flags, identifiers, packetId, isReceived, group }
    )),
  ]);
  const identifiers = [268_435_455];
  assert.deepEqual(plainly, [
    [1, [
      { position: retained, size: 14, flags: 6, identifiers, packetId: 1, isReceived: true, group: undefined },
      { position: plain, size: 7, flags: 1, identifiers, packetId: 0, isReceived: false, group: undefined },
    ]],
    [2, [
      { position: plain, size: 7, flags: 1, identifiers: [], packetId: 9, isReceived: false, group },
      { position: retained, size: 14, flags: 5, identifiers: [], packetId: 0, isReceived: false, group: undefined },
    ]],
  ]);
  assert.deepEqual(groupBacklog, [{ position: retained, group }, { position: own, group }]);
});

Deno.test("the same records give the bytes of the golden segment", () => {
  assert.equal(FORMAT_VERSION, 1, "a new version needs golden bytes of its own");
  assert.deepEqual(writeGolden().log.segments[0]!.bytes, GOLDEN);
});
