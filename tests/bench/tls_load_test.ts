/** The load generator over TLS, its own ceiling, and the bars of bench/load/tls.ts. */

import assert from "node:assert/strict";
import { makeCertificates } from "../../bench/load/certificates.ts";
import { pickCells } from "../../bench/load/cells.ts";
import { runConnect } from "../../bench/load/connect_run.ts";
import { startForwarder } from "../../bench/load/forwarder.ts";
import { runLive } from "../../bench/load/live_run.ts";
import type { Measurement } from "../../bench/load/measure.ts";
import { OptionsError, parseLoadOptions } from "../../bench/load/options.ts";
import { isWhole, type LoadReport } from "../../bench/load/report.ts";
import { renderCpu, type Row } from "../../bench/load/table.ts";
import { judge, parseTlsOptions } from "../../bench/load/tls.ts";
import { findTool, testWithTools } from "../support/tools.ts";

const MESSAGES = 2_000;
const OPENSSL = findTool("openssl");

/** Runs a body with a TLS forwarder; `caPath` signed its certificate. */
async function withTlsForwarder(body: (port: number, caPath: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_tls_load_" });
  try {
    const { ca, cert, key } = await makeCertificates(directory);
    const [certText, keyText] = [await Deno.readTextFile(cert), await Deno.readTextFile(key)];
    const forwarder = startForwarder({ port: 0, cert: certText, key: keyText });
    try {
      await body(forwarder.port, ca);
    } finally {
      forwarder.close();
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function optionsFor(port: number, args: readonly string[] = []) {
  return parseLoadOptions(["--port", `${port}`, "--count", `${MESSAGES}`, "--window", "100", ...args]);
}

testWithTools("a run over TLS is whole, and what it counts has passed through TLS", [OPENSSL], async () => {
  await withTlsForwarder(async (port, ca) => {
    const report = await runLive(optionsFor(port, ["--tls-ca", ca]));
    assert.equal(report.recv, MESSAGES);
    assert.ok(isWhole(report));
  });
});

testWithTools("a run over TLS fails with a broker whose certificate another authority signed", [OPENSSL], async () => {
  await withTlsForwarder(async (port) => {
    await withTlsForwarder(async (_port, otherCa) => {
      await assert.rejects(runLive(optionsFor(port, ["--tls-ca", otherCa])), /certificate/i);
    });
  });
});

testWithTools("mode connect over TLS ends every handshake with a CONNACK", [OPENSSL], async () => {
  await withTlsForwarder(async (port, ca) => {
    const held = await runConnect(optionsFor(port, ["--mode", "connect", "--subs", "5", "--tls-ca", ca]));
    held.close();
    assert.ok(held.report.conn_per_s > 0);
    assert.ok(held.report.lat_us.max > 0);
  });
});

Deno.test("a run through the plain forwarder is whole", async () => {
  const forwarder = startForwarder({ port: 0 });
  try {
    assert.ok(isWhole(await runLive(optionsFor(forwarder.port))));
  } finally {
    forwarder.close();
  }
});

Deno.test("parseLoadOptions reads a user, and names an authority that cannot be read", () => {
  const options = parseLoadOptions(["--username", "alice", "--password=secret"]);
  assert.deepEqual(options.user, { username: "alice", password: "secret" });
  assert.equal(options.caCert, undefined);
  assert.throws(() => parseLoadOptions(["--tls-ca", "/nowhere/ca.crt"]), (cause) => {
    assert.ok(cause instanceof OptionsError);
    assert.match(cause.message, /--tls-ca: cannot read \/nowhere\/ca\.crt/);
    return true;
  });
});

Deno.test("parseTlsOptions adds the forwarder as the last column and refuses what it does not know", () => {
  const { brokers, repeat } = parseTlsOptions(["--brokers=mosquitto", "--repeat", "2"]);
  assert.deepEqual([brokers.map((broker) => broker.name), repeat], [["mosquitto", "forwarder"], 2]);
  assert.throws(() => parseTlsOptions(["--brokers", "hivemq"]), /unknown broker "hivemq"/);
  assert.throws(() => parseTlsOptions(["--seconds", "0"]), /--seconds/);
});

function row(cell: string, values: readonly (number | undefined)[], whole = true): Row {
  const report = { load_cpu: 0.5, broker_cpu: 0.25 } as LoadReport;
  const outcomes = values.map((value): Measurement | { readonly skipped: string } =>
    value === undefined ? { skipped: "not installed" } : { value, report, whole }
  );
  return { cell: pickCells([cell])[0]!, outcomes };
}

Deno.test("judge holds ours against mosquitto and against the wanted handshakes", () => {
  const names = ["promptmq", "mosquitto"];
  const reached = (rows: readonly Row[]) => judge(names, rows).map((bar) => bar.isReached);
  const [messages, handshakes] = [row("tls-qos0-1to1", [500, 100]), row("tls-connects", [500, 900])];
  assert.deepEqual(reached([messages, handshakes]), [true, true]);
  assert.deepEqual(reached([row("tls-qos0-1to1", [499, 100]), row("tls-connects", [499, 900])]), [false, false]);
  assert.deepEqual(reached([row("tls-qos0-1to1", [900, 100], false), handshakes]), [false, true], "not whole");
  assert.deepEqual(reached([row("tls-qos0-1to1", [900, undefined]), handshakes]), [false, true], "nothing to compare");
  assert.deepEqual(reached([]), [false, false], "nothing measured");
  assert.deepEqual(judge(["mosquitto"], [messages]), []);
});

Deno.test("renderCpu has a line per measured cell and broker", () => {
  const lines = renderCpu(["promptmq", "mosquitto"], [row("tls-connects", [1, undefined])]).split("\n");
  assert.equal(lines.length, 2);
  assert.match(lines[1]!, /^tls-connects +promptmq +0\.50 +0\.25$/);
});
