/**
 * A bug that throws where nobody catches it, in a whole broker: it is told once, and the broker ends in order, as it
 * would by a signal, except for the exit code.
 */
import assert from "node:assert/strict";
import { Broker, type BrokerExit } from "../support/broker.ts";
import { RawClient } from "../support/raw_client.ts";

const SERVER_SHUTTING_DOWN = 0x8b;
const PROGRAM = new URL("../support/dying_broker.ts", import.meta.url);

const PUBLISH = { topic: "t", qos: 1, id: 2, payload: "owed" };

/** A client with a durable Session that gets `PUBLISH`. */
async function subscriber(broker: Broker): Promise<RawClient> {
  const properties = [["sessionExpiryInterval", 100]] as const;
  const client = await RawClient.connect(broker.tcp, { clientId: "client", properties });
  await client.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "t", qos: 1 }] });
  await client.expect("suback");
  return client;
}

/**
 * Brings the bug out, by a message or by a signal, and gives how the broker ended: a client was told, the PID file is
 * gone, and the next broker finds the directory free and what was acknowledged in it.
 */
async function dieInOrder(where: string, flags: readonly string[]): Promise<BrokerExit> {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_dying_" });
  const pidFile = `${directory}/pid`;
  const own = [...flags, "--data-dir", `${directory}/data`, "--pid-file", pidFile];
  await using broker = await Broker.start({ program: PROGRAM, args: [where], flags: own });
  await using client = await subscriber(broker);
  if (where === "goodbye") broker.signal("SIGTERM");
  else await client.sendPacket("publish", PUBLISH);
  const received = await client.drain();
  const { wire } = received.at(-1)!;
  assert.equal(wire.type, "disconnect");
  assert.equal(wire.reasonCode, SERVER_SHUTTING_DOWN);
  const exit = await broker.ended();
  await assert.rejects(Deno.stat(pidFile), Deno.errors.NotFound);

  await using next = await Broker.start({ flags: own });
  if (!flags.includes("memory") && where !== "goodbye") {
    await using again = await RawClient.connect(next.tcp, { clientId: "client", cleanStart: false });
    assert.equal((await again.expect("publish")).wire.payload, "owed");
  }
  assert.equal((await next.stop()).code, 0);
  await Deno.remove(directory, { recursive: true });
  return exit;
}

/** The one fatal line of a log that goes on as it should, `more` of it during the close. */
function fatalLine({ log }: BrokerExit, more: readonly string[] = []) {
  const fatal = log.filter(({ level }) => level === "fatal");
  assert.equal(fatal.length, 1, JSON.stringify(log));
  const after = log.slice(log.indexOf(fatal[0]!) + 1).map(({ msg }) => msg);
  assert.deepEqual(after, ["promptmq is stopping", ...more, "promptmq has stopped"]);
  return fatal[0]!;
}

const PLACES = [
  ["a microtask", "microtask", []],
  ["a timer", "timer", []],
  ["a promise that nobody hears", "rejection", []],
  ["what waited for a sync", "commit", []],
  ["what waited for the end of a turn", "commit", ["--storage", "memory"]],
] as const;

for (const [place, where, flags] of PLACES) {
  Deno.test(`a throw in ${place} ends the broker in order: one fatal line, 0x8B, no PID file, exit 70`, async () => {
    const exit = await dieInOrder(where, flags);
    const { msg, part, cause } = fatalLine(exit);
    assert.equal(msg, "a part of the broker died");
    assert.equal(part, "plain code");
    assert.match(String(cause), /^Error: a bug of the test\n +at /);
    assert.equal(exit.code, 70);
  });
}

Deno.test("a storage failure that nobody caught ends the broker in order, in one sentence and with its own exit code", async () => {
  const exit = await dieInOrder("storage", []);
  const { msg, error, cause } = fatalLine(exit);
  assert.equal(msg, "promptmq has failed");
  assert.equal(error, "Cannot read the log: EIO: by a test");
  assert.equal(cause, undefined);
  assert.equal(exit.code, 74);
});

Deno.test("a bug that throws again and again neither stops the close of the broker nor fills its log", async () => {
  const exit = await dieInOrder("for ever", []);
  assert.equal(fatalLine(exit, ["another part of the broker died"]).msg, "a part of the broker died");
  assert.equal(exit.code, 70);
});

Deno.test("a throw during a stop that a signal began does not cut it short, and it does not end with 0", async () => {
  const exit = await dieInOrder("goodbye", []);
  const messages = exit.log.map(({ msg }) => msg).slice(-3);
  assert.deepEqual(messages, ["promptmq is stopping", "a part of the broker died", "promptmq has stopped"]);
  assert.equal(exit.code, 70);
});

Deno.test("a signal during the close after a bug does not make it an orderly stop", async () => {
  const broker = await Broker.start({ program: PROGRAM, args: ["microtask"], flags: ["--storage", "memory"] });
  await using client = await subscriber(broker);
  await client.sendPacket("publish", PUBLISH);
  await client.expect("puback");
  await client.expect("disconnect");
  // The broker waits for this client to end its side.
  broker.signal("SIGTERM");
  await client.close();
  assert.equal((await broker.ended()).code, 70);
});
