/**
 * SIGKILL at named points of the protocol, for each sync mode: what was acknowledged is there after the next start, once
 * where the protocol says once, with the Packet Identifiers that were in flight.
 *
 * Each point is reached by a packet that only comes when it is reached; then the process is killed at once.
 */
import assert from "node:assert/strict";
import { within } from "../support/event_queue.ts";
import { type Endpoint, RawClient } from "../support/raw_client.ts";
import type { WirePacket } from "../support/wire_packets.ts";
import { BrokerProcess, complaints, temporaryDirectory } from "./broker_process.ts";
import {
  durable,
  payloadsOwed,
  publish,
  publishExactlyOnce,
  subscribe,
  subscribeAndLeave,
  takeAll,
} from "./durable_client.ts";

/** A life of the broker: ends with SIGKILL. */
type Life = (tcp: Endpoint, broker: BrokerProcess, wal: string) => Promise<void>;

const SYNC_MODES = ["immediate", "batch", "periodic"];
const SMALL_SEGMENTS = {
  "storage.wal.segment-size": "64KiB",
  "storage.compaction.max-wal-size": "1MiB",
  "storage.compaction.check-interval": "100ms",
};

/** Runs lives one after the other over one data directory; after each the broker is killed, with nothing said. */
async function killed(mode: string, lives: readonly Life[], options: Record<string, string> = {}): Promise<void> {
  await using directory = await temporaryDirectory();
  const settings = { dataDirectory: directory.data, flags: ["--wal-sync-mode", mode], options };
  for (const live of lives) {
    await using broker = await BrokerProcess.start(settings);
    await live(broker.tcp, broker, directory.wal);
    await broker.kill();
    const lost = complaints(broker.log).filter((msg) =>
      msg !== "the end of the log was torn and cut; nothing in it was synced"
    );
    assert.deepEqual(lost, []);
  }
}

/** Connects to a Session that must be there. */
async function resume(tcp: Endpoint, clientId: string): Promise<RawClient> {
  const client = await RawClient.open(tcp);
  const properties = [["sessionExpiryInterval", 0xffff_ffff] as const];
  await client.sendPacket("connect", { clientId, cleanStart: false, properties, keepAlive: 0 });
  assert.equal((await client.expect("connack")).wire.sessionPresent, true);
  return client;
}

function sketch({ type, id, qos, dup, payload }: WirePacket): unknown[] {
  return type === "publish" ? [type, id, qos, dup ?? false, payload] : [type, id];
}

const LARGE = "x".repeat(30_000);
/** Twice what `max-wal-size` keeps. */
const LOAD_MESSAGES = 70;
const TEN = Array.from({ length: 10 }, (_, index) => `m${index}`);

/** Registers a test of all sync modes, side by side. */
function inEachMode(title: string, body: (mode: string) => Promise<void>): void {
  Deno.test(title, async () => {
    const outcomes = await Promise.allSettled(SYNC_MODES.map(body));
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.status === "rejected") {
        throw new Error(`with sync-mode ${SYNC_MODES[index]}`, { cause: outcome.reason });
      }
    }
  });
}

inEachMode("killed right after PUBACK, PUBCOMP and SUBACK, nothing of it is lost", async (mode) => {
  await killed(mode, [
    (tcp) => subscribeAndLeave(tcp, "owed", "t"),
    async (tcp) => {
      await using publisher = await RawClient.connect(tcp, { clientId: "publisher" });
      for (const [index, payload] of TEN.entries()) await publish(publisher, index + 1, payload);
    },
    async (tcp) => {
      await using publisher = await RawClient.connect(tcp, { clientId: "publisher" });
      await publishExactlyOnce(publisher, 1, "exactly once");
    },
    async (tcp) => assert.deepEqual(await payloadsOwed(tcp, "owed"), [...TEN, "exactly once"]),
  ]);
});

inEachMode("killed between PUBREC and PUBREL, an inbound QoS 2 message arrives once", async (mode) => {
  const message = { topic: "t", qos: 2, id: 7, payload: "exactly once" };
  await killed(mode, [
    async (tcp) => {
      await subscribeAndLeave(tcp, "owed", "t");
      await using publisher = await durable(tcp, "publisher");
      await publisher.sendPacket("publish", message);
      await publisher.expect("pubrec");
    },
    async (tcp) => {
      await using publisher = await resume(tcp, "publisher");
      await publisher.sendPacket("publish", { ...message, dup: true });
      assert.equal((await publisher.expect("pubrec")).wire.id, 7);
    },
    async (tcp) => {
      await using publisher = await resume(tcp, "publisher");
      await publisher.sendPacket("pubrel", { id: 7 });
      const { wire } = await publisher.expect("pubcomp");
      assert.deepEqual([wire.id, wire.reasonCode], [7, 0]);
    },
    async (tcp) => {
      await using publisher = await resume(tcp, "publisher");
      await publisher.sendPacket("publish", { ...message, payload: "another one" });
      await publisher.expect("pubrec");
    },
    async (tcp) => assert.deepEqual(await payloadsOwed(tcp, "owed"), ["exactly once", "another one"]),
  ]);
});

