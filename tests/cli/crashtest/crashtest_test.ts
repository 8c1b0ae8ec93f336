/**
 * The books of the crash test, and what it refuses to touch: a test tool that cannot find a fault proves nothing.
 */

import assert from "node:assert/strict";
import { prepareDirectory } from "../../../src/cli/crashtest/directory.ts";
import { Ledger, Receiver, SentTopic } from "../../../src/cli/crashtest/ledger.ts";
import { encodePayload, sequenceOf } from "../../../src/cli/crashtest/payload.ts";
import { SeededRandom } from "../../../src/cli/crashtest/seeded_random.ts";

/** A ledger with one topic and one receiver. */
function books(qos: 1 | 2, grantedQos: 1 | 2, order: "kept" | "not_promised" = "kept") {
  const ledger = new Ledger();
  const topic = ledger.addTopic(new SentTopic("t", qos, false));
  const receiver = ledger.addReceiver(new Receiver("r", grantedQos, order));
  const send = (count: number) => {
    for (let sent = 0; sent < count; sent++) ledger.acknowledge(topic, ledger.send(topic));
  };
  const deliver = (...sequences: number[]) => {
    for (const sequence of sequences) ledger.deliver(receiver, "t", sequence);
  };
  return { ledger, topic, receiver, send, deliver };
}

const faultsOf = (ledger: Ledger) => Object.fromEntries(ledger.faults);

Deno.test("the ledger is content when everything acknowledged arrives once and in order", () => {
  const { ledger, send, deliver } = books(2, 2);
  send(3);
  assert.equal(ledger.outstanding, 3);
  deliver(1, 2, 3);
  assert.equal(ledger.outstanding, 0);
  ledger.close();
  assert.deepEqual(faultsOf(ledger), {});
  assert.deepEqual([ledger.acknowledged, ledger.delivered], [3, 3]);
});

Deno.test("the ledger counts what was acknowledged and never arrived as lost, at each receiver", () => {
  const { ledger, send, deliver } = books(1, 1);
  ledger.addReceiver(new Receiver("other", 2, "kept"));
  send(2);
  deliver(2);
  assert.equal(ledger.outstanding, 3);
  ledger.close();
  assert.deepEqual(faultsOf(ledger), { lost: 3 });
  assert.match(ledger.examples[0]!, /^r never got t number 1/);
});

Deno.test("the ledger does not miss what was never acknowledged", () => {
  const { ledger, topic, deliver } = books(1, 1);
  ledger.send(topic);
  ledger.send(topic);
  deliver(2);
  ledger.close();
  assert.deepEqual(faultsOf(ledger), {});
});

Deno.test("the ledger takes an arrival before its acknowledgement", () => {
  const { ledger, topic, deliver } = books(2, 2);
  const sequence = ledger.send(topic);
  deliver(sequence);
  ledger.acknowledge(topic, sequence);
  assert.equal(ledger.outstanding, 0);
});

Deno.test("the ledger forgives duplicates where either side has QoS 1, and no others", () => {
  for (const [qos, grantedQos, isFault] of [[1, 1, false], [1, 2, false], [2, 1, false], [2, 2, true]] as const) {
    const { ledger, send, deliver } = books(qos, grantedQos);
    send(2);
    deliver(1, 2, 1, 2);
    assert.deepEqual(faultsOf(ledger), isFault ? { duplicate_qos2: 2 } : {}, `QoS ${qos} to QoS ${grantedQos}`);
    assert.equal(ledger.duplicatesQos1 + ledger.duplicatesQos2, 2);
  }
});

Deno.test("the ledger finds a first arrival out of order, except in a shared group", () => {
  for (const [order, expected] of [["kept", { out_of_order: 1 }], ["not_promised", {}]] as const) {
    const { ledger, send, deliver } = books(2, 2, order);
    send(3);
    deliver(1, 3, 2);
    assert.deepEqual(faultsOf(ledger), expected);
  }
});

Deno.test("the ledger finds messages that nobody sent", () => {
  const { ledger, receiver, send, deliver } = books(1, 1);
  send(1);
  deliver(1, 2, 0, NaN);
  ledger.deliver(receiver, "elsewhere", 1);
  assert.deepEqual(faultsOf(ledger), { never_sent: 4 });
});

Deno.test("a payload of the crash test gives back its number, and others give none", () => {
  const encoder = new TextEncoder();
  assert.equal(sequenceOf(encoder.encode(encodePayload("publisher-1", 42, 100))), 42);
  for (const text of ["", "publisher-1 0 ", "publisher-1 4", "publisher-1 4 y", "4 x"]) {
    assert.equal(sequenceOf(encoder.encode(text)), NaN, text);
  }
});

Deno.test("a seed repeats its choices, and another one makes others", () => {
  const choices = (seed: number) => {
    const random = new SeededRandom(seed);
    return Array.from({ length: 20 }, () => random.between(3, 7));
  };
  assert.deepEqual(choices(7), choices(7));
  assert.notDeepEqual(choices(7), choices(8));
  assert.deepEqual([...new Set(choices(7))].sort(), [3, 4, 5, 6, 7]);
});

Deno.test("the crash test makes, takes over and empties its own directories, and touches no others", () => {
  const parent = Deno.makeTempDirSync();
  try {
    const directory = `${parent}/new/one`;
    const prepared = prepareDirectory(directory);
    assert.ok("dataPath" in prepared);
    Deno.mkdirSync(prepared.dataPath);
    Deno.writeTextFileSync(`${prepared.dataPath}/promptmq.db`, "old");
    assert.deepEqual(prepareDirectory(directory), prepared);
    assert.throws(() => Deno.statSync(prepared.dataPath), Deno.errors.NotFound);

    Deno.writeTextFileSync(`${parent}/precious`, "data");
    const refused = prepareDirectory(parent);
    assert.ok("reason" in refused && /not empty/.test(refused.reason), JSON.stringify(refused));
    assert.deepEqual(Array.from(Deno.readDirSync(parent), ({ name }) => name).sort(), ["new", "precious"]);

    const blocked = prepareDirectory(`${parent}/precious`);
    assert.ok("reason" in blocked, JSON.stringify(blocked));
    assert.equal(Deno.readTextFileSync(`${parent}/precious`), "data");
  } finally {
    Deno.removeSync(parent, { recursive: true });
  }
});
