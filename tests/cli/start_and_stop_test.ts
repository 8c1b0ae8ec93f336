/**
 * What the log says when a broker cannot start, and when it stops: what an operator reads first.
 */

import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { RawClient } from "../support/raw_client.ts";
import { type LogLine, runToEnd } from "./program.ts";

const FREE = "127.0.0.1:0";

/** Starts a broker that cannot start, and gives its one fatal line. */
async function failToStart(flags: readonly string[], exitCode: number): Promise<LogLine> {
  const { code, stderr } = await runToEnd(["server", "--storage", "memory", "--log-format", "json", ...flags]);
  const lines: LogLine[] = stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  const fatal = lines.filter(({ level }) => level === "fatal");
  assert.equal(fatal.length, 1, stderr);
  assert.equal(lines.at(-1), fatal[0]);
  assert.doesNotMatch(stderr, /\bat |node_modules|npm|file:/);
  assert.equal(code, exitCode);
  return fatal[0] ?? {};
}

Deno.test("an address in use is one fatal line that says what to do, and exit code 69", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = `127.0.0.1:${taken.addr.port}`;
  const cases = [
    [["--bind", address, "--ws-bind", FREE, "--metrics-bind", FREE], "listen for MQTT over TCP", "--bind"],
    [["--bind", FREE, "--ws-bind", address, "--metrics-bind", FREE], "listen for MQTT over WebSocket", "--ws-bind"],
    [["--bind", FREE, "--ws-bind", FREE, "--metrics-bind", address], "serve metrics and health", "--metrics-bind"],
  ] as const;
  for (const [flags, what, flag] of cases) {
    const { msg, error, cause } = await failToStart(flags, 69);
    assert.equal(msg, "promptmq has failed");
    assert.equal(
      error,
      `Cannot ${what} on ${address}: the address is in use; stop the other process or choose another with ${flag}`,
    );
    assert.equal(cause, undefined);
  }
});

Deno.test("a PID file that cannot be written is one fatal line, and exit code 73", async () => {
  const binds = ["--bind", FREE, "--ws-bind", FREE, "--metrics-bind", FREE];
  const cases = [["/nonexistent/x.pid", "its directory is not found"], ["/", "is a directory"]] as const;
  for (const [path, reason] of cases) {
    const { error } = await failToStart([...binds, "--pid-file", path], 73);
    assert.equal(error, `cannot take the PID file ${path}: ${reason}`);
  }
});

Deno.test("a stop is announced with the open connections before they are closed", async () => {
  await using process = await Broker.start();
  await using _one = await RawClient.connect(process.tcp, { clientId: "one" });
  await using _two = await RawClient.connect(process.tcp, { clientId: "two" });
  const { code, log } = await process.stop();
  assert.equal(code, 0);
  const [stopping, stopped] = log.slice(-2);
  assert.deepEqual([stopping?.level, stopping?.msg], ["info", "promptmq is stopping"]);
  assert.equal(stopping?.["connections"], 2);
  assert.equal(stopped?.msg, "promptmq has stopped");
});

Deno.test("promptmq_tasks_total counts each connection beside the background fibers", async () => {
  await using process = await Broker.start();
  const background = await process.metric("promptmq_tasks_total");
  assert.ok(background >= 1, `${background} background fibers`);
  await using _client = await RawClient.connect(process.tcp, { clientId: "one" });
  assert.equal(await process.metric("promptmq_connections_current"), 1);
  assert.equal(await process.metric("promptmq_tasks_total"), background + 1);
});
