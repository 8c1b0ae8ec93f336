/**
 * A broker without a file descriptor left: the limit of the running process is lowered below what it has open, and raised
 * again.
 */
import assert from "node:assert/strict";
import { OPENSSL, TestAuthority } from "../support/certificates.ts";
import { connectSecurely, tlsOptions } from "../support/secure_broker.ts";
import { findTool, runTool, testWithTools } from "../support/tools.ts";
import { WatchedBroker } from "../support/watched_broker.ts";

const PRLIMIT = findTool("prlimit");
/** Below what any process has open. */
const NONE = "1";
const ENOUGH = "1024";

async function limitDescriptors(broker: WatchedBroker, soft: string): Promise<void> {
  const { code, stderr } = await runTool(PRLIMIT, ["--pid", String(broker.pid), `--nofile=${soft}:`]);
  assert.equal(code, 0, stderr);
}

testWithTools(
  "descriptors: a scrape at the limit ends no broker, and is answered when there are some",
  [PRLIMIT],
  async () => {
    await using broker = await WatchedBroker.start({ config: "mqtt: {max-connections: 100}" });
    const { hostname, port } = broker.endpoint("metrics");
    // Each request on a connection of its own.
    using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const health = `http://${hostname}:${port}/health`;
    for (let outage = 0; outage < 2; outage++) {
      await limitDescriptors(broker, NONE);
      await assert.rejects(fetch(health, { client }));
      const line = await broker.logged("metrics and health are not served", { level: "error" });
      assert.match(String(line["cause"]), /Too many open files/);
      await limitDescriptors(broker, ENOUGH);
      await broker.logged("metrics and health are served again", { level: "info", metrics: `${hostname}:${port}` });
      const response = await fetch(health, { client });
      assert.deepEqual([response.status, await response.text()], [200, "ok\n"]);
    }
    assert.equal(broker.log.filter(({ msg }) => msg === "metrics and health are not served").length, 2);
  },
);

testWithTools("descriptors: a broker whose metrics are not served stops as any other", [PRLIMIT], async () => {
  await using broker = await WatchedBroker.start({ config: "mqtt: {max-connections: 100}" });
  const { hostname, port } = broker.endpoint("metrics");
  await limitDescriptors(broker, NONE);
  await assert.rejects(fetch(`http://${hostname}:${port}/health`));
  await broker.logged("metrics and health are not served");
  await broker.stop();
});

testWithTools("descriptors: a TLS listener accepts again after the limit", [PRLIMIT, OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  const { cert, key } = await authority.server();
  const tls = `tls: true, tls-cert: ${cert}, tls-key: ${key}, tls-bind: "127.0.0.1:0", wss-bind: ""`;
  await using broker = await WatchedBroker.start({ config: `{server: {${tls}}, mqtt: {max-connections: 100}}` });
  const endpoint = broker.endpoint("tls");
  await limitDescriptors(broker, NONE);
  using _waiting = await Deno.connect(endpoint);
  await broker.logged("cannot accept a connection", { level: "error", listener: "tls" });
  await limitDescriptors(broker, ENOUGH);
  await broker.logged("listens again", { level: "info", listener: "tls" });
  await using client = await connectSecurely(endpoint, tlsOptions(authority), { clientId: "late" });
  await client.expectQuiet();
});
