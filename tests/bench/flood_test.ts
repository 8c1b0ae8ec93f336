/** The flood: what the attacker writes and counts, and what the honest pair notices. */

import assert from "node:assert/strict";
import { attacksWith, nameAnswer } from "../../bench/load/flood_attacks.ts";
import { flood } from "../../bench/load/flood_client.ts";
import { type FloodOutcome, parseFloodOptions, ratioOf, renderFlood } from "../../bench/load/flood.ts";
import { HonestPair } from "../../bench/load/honest_pair.ts";
import { HONEST, type Script, startScriptedBroker } from "./scripted_broker.ts";

const CLIENT_HELLO = Uint8Array.from({ length: 200 }, (_, index) => index === 0 ? 0x16 : index & 0xff);
const ATTACKS = attacksWith({ username: "honest", clientHello: CLIENT_HELLO });

Deno.test("every kind of bad connect has its own name, and no two attempts present the same", () => {
  assert.equal(new Set(ATTACKS.map((attack) => attack.name)).size, ATTACKS.length);
  for (const name of ["wrong password", "unknown user", "no credentials", "garbage"]) {
    const attack = ATTACKS.find((known) => known.name === name)!;
    assert.notDeepEqual(attack.bytes(1), attack.bytes(2), name);
  }
});

Deno.test("bad connects are what their names say", () => {
  const bytesOf = (name: string) => ATTACKS.find((attack) => attack.name === name)!.bytes(3);
  const text = (name: string) => new TextDecoder().decode(bytesOf(name));
  assert.match(text("wrong password"), /honest.*wrong3/s);
  assert.match(text("unknown user"), /nobody3/);
  assert.doesNotMatch(text("unknown user"), /honest/);
  assert.deepEqual([...bytesOf("oversized CONNECT").subarray(0, 5)], [0x10, 0xff, 0xff, 0xff, 0x7f]);
  for (const door of ["garbage", "garbage instead of TLS"]) {
    assert.ok(![0x10, 0x16].includes(bytesOf(door)[0]!), "neither a CONNECT nor a TLS record");
  }
  assert.deepEqual(bytesOf("half a ClientHello"), CLIENT_HELLO.subarray(0, 100));
  assert.equal(bytesOf("connect and close").length, 0);
});

Deno.test("nameAnswer tells refusals, alerts and silence apart", () => {
  const cases: readonly [first: readonly number[], end: Parameters<typeof nameAnswer>[1], expected: string][] = [
    [[0x20, 3, 0, 0x86, 0], "closed", "CONNACK 0x86"],
    [[0xe0, 2, 0x95, 0], "closed", "DISCONNECT 0x95"],
    [[0x15, 3, 3, 0, 2, 2, 50], "reset", "TLS alert"],
    [[0x16, 3, 3], "left", "TLS handshake, then left after no answer"],
    [[], "closed", "closed"],
    [[], "refused", "connection refused"],
    [[0x48], "closed", "1 bytes starting with 0x48"],
  ];
  for (const [first, end, expected] of cases) assert.equal(nameAnswer(Uint8Array.from(first), end), expected);
});

/** Answers whatever comes with a CONNACK that refuses, and closes. */
function startRefuser() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const refusing = (async () => {
    for await (const connection of listener) {
      if (await connection.read(new Uint8Array(2048)).catch(() => null) !== null) {
        await connection.write(Uint8Array.of(0x20, 3, 0, 0x86, 0));
      }
      connection.close();
    }
  })();
  return {
    port: listener.addr.port,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await refusing;
    },
  };
}

Deno.test("flood makes every kind of attempt and accounts for each", async () => {
  await using refuser = startRefuser();
  let sent = 0;
  const rounds = 2;
  const options = { tcpPort: refuser.port, tlsPort: refuser.port, count: rounds * ATTACKS.length, username: "honest" };
  const { answers } = await flood({ ...options, ratePerSecond: 10_000, addresses: 0, kinds: [] }, () => sent++);
  assert.equal(sent, 1);
  for (const { name, patienceMs } of ATTACKS) {
    const expected = patienceMs === 0 ? "left at once" : "CONNACK 0x86";
    assert.deepEqual(answers[name], { [expected]: rounds }, name);
  }
});

