/**
 * Plays attempts to break into a guarded broker, one after the other, and looks after each door what came of them.
 *
 * Attackers pipeline a message to `intrusion/…` behind everything they send. A watcher with all rights subscribes to
 * those topics before, and must have heard nothing in the end: nobody who was refused published anything. Then it is
 * asserted that nothing retained was planted, that no secret is in the log or in `/metrics`, that an honest client is
 * served, and that the process ends as it should.
 */
import assert from "node:assert/strict";
import { OPENSSL } from "./certificates.ts";
import { credentialsOf, GuardedBroker, PASSWORDS } from "./guarded_broker.ts";
import { type ByteStream, type Endpoint, RawClient, tcpStream } from "./raw_client.ts";
import { testWithTools } from "./tools.ts";
import { concatBytes } from "./wire_bytes.ts";
import { encodeWire, type WireFields, type WirePacket } from "./wire_packets.ts";

/** One attempt; it asserts its own outcome. */
export type Attempt = (guarded: GuardedBroker) => Promise<void>;

/** Registers one test that plays all attempts at a door against a broker of their own. */
export function playDoor(door: string, attempts: Readonly<Record<string, Attempt>>, more = ""): void {
  testWithTools(`break-in: ${door}`, [OPENSSL], async () => {
    await using guarded = await GuardedBroker.start(more);
    await using watcher = await guarded.login("alice", { clientId: "watcher" });
    await watcher.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: INTRUSION }] });
    await watcher.expect("suback");
    for (const [name, attempt] of Object.entries(attempts)) {
      try {
        await attempt(guarded);
      } catch (error) {
        throw new Error(`attempt "${name}": ${error instanceof Error ? error.message : error}`, { cause: error });
      }
    }
    // A message that got in is in front of this answer.
    await watcher.expectQuiet();
    await assertUntouched(guarded);
  });
}

/** Topics that nobody but `alice` may publish to. */
const INTRUSION = "intrusion/#";

/** What an attacker sends behind whatever else it sends. */
export function planted(version = 5): Uint8Array<ArrayBuffer> {
  return concatBytes(
    encodeWire("publish", { topic: "intrusion/now", payload: "in" }, version),
    encodeWire("publish", { topic: "intrusion/retained", payload: "in", retain: true }, version),
  );
}

/** Sends CONNECT with a message behind it; the broker must refuse with a Reason Code and close. */
export async function refused(
  where: Endpoint | ByteStream,
  fields: WireFields,
  ...reasonCodes: readonly number[]
): Promise<WirePacket> {
  const version = fields.version ?? 5;
  const stream = "port" in where ? tcpStream(await Deno.connect(where)) : where;
  await using client = new RawClient(stream, version);
  await client.send(encodeWire("connect", { clientId: "intruder", ...fields }, version), planted(version)).catch(gone);
  const { wire } = await client.expect("connack");
  assert.ok(reasonCodes.includes(wire.reasonCode ?? -1), `CONNACK has Reason Code 0x${wire.reasonCode?.toString(16)}`);
  assert.equal(wire.sessionPresent, false);
  await client.expectClose();
  return wire;
}

/** Sends bytes, and a legal login with a message behind them; the broker must close without a successful CONNACK. */
export async function cut(where: Endpoint | ByteStream, ...parts: readonly Uint8Array[]): Promise<void> {
  const stream = "port" in where ? tcpStream(await Deno.connect(where)) : where;
  try {
    await stream.write(concatBytes(...parts, planted())).catch(gone);
    const received: number[] = [];
    for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) received.push(...chunk);
    const isWelcome = received[0] === 0x20 && received[3] === 0;
    assert.ok(!isWelcome, "the broker welcomes the connection");
  } finally {
    stream.close();
  }
}

/** A legal CONNECT of a user with the right password. */
export function honestConnect(username: string, fields: WireFields = {}): Uint8Array<ArrayBuffer> {
  return encodeWire("connect", { clientId: "intruder", ...credentialsOf(username), ...fields }, fields.version ?? 5);
}

/** For writes to a broker that may close before it has all. */
export function gone(): void {}

async function assertUntouched(guarded: GuardedBroker): Promise<void> {
  const { broker } = guarded;
  await using honest = await guarded.login("alice", { clientId: "honest" });
  await honest.sendPacket("subscribe", {
    id: 1,
    subscriptions: [{ filter: INTRUSION }, { filter: "honest/#", qos: 1 }],
  });
  assert.deepEqual((await honest.expect("suback")).wire.reasonCodes, [0, 1]);
  await honest.sendPacket("publish", { topic: "honest/flow", payload: "still here", qos: 1, id: 2 });
  const received = [await honest.next("PUBACK or PUBLISH"), await honest.next("PUBACK or PUBLISH")];
  assert.deepEqual(received.map((packet) => packet?.wire.type).toSorted(), ["puback", "publish"]);
  const message = received.find((packet) => packet?.wire.type === "publish");
  assert.equal(message?.wire.payload, "still here", "a Retained Message was planted");
  const metrics = await (await fetch(`${broker.metricsUrl}/metrics`)).text();
  const log = JSON.stringify(broker.log);
  for (const secret of [...Object.values(PASSWORDS), ...SECRET_MARKS]) {
    assert.ok(!metrics.includes(secret), "a secret is in /metrics");
    assert.ok(!log.includes(secret), "a secret is in the log");
  }
  const worst = broker.log.filter(({ level }) => level === "error" || level === "fatal");
  assert.deepEqual(worst, []);
}

/** Beginnings of what tokens, hashes and guessed passwords of attempts look like. */
const SECRET_MARKS = ["guessed-", "eyJ", "$scrypt$", "$scram-sha-256$", "PRIVATE KEY"];
