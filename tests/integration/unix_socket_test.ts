/**
 * MQTT over a Unix socket: its clients are on this host, and its file is there exactly while the broker runs.
 */
import assert from "node:assert/strict";
import { broker as startBroker } from "../cli/program.ts";
import { Broker } from "../support/broker.ts";
import { RawClient, tcpStream } from "../support/raw_client.ts";
import { addressOf } from "../support/secure_broker.ts";
import { findTool, runTool, testWithTools } from "../support/tools.ts";

const PUBLISHER = findTool("mosquitto_pub");

Deno.test("Unix socket: a client without credentials counts as one on this host, and its messages reach TCP", async () => {
  await using directory = await temporary();
  await using broker = await Broker.start({ config: `server:\n  unix-socket: ${directory.path}/mqtt.sock\n` });
  assert.equal(addressOf(broker, "unix"), `${directory.path}/mqtt.sock`);
  await using local = await connectUnix(`${directory.path}/mqtt.sock`, "local");
  await using remote = await RawClient.connect(broker.tcp, { clientId: "remote" });
  await remote.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "t" }] });
  await remote.expect("suback");
  const payload = "x".repeat(300_000);
  await local.sendPacket("publish", { topic: "t", payload });
  assert.equal((await remote.expect("publish")).wire.payload, payload);
});

Deno.test("Unix socket: a stop says goodbye and removes the file, with the rights of a usual start", async () => {
  await using directory = await temporary();
  const path = `${directory.path}/mqtt.sock`;
  await Deno.writeTextFile(`${directory.path}/promptmq.yaml`, `server:\n  unix-socket: ${path}\n`);
  await using broker = startBroker(["--config", `${directory.path}/promptmq.yaml`]);
  await broker.untilLogged("promptmq is ready");
  assert.equal((await Deno.lstat(path)).mode! & 0o777, 0o600);
  await using client = await connectUnix(path, "local");
  broker.kill("SIGTERM");
  assert.equal((await client.expect("disconnect")).wire.reasonCode, 0x8b);
  assert.equal((await broker.untilEnd()).code, 0);
  await assert.rejects(() => Deno.lstat(path), Deno.errors.NotFound);
});

Deno.test("Unix socket: what a killed broker left is no obstacle, and a second broker does not start beside a first", async () => {
  await using directory = await temporary();
  const path = `${directory.path}/mqtt.sock`;
  await Deno.writeTextFile(`${directory.path}/promptmq.yaml`, `server:\n  unix-socket: ${path}\n`);
  const args = ["--config", `${directory.path}/promptmq.yaml`];
  {
    await using killed = startBroker(args);
    await killed.untilLogged("promptmq is ready");
    killed.kill("SIGKILL");
    await killed.untilEnd();
  }
  assert.equal((await Deno.lstat(path)).isSocket, true);
  await using first = startBroker(args);
  await first.untilLogged("promptmq is ready");
  await using second = startBroker(args);
  const { code, lines } = await second.untilEnd();
  assert.equal(code, 69);
  assert.match(lines.join("\n"), /another process listens on it/);
  await using client = await connectUnix(path, "still");
  await client.expectQuiet();
});

testWithTools("Unix socket: mosquitto_pub speaks over it", [PUBLISHER], async () => {
  await using directory = await temporary();
  const path = `${directory.path}/mqtt.sock`;
  await using _ = await Broker.start({ config: `server:\n  unix-socket: ${path}\n` });
  const result = await runTool(PUBLISHER, ["--unix", path, "-t", "x", "-m", "x", "-q", "2"]);
  assert.equal(result.code, 0, result.stderr);
});

async function connectUnix(path: string, clientId: string): Promise<RawClient> {
  const client = new RawClient(tcpStream(await Deno.connect({ transport: "unix", path })), 5);
  await client.sendPacket("connect", { clientId });
  assert.equal((await client.expect("connack")).wire.reasonCode, 0);
  return client;
}

async function temporary(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "promptmq_unix_" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