/** Lets a pair make `count` round trips through a stand-in broker. */
async function measurePair(count: number, script: Partial<Script>) {
  const enough = Promise.withResolvers<void>();
  const relay = script.relay ?? HONEST.relay;
  await using broker = startScriptedBroker({
    ...HONEST,
    ...script,
    relay: (packet, index) => {
      if (index === count - 1) enough.resolve();
      return relay(packet, index);
    },
  });
  const pair = await HonestPair.connect({ port: broker.port, version: 4, caCert: undefined, user: undefined });
  try {
    const report = await pair.measure(enough.promise, 0);
    return { report, faults: pair.faults() };
  } finally {
    pair.close();
  }
}

const NO_FAULTS = { gaps: 0, dups: 0, late: 0, misrouted: 0, unexpected: 0 };

Deno.test("an honest pair counts its round trips and finds nothing wrong with an honest broker", async () => {
  const { report, faults } = await measurePair(50, {});
  assert.ok(report.messages >= 50);
  assert.ok(report.lat_us.p99 > 0);
  assert.deepEqual(faults, NO_FAULTS);
});

Deno.test("an honest pair notices a doubled message", async () => {
  const { faults } = await measurePair(50, { relay: (packet, index) => index === 5 ? [packet, packet] : [packet] });
  assert.deepEqual(faults, { ...NO_FAULTS, dups: 1 });
});

Deno.test("an honest pair notices a second PUBACK", async () => {
  const { faults } = await measurePair(50, { acksPerPublish: 2 });
  assert.ok(faults.unexpected > 0);
});

Deno.test("an honest pair that is thrown out says so", async () => {
  await assert.rejects(measurePair(50, { hangUpAt: 20 }), /an honest client was lost/);
});

Deno.test("the ratio is about the 99th percentile, and a run that is not whole is marked", () => {
  const stretch = (p99: number) => ({ messages: 10, lat_us: { p50: 1, p95: 2, p99, max: p99 }, brokerCpu: undefined });
  const flooded: FloodOutcome = {
    calm: stretch(200),
    flooded: stretch(900),
    flood: { per_s: 1000, answers: { garbage: { closed: 3, reset: 5 } } },
    whole: false,
  };
  assert.equal(ratioOf(flooded), 4.5);
  const text = renderFlood("promptmq", flooded);
  assert.match(text, /^promptmq: p99 4\.5 times the calm one, NOT WHOLE\n/);
  assert.match(text, /garbage +5 reset, 3 closed/);
});

Deno.test("parseFloodOptions hands further flags to our broker alone", async () => {
  const { brokers } = parseFloodOptions(["--ours", "--limits-connect-rate=100 --log-level=error"]);
  const doors = { tcpPort: 1, tls: undefined, user: undefined };
  const [ours] = await Promise.all(brokers.map((kind) => kind.name === "promptmq" ? kind.prepare("", doors) : []));
  assert.deepEqual(ours!.slice(-2), ["--limits-connect-rate=100", "--log-level=error"]);
  assert.deepEqual(brokers.map((kind) => kind.name), ["promptmq", "mosquitto"]);
});

Deno.test("parseFloodOptions refuses what it cannot use", () => {
  assert.equal(parseFloodOptions(["--interval=0", "--addresses", "1"]).intervalMs, 0);
  assert.throws(() => parseFloodOptions(["--rate", "fast"]), /--rate: expected a number/);
  assert.throws(() => parseFloodOptions(["--brokers", "nats"]), /expected promptmq or mosquitto/);
  assert.throws(() => parseFloodOptions(["--kinds", "garbage,spam"]), /unknown kind "spam"; there are wrong password,/);
  assert.throws(() => parseFloodOptions(["--count", "0"]), /must be above 0/);
});
