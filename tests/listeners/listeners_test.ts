/**
 * The listeners of a whole broker on IPv6: the address in the ready line is one that a client can use.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { type Endpoint, RawClient } from "../support/raw_client.ts";
import { WsClient } from "../support/ws_client.ts";

const TITLE = "listeners on [::1]:0 say [::1] and their port in the ready line, and accept clients there";
const HAS_IPV6 = hasIpv6();
if (!HAS_IPV6) Deno.stdout.writeSync(new TextEncoder().encode(`skipped, this host has no IPv6 loopback: ${TITLE}\n`));

Deno.test({
  name: TITLE,
  ignore: !HAS_IPV6,
  fn: async () => {
    await using broker = await Broker.start({ flags: ["bind", "ws-bind", "metrics-bind"].flatMap(onLoopback) });
    const ready = broker.log.find(({ msg }) => msg === "promptmq is ready")!;
    // A peer on ::1 is a loopback peer: it may come in without credentials.
    await using client = await RawClient.connect(endpointOf(ready["tcp"]), { clientId: "six" });
    await client.expectQuiet();
    const { client: socket, answer } = await WsClient.open(endpointOf(ready["ws"]), { path: "/mqtt" });
    await using _ = socket;
    assert.equal(answer.status, 101);
    const { port } = endpointOf(ready["metrics"]);
    const health = await fetch(`http://[::1]:${port}/health/ready`);
    assert.equal(health.status, 200);
    await health.body?.cancel();
  },
});

function onLoopback(name: string): string[] {
  return [`--${name}`, "[::1]:0"];
}

function endpointOf(address: unknown): Endpoint {
  const port = /^\[::1\]:(\d+)$/.exec(String(address))?.[1];
  assert.ok(port !== undefined && port !== "0", `${address} is [::1] and a port`);
  return { hostname: "::1", port: Number(port) };
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
