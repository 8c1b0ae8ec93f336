/**
 * The listeners of a whole broker: on IPv6 the address in the ready line is one that a client can use, and a bad
 * request is the peer's fault alone.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { childEnvironment } from "../support/child_environment.ts";
import { within } from "../support/event_queue.ts";
import { type Endpoint, RawClient } from "../support/raw_client.ts";
import { WsClient } from "../support/ws_client.ts";

const IPV6 = "listeners on [::1]:0 say [::1] and their port in the ready line, and accept clients there";
const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const MANIFEST = new URL("../../deno.json", import.meta.url).pathname;
const HAS_IPV6 = hasIpv6();
if (!HAS_IPV6) Deno.stdout.writeSync(new TextEncoder().encode(`skipped, this host has no IPv6 loopback: ${IPV6}\n`));

Deno.test({
  name: IPV6,
  ignore: !HAS_IPV6,
  fn: async () => {
    const process = startOnIpv6();
    const log = linesOf(process.stderr);
    try {
      const ready = await within(readyLine(log), "the broker to be ready");
      // A peer on ::1 is a loopback peer: it may come in without credentials.
      await using client = await RawClient.connect(endpointOf(ready["tcp"]), { clientId: "six" });
      await client.expectQuiet();
      const { client: socket, answer } = await WsClient.open(endpointOf(ready["ws"]));
      await using _ = socket;
      assert.equal(answer.status, 101);
      const { hostname, port } = endpointOf(ready["metrics"]);
      const health = await fetch(`http://${hostname}:${port}/health/ready`);
      await health.body?.cancel();
      assert.equal(health.status, 200);
    } finally {
      process.kill("SIGTERM");
      for await (const _ of log);
      const { code } = await within(process.status, "the broker to end");
      assert.equal(code, 0);
    }
  },
});

Deno.test("a request whose Host names none is refused with 400, and leaves nothing among the log lines", async () => {
  await using broker = await Broker.start();
  const { hostname, port } = new URL(broker.metricsUrl);
  for (const host of ["::1:8080", "a b", "[::1"]) {
    const { client, answer } = await WsClient.open(broker.ws, { headers: { Host: host } });
    await using _ = client;
    assert.equal(answer.status, 400, host);
    assert.match(await askMetrics({ hostname, port: Number(port) }, host), /^HTTP\/1\.1 400 /, host);
  }
  const { log } = await broker.stop();
  assert.deepEqual(log.filter(({ level }) => level !== undefined).map(({ msg }) => msg), [
    "promptmq is starting",
    "storage is recovered",
    "promptmq is ready",
    "promptmq is stopping",
    "promptmq has stopped",
  ]);
  // What the runtime prints by itself has no level; the trace of an exception would be among it.
  assert.deepEqual(log.filter(({ msg }) => /error|^\s+at /i.test(msg ?? "")), []);
});

/** The answer of the metrics server to a request with this Host, which `fetch` would not send. */
async function askMetrics(endpoint: Endpoint, host: string): Promise<string> {
  using connection = await Deno.connect(endpoint);
  const request = `GET /health HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  await connection.write(new TextEncoder().encode(request));
  return await within(new Response(connection.readable).text(), "the answer of the metrics server");
}

function startOnIpv6(): Deno.ChildProcess {
  const binds = ["bind", "ws-bind", "metrics-bind"].flatMap((name) => [`--${name}`, "[::1]:0"]);
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "-A", "--config", MANIFEST, MAIN, ...binds, "--log-format", "json"],
    cwd: "/",
    clearEnv: true,
    env: childEnvironment(),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
}

/** Fields of the line that says the broker is ready. */
async function readyLine(log: AsyncGenerator<string, undefined>): Promise<Readonly<Record<string, unknown>>> {
  const lines: string[] = [];
  for (let line = await log.next(); !line.done; line = await log.next()) {
    lines.push(line.value);
    if (line.value.includes('"promptmq is ready"')) return JSON.parse(line.value);
  }
  throw new Error(`the broker ended before it was ready:\n${lines.join("\n")}`);
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string, undefined> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest !== "") yield rest;
}

function endpointOf(address: unknown): Endpoint {
  const port = /^\[::1\]:(\d+)$/.exec(String(address))?.[1];
  assert.ok(port !== undefined && port !== "0", `${address} is [::1] and a port`);
  return { hostname: "[::1]", port: Number(port) };
}

function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrNotAvailable || error instanceof Deno.errors.NotSupported) return false;
    // A kernel without IPv6 names the address family, for which there is no class.
    if (error instanceof Error && "code" in error && error.code === "EAFNOSUPPORT") return false;
    throw error;
  }
}
