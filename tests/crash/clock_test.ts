/**
 * The wall clock of a running broker is set, and so it is between two runs: nothing ends early, nothing lives longer, and
 * what the world gave an end ends by the world's time.
 */
import assert from "node:assert/strict";
import { signWithSecret } from "../auth/token/jwt_rig.ts";
import { RawClient } from "../support/raw_client.ts";
import { BrokerProcess, complaints, type TemporaryDirectory, temporaryDirectory } from "./broker_process.ts";
import { publish, subscribe, takeAll } from "./durable_client.ts";

const HOUR_SECONDS = 3600;
const DAY_MS = 86_400_000;
const SET = "the wall clock was set; what expires goes on by the time that really passed";
const EXPIRING = { properties: [["messageExpiryInterval", HOUR_SECONDS] as const] };
const SESSION = { clientId: "c", keepAlive: 0, properties: [["sessionExpiryInterval", HOUR_SECONDS] as const] };
const SECRET = "a secret of at least thirty-two bytes, shared with the issuer";
/** A test that takes longer than this has failed for other reasons. */
const SLACK_SECONDS = 600;

/** A host whose wall clock is so many milliseconds from the real one; the setting is the test's. */
class SetHost implements AsyncDisposable {
  private constructor(readonly directory: TemporaryDirectory) {}

  static async with(offsetMs: number): Promise<SetHost> {
    const host = new SetHost(await temporaryDirectory());
    host.set(offsetMs);
    return host;
  }

  set(offsetMs: number): void {
    // In one go: the broker reads it at any time.
    Deno.writeTextFileSync(`${this.directory.path}/next`, String(offsetMs));
    Deno.renameSync(`${this.directory.path}/next`, this.#path);
  }

  get #path(): string {
    return `${this.directory.path}/offset`;
  }

  async start(options: Readonly<Record<string, string>> = {}): Promise<BrokerProcess> {
    const program = [new URL("set_clock_broker.ts", import.meta.url).pathname, this.#path];
    return await BrokerProcess.start({ dataDirectory: this.directory.data, program, options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.directory[Symbol.asyncDispose]();
  }
}

/** Begins a Session of an hour that is owed a message of an hour. */
async function leaveOwed({ tcp }: BrokerProcess): Promise<void> {
  await using client = await RawClient.connect(tcp, { ...SESSION, cleanStart: false });
  await subscribe(client, "t", 1);
  await client.sendPacket("disconnect");
  await client.expectClose();
  await using publisher = await RawClient.connect(tcp, { clientId: "p", keepAlive: 0 });
  await publish(publisher, 1, "before", EXPIRING);
  await publish(publisher, 2, "retained", { ...EXPIRING, topic: "r", retain: true });
}

/** The Session and what it is owed must be there, with about an hour to live. */
async function findOwed({ tcp }: BrokerProcess, payloads: readonly string[]): Promise<void> {
  await using client = await RawClient.open(tcp);
  await client.sendPacket("connect", { ...SESSION, cleanStart: false });
  assert.equal((await client.expect("connack")).wire.sessionPresent, true, "the Session is there");
  const taken = await takeAll(client);
  await subscribe(client, "r", 1);
  taken.push(...await takeAll(client));
  assert.deepEqual(taken.map(({ payload }) => String(payload)).sort(), [...payloads].sort());
  for (const { payload, properties = [] } of taken) {
    const [, seconds] = properties.find(([name]) => name === "messageExpiryInterval") ?? [];
    assert(Number(seconds) <= HOUR_SECONDS, `${payload} lives for ${seconds} s`);
    assert(Number(seconds) > HOUR_SECONDS - SLACK_SECONDS, `${payload} lives for ${seconds} s`);
  }
}

Deno.test("a broker that starts in 1970 and is set right keeps Sessions and messages, then and after a crash", async () => {
  await using host = await SetHost.with(-Date.now());
  await using first = await host.start();
  await leaveOwed(first);
  host.set(0);
  const { bySeconds } = await first.untilLogged(SET);
  assert(Math.abs(Number(bySeconds) - Date.now() / 1000) < SLACK_SECONDS);
  await using publisher = await RawClient.connect(first.tcp, { clientId: "p", keepAlive: 0 });
  await publish(publisher, 1, "after", EXPIRING);
  await first.kill();
  await using second = await host.start();
  assert.deepEqual([complaints(first.log), complaints(second.log)], [[SET], []]);
  await findOwed(second, ["after", "before", "retained"]);
});

Deno.test("a broker that never learns the time before a crash keeps Sessions and messages when it does", async () => {
  await using host = await SetHost.with(-Date.now());
  await using first = await host.start();
  await leaveOwed(first);
  await first.kill();
  host.set(0);
  await using second = await host.start();
  await second.untilLogged(SET);
  await second.stop();
  assert.deepEqual(complaints(second.log), [SET]);
  host.set(-Date.now());
  await using third = await host.start();
  await findOwed(third, ["before", "retained"]);
});

for (const stepMs of [DAY_MS, -DAY_MS]) {
  Deno.test(`a wall clock that is set by ${stepMs / DAY_MS} day ends nothing early or late, then and after a stop`, async () => {
    await using host = await SetHost.with(0);
    await using first = await host.start();
    await leaveOwed(first);
    host.set(stepMs);
    assert.equal((await first.untilLogged(SET))["bySeconds"], stepMs / 1000);
    await first.stop();
    await using second = await host.start();
    await findOwed(second, ["before", "retained"]);
    assert.deepEqual([complaints(first.log), complaints(second.log)], [[SET], []]);
  });
}

Deno.test("a wall clock that is set back between two runs ends nothing early or late", async () => {
  await using host = await SetHost.with(0);
  await using first = await host.start();
  await leaveOwed(first);
  await first.stop();
  host.set(-DAY_MS);
  await using second = await host.start();
  await second.untilLogged(SET);
  await findOwed(second, ["before", "retained"]);
});

Deno.test("a day that a broker was off counts, also after its wall clock was set", async () => {
  await using host = await SetHost.with(-Date.now());
  await using first = await host.start();
  await leaveOwed(first);
  host.set(0);
  await first.untilLogged(SET);
  await first.kill();
  host.set(DAY_MS);
  await using second = await host.start();
  await using client = await RawClient.open(second.tcp);
  await client.sendPacket("connect", { ...SESSION, cleanStart: false });
  assert.equal((await client.expect("connack")).wire.sessionPresent, false);
  await subscribe(client, "r", 1);
  assert.deepEqual(await takeAll(client), []);
});

Deno.test("a connection ends with its token by the wall clock, wherever that is set to", async () => {
  await using host = await SetHost.with(-Date.now());
  await Deno.writeTextFile(`${host.directory.path}/secret`, SECRET);
  const options = { "auth.jwt.secret-file": `${host.directory.path}/secret`, "auth.allow-anonymous": "true" };
  await using broker = await host.start(options);
  const token = await signWithSecret(SECRET, "HS256", {
    sub: "gateway",
    exp: Math.floor(Date.now() / 1000) + HOUR_SECONDS,
  });
  const login = { clientId: "g", keepAlive: 0, username: "gateway", password: token };
  await using client = await RawClient.connect(broker.tcp, login);
  host.set(0);
  await broker.untilLogged(SET);
  await client.expectQuiet();
  host.set(DAY_MS);
  assert.equal((await client.expect("disconnect")).wire.reasonCode, 0xa0);
  await client.expectClose();
});
