/**
 * Attempts by way of the host, the log, the metrics, and by asking for more than there is.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { cut, gone, honestConnect, planted, playDoor, refused } from "../support/break_in.ts";
import { OPENSSL } from "../support/certificates.ts";
import { childEnvironment } from "../support/child_environment.ts";
import { credentialsOf, GuardedBroker, PASSWORDS } from "../support/guarded_broker.ts";
import { type ByteStream, RawClient, tcpStream } from "../support/raw_client.ts";
import { tlsOptions } from "../support/secure_broker.ts";
import { findTool, runTool, testWithTools } from "../support/tools.ts";
import { TlsClient } from "../support/tls_client.ts";
import { encodeWire } from "../support/wire_packets.ts";
import type { WireProperty } from "../support/wire_properties.ts";
import type { Attempts } from "./break_in_attempts.ts";

const MKFIFO = findTool("mkfifo");
const BAD_LOGIN = 0x86;
const NOT_AUTHORIZED = 0x87;
const QUOTA_EXCEEDED = 0x97;
const mallory = credentialsOf("mallory");

const host: Attempts<"host, log and metrics"> = {
  "Unix socket without credentials": async (g) => {
    await using client = await g.openUnix();
    await client.send(encodeWire("connect", { clientId: "local" }, 5), planted());
    assert.equal((await client.expect("connack")).wire.reasonCode, NOT_AUTHORIZED);
  },
  "Unix socket of another user": async (g) => {
    const { mode } = await Deno.lstat(`${g.directory}/mqtt.sock`);
    assert.equal(mode! & 0o777, 0o600);
  },
  "Client Identifier and name that forge log lines": async (g) => {
    const forged = 'x"}\n{"level":"error","msg":"forged"}\r\n\u001b[2J';
    await refused(g.endpoint("tcp"), { clientId: forged, username: forged, password: "guessed-1" }, BAD_LOGIN);
    await refused(g.endpoint("tcp"), { clientId: forged }, NOT_AUTHORIZED);
    await using again = await g.login("mallory", { clientId: forged });
    await using taken = await g.login("mallory", { clientId: forged });
    await again.expect("disconnect");
    await taken.expectQuiet();
    assert.ok(g.broker.log.every(({ level, msg }) => level !== undefined && msg !== "forged"));
  },
  "names of metrics from a client": async (g) => {
    const forged = 'x"} 1\nforged_metric 1\n';
    await refused(g.endpoint("tcp"), { clientId: forged, username: forged, password: "guessed-2" }, BAD_LOGIN);
    const text = await (await fetch(`${g.broker.metricsUrl}/metrics`)).text();
    assert.doesNotMatch(text, /forged/);
  },
  "secrets in what the admin server says": async (g) => {
    for (
      const path of ["/metrics", "/health/ready", "/health/live", "/config", "/debug", "/../users", "/%2e%2e/users"]
    ) {
      const text = await (await fetch(`${g.broker.metricsUrl}${path}`)).text();
      for (const secret of [...Object.values(PASSWORDS), "$scrypt$", "BEGIN"]) assert.ok(!text.includes(secret), path);
    }
  },
  "secrets in the configuration that is shown": async (g) => {
    const main = new URL("../../src/main.ts", import.meta.url).pathname;
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...[
          "run",
          "--quiet",
          "--no-prompt",
          "-A",
          "--config",
          new URL("../../deno.json", import.meta.url).pathname,
          main,
        ],
        ...["config", "show", "--password-file", `${g.directory}/users`, "--acl-file", `${g.directory}/acl.yaml`],
      ],
      clearEnv: true,
      env: childEnvironment(),
      cwd: g.directory,
    }).output();
    const shown = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.match(shown, /password-file/);
    for (const secret of [...Object.values(PASSWORDS), "$scrypt$"]) assert.ok(!shown.includes(secret));
  },
  "slow CONNECT": (g) => slowly(g, "tcp", honestConnect("alice").slice(0, 10)),
  "slow request": (g) => slowly(g, "ws", new TextEncoder().encode("GET /mqtt HTTP/1.1\r\nHost: x\r\n")),
  "slow handshake": (g) => slowly(g, "tls", Uint8Array.of(0x16, 3, 1, 0, 200, 1, 0)),
  "slow PROXY header": (g) => slowly(g, "proxied", new TextEncoder().encode("PROXY TCP4 127.0.0.1")),
  "slow CONNECT within TLS": async (g) => {
    const streams: ByteStream[] = [];
    for (let count = 0; count < 20; count++) {
      const client = await TlsClient.connect(g.endpoint("tls"), tlsOptions(g.authority));
      const stream = client.asByteStream();
      await stream.write(honestConnect("alice").slice(0, 10));
      streams.push(stream);
    }
    for (const stream of streams) assert.equal(await stream.read(), undefined);
    for (const stream of streams) stream.close();
  },
  "exchange that is never finished": async (g) => {
    const data = "6e2c2c6e3d73616c6c792c723d78"; // n,,n=sally,r=x
    const properties: WireProperty[] = [["authenticationMethod", "SCRAM-SHA-256"], ["authenticationData", data]];
    const clients: RawClient[] = [];
    for (let count = 0; count < 50; count++) {
      const client = await RawClient.open(g.endpoint("tcp"));
      await client.sendPacket("connect", { clientId: `unfinished-${count}`, properties, keepAlive: 0 });
      await client.expect("auth");
      clients.push(client);
    }
    for (const client of clients) await client.expectClose();
    for (const client of clients) await client.close();
  },
  "packet of 256 MiB": async (g) => {
    await cut(g.endpoint("tcp"), Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0x7f), new Uint8Array(1000));
    await cut(g.endpoint("tcp"), Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0xff, 0x7f));
  },
  "CONNECT of nearly 1 MiB": async (g) => {
    const userProperty: WireProperty = ["userProperty", ["a", "b"]];
    const properties = Array.from({ length: 100_000 }, () => userProperty);
    await refused(g.endpoint("tcp"), { ...mallory, password: "guessed-3", properties }, BAD_LOGIN);
  },
  "subscriptions beyond the limit": async (g) => {
    await using client = await g.login("mallory", { clientId: "collector" });
    const subscriptions = Array.from({ length: 1500 }, (_, index) => ({ filter: `public/${index}` }));
    await client.sendPacket("subscribe", { id: 1, subscriptions });
    const codes = (await client.expect("suback")).wire.reasonCodes ?? [];
    assert.equal(codes.filter((code) => code === 0).length, 1000);
    assert.equal(codes.filter((code) => code === QUOTA_EXCEEDED).length, 500);
  },
  "Topic Aliases that fill the memory": async (g) => {
    await using client = await g.login("mallory", { clientId: "aliases" });
    const name = `limited/${"x".repeat(60_000)}`;
    for (let alias = 1; alias <= 100; alias++) {
      const properties: WireProperty[] = [["topicAlias", alias]];
      await client.sendPacket("publish", { topic: `${name}${alias}`, properties }).catch(gone);
    }
    assert.ok(((await client.expect("disconnect")).wire.reasonCode ?? 0) >= 0x80);
    await client.expectClose();
  },
  "messages beyond Receive Maximum": async (g) => {
    await using client = await g.login("mallory", { clientId: "hoarder" });
    for (let id = 1; id <= 2000; id++) {
      await client.sendPacket("publish", { topic: "users/mallory/x", qos: 2, id }).catch(gone);
    }
    const last = (await client.drain()).at(-1);
    assert.deepEqual([last?.wire.type, last?.wire.reasonCode], ["disconnect", 0x93]);
  },
};

/** Fifty connections that send a little and then nothing are closed, with nothing but a refusal to show for it. */
async function slowly(g: GuardedBroker, name: string, bytes: Uint8Array): Promise<void> {
  const streams: ByteStream[] = [];
  for (let count = 0; count < 50; count++) {
    const stream = tcpStream(await Deno.connect(g.endpoint(name)));
    await stream.write(bytes);
    streams.push(stream);
  }
  await using beside = await g.login("alice", { clientId: "beside" });
  await beside.expectQuiet();
  for (const stream of streams) {
    for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) {
      assert.ok(chunk[0] !== 0x20, "a CONNACK comes back");
    }
    stream.close();
  }
}

