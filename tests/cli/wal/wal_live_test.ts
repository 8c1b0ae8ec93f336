/**
 * `promptmq wal inspect` on the store of a broker that is running: it counts what is owed, and disturbs nothing.
 */

import mqtt, { type IClientOptions } from "mqtt";
import assert from "node:assert/strict";
import { findWal } from "../../../src/cli/wal/wal_directory.ts";
import { type LiveCounts, liveCounts } from "../../../src/cli/wal/wal_live.ts";
import { openNodeDisk } from "../../../src/storage/disk/node_disk.ts";
import { Broker } from "../../support/broker.ts";
import { EventQueue } from "../../support/event_queue.ts";
import { WalFixture } from "./wal_fixture.ts";

const DISK = openNodeDisk();

function countsOf(directory: string): LiveCounts {
  const wal = findWal(DISK, directory);
  assert.ok(wal);
  const counts = liveCounts(DISK, wal);
  assert.ok("owed" in counts, JSON.stringify(counts));
  return counts;
}

/** Numbers of a Session, without `$SYS`. */
function owedTo(counts: LiveCounts, clientId: string): number | undefined {
  return counts.sessions.find((session) => session.clientId === clientId)?.owed;
}

Deno.test("wal inspect counts what a running broker owes and retains", async () => {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_live_" });
  const connections = new EventQueue<true>();
  const arrivals = new EventQueue<true>();
  try {
    const flags = ["--storage", "disk", "--data-dir", directory, "--mqtt-sys-interval", "0"];
    await using broker = await Broker.start({ flags });
    const connect = async (options: IClientOptions) => {
      const url = `mqtt://127.0.0.1:${broker.tcp.port}`;
      const client = mqtt.connect(url, {
        ...{ protocolVersion: 5, reconnectPeriod: 0, timerVariant: "native" },
        ...options,
      });
      client.on("message", () => arrivals.push(true));
      client.once("connect", () => connections.push(true));
      await connections.next("MQTT.js to connect");
      return client;
    };
    const durable = { clientId: "away", clean: false, properties: { sessionExpiryInterval: 600 } };
    const away = await connect(durable);
    await away.subscribeAsync("owed/#", { qos: 1 });
    await away.endAsync();
    const publisher = await connect({ clientId: "publisher" });
    for (let index = 0; index < 5; index++) await publisher.publishAsync(`owed/${index}`, "x", { qos: 1 });
    await publisher.publishAsync("kept", "x", { qos: 1, retain: true });
    const counts = countsOf(directory);
    assert.deepEqual([owedTo(counts, "away"), counts.owed, counts.retained, counts.messages], [5, 5, 1, 6]);

    await publisher.publishAsync("kept", "", { qos: 1, retain: true });
    const back = await connect(durable);
    for (let arrived = 0; arrived < 5; arrived++) await arrivals.next("a message that was owed");
    // Answered after the acknowledgements before it, so they are in the log.
    await back.publishAsync("fence", "x", { qos: 1 });
    const after = countsOf(directory);
    assert.deepEqual([owedTo(after, "away"), after.owed, after.retained, after.messages], [0, 0, 0, 0]);
    await back.endAsync();
    await publisher.endAsync();
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("wal inspect finds nothing live in a log without a database and without Sessions", () => {
  using wal = new WalFixture();
  wal.segment();
  assert.deepEqual(countsOf(wal.dataPath), { messages: 0, owed: 0, waitingForGroups: 0, retained: 0, sessions: [] });
});

Deno.test("wal inspect says why nothing is known of a database that it cannot read", () => {
  using wal = new WalFixture();
  wal.segment();
  Deno.writeTextFileSync(
    `${wal.dataPath}/promptmq.db`,
    "no database at all, but long enough to be looked at".repeat(20),
  );
  const found = findWal(DISK, wal.dataPath);
  assert.ok(found);
  const counts = liveCounts(DISK, found);
  assert.ok("unknown" in counts && /database/.test(counts.unknown), JSON.stringify(counts));
});