inEachMode("killed in an outbound QoS 2 delivery, it goes on with its Packet Identifier", async (mode) => {
  let id = 0;
  await killed(mode, [
    async (tcp) => {
      await subscribeAndLeave(tcp, "owed", "t");
      await using publisher = await RawClient.connect(tcp, { clientId: "publisher" });
      await publishExactlyOnce(publisher, 1, "exactly once");
    },
    async (tcp) => {
      await using receiver = await resume(tcp, "owed");
      id = (await receiver.expect("publish")).wire.id ?? 0;
    },
    async (tcp) => {
      await using receiver = await resume(tcp, "owed");
      const { wire } = await receiver.expect("publish");
      assert.deepEqual(sketch(wire), ["publish", id, 2, true, "exactly once"]);
      await receiver.sendPacket("pubrec", { id });
      await receiver.expect("pubrel");
    },
    async (tcp) => {
      await using receiver = await resume(tcp, "owed");
      assert.deepEqual(sketch((await receiver.expect("pubrel")).wire), ["pubrel", id]);
    },
    async (tcp) => {
      await using receiver = await resume(tcp, "owed");
      await receiver.expect("pubrel");
      await receiver.sendPacket("pubcomp", { id });
      // A subscription is acknowledged once everything before it is in the log.
      await subscribe(receiver, "other");
    },
    async (tcp) => {
      await using receiver = await resume(tcp, "owed");
      await receiver.expectQuiet();
    },
  ]);
});

inEachMode("killed with a Will pending and a Retained Message, both are there", async (mode) => {
  const will = { topic: "t", payload: "the will", qos: 1, properties: [["willDelayInterval", 1] as const] };
  await killed(mode, [
    async (tcp) => {
      await subscribeAndLeave(tcp, "owed", "t");
      await using client = await durable(tcp, "mortal", { will });
      await publish(client, 1, "retained", { topic: "kept", retain: true });
      await publish(client, 2, "a first one", { topic: "replaced", retain: true });
      await publish(client, 3, "", { topic: "replaced", retain: true });
    },
    async (tcp) => {
      await using receiver = await resume(tcp, "owed");
      const { wire } = await receiver.expect("publish");
      assert.equal(wire.payload, "the will");
      await receiver.sendPacket("puback", { id: wire.id! });
      await subscribe(receiver, "kept", 1);
      const kept = (await receiver.expect("publish")).wire;
      assert.deepEqual([kept.payload, kept.retain], ["retained", true]);
      await receiver.sendPacket("puback", { id: kept.id! });
      await subscribe(receiver, "replaced", 1);
      await receiver.expectQuiet();
    },
    async (tcp) => assert.deepEqual(await payloadsOwed(tcp, "owed"), []),
  ]);
});

inEachMode("killed again and again while the log is compacted, nothing is lost or doubled", async (mode) => {
  const published: string[] = [];
  const load: Life = async (tcp, _, wal) => {
    await using publisher = await RawClient.connect(tcp, { clientId: "publisher" });
    using watcher = Deno.watchFs(wal, { recursive: false });
    const cleared = within(removalOfSegment(watcher), "compaction to clear a segment").then(() => "cleared" as const);
    for (let id = 1; id <= LOAD_MESSAGES; id++) {
      const payload = `${published.length} ${LARGE}`;
      const taken = publish(publisher, id, payload).then(() => "taken" as const);
      if (await Promise.race([taken, cleared]) === "cleared") break;
      published.push(payload);
    }
    await cleared;
  };
  await killed(mode, [
    (tcp) => subscribeAndLeave(tcp, "owed", "t"),
    load,
    load,
    async (tcp) => assertDelivered(await payloadsOwed(tcp, "owed"), published),
  ], SMALL_SEGMENTS);
});

/** Waits until a segment is gone: the latest moment at which compaction has begun. */
async function removalOfSegment(watcher: Deno.FsWatcher): Promise<void> {
  for await (const { kind, paths } of watcher) {
    if (kind === "remove" && paths.some((path) => path.endsWith(".wal"))) return;
  }
}

/** Everything acknowledged, in order and once; a message that was under way when the broker was killed may be there. */
function assertDelivered(delivered: readonly string[], acknowledged: readonly string[]): void {
  const names = (payloads: readonly string[]) => payloads.map((payload) => payload.slice(0, payload.indexOf(" ")));
  assert.deepEqual([...new Set(names(delivered))], names(acknowledged));
  assert.ok(delivered.every((payload) => payload.endsWith(LARGE)));
}

Deno.test("a stop by SIGTERM leaves nothing torn, and the next start has nothing to complain of", async () => {
  await using directory = await temporaryDirectory();
  const settings = { dataDirectory: directory.data, flags: ["--wal-sync-mode", "periodic"] };
  for (const before of [[], ["under way"]]) {
    await using broker = await BrokerProcess.start(settings);
    assert.equal((await broker.untilLogged("storage is recovered"))["tornBytes"], 0);
    await using client = await durable(broker.tcp, "client");
    assert.deepEqual((await takeAll(client)).map(({ payload }) => payload), before);
    await subscribe(client, "t", 1);
    await client.sendPacket("publish", { topic: "t", qos: 1, id: 2, payload: "under way" });
    await client.expect("puback");
    const { code, log } = await broker.stop();
    assert.equal(code, 0);
    assert.deepEqual(complaints(log), []);
  }
  const names = Array.from(Deno.readDirSync(directory.wal), ({ name }) => name);
  assert.deepEqual(names.filter((name) => /broken|quarantine|unfinished/.test(name)), []);
});