playDoor("host, log and metrics", host, "limits:\n  subscriptions-per-client: 1000\n");

for (const kind of ["device", "pipe", "directory", "nothing"] as const) {
  testWithTools(`break-in: rules that become a link to a ${kind} change nothing`, [OPENSSL, MKFIFO], async () => {
    await using g = await GuardedBroker.start();
    const path = `${g.directory}/acl.yaml`;
    await runTool(MKFIFO, [`${g.directory}/pipe`]);
    const target =
      { device: "/dev/zero", pipe: `${g.directory}/pipe`, directory: g.directory, nothing: "nowhere" }[kind];
    await Deno.symlink(target, `${path}.new`);
    await Deno.rename(`${path}.new`, path);
    await g.broker.logged("access rules refused");
    await using client = await g.login("mallory", { clientId: "meanwhile" });
    await client.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "#" }, { filter: "public/x" }] });
    assert.deepEqual((await client.expect("suback")).wire.reasonCodes, [NOT_AUTHORIZED, 0]);
  });
}

testWithTools("break-in: rules of a server that is down let nobody in", [OPENSSL], async () => {
  await using g = await GuardedBroker.start("", ["failures-free: 1000", "http:\n    acl-url: http://127.0.0.1:9/"]);
  for (const user of ["alice", "mallory"]) await refused(g.endpoint("tcp"), credentialsOf(user), 0x88);
});

Deno.test("break-in: a socket path that leads to a file of somebody else is not followed", async () => {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_link_" });
  try {
    await Deno.writeTextFile(`${directory}/precious`, "kept");
    await Deno.symlink(`${directory}/precious`, `${directory}/mqtt.sock`);
    await assert.rejects(
      () => Broker.start({ config: `server:\n  unix-socket: ${directory}/mqtt.sock\n` }),
      /is not a socket/,
    );
    assert.equal(await Deno.readTextFile(`${directory}/precious`), "kept");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

testWithTools("break-in: a password file that everybody may read is warned of", [OPENSSL], async () => {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_mode_" });
  try {
    await Deno.writeTextFile(`${directory}/users`, "# nobody yet\n");
    await Deno.chmod(`${directory}/users`, 0o644);
    await using broker = await Broker.start({ flags: ["--password-file", `${directory}/users`] });
    assert.ok(broker.log.some(({ level, path }) => level === "warn" && path === `${directory}/users`));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
